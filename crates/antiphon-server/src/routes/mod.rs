//! Documented HTTP routes.

pub mod mission;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::api::{self, Client};
use crate::shared::Shared;

/// What every route needs.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) api: api::Settings,
}

impl Desk {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
    pub(crate) fn api(&self) -> &api::Settings {
        &self.api
    }
}

#[derive(Clone)]
pub(crate) struct Routes {
    router: Router,
    shared: Arc<Shared>,
}

impl Routes {
    pub(crate) fn mission(desk: Desk) -> Self {
        Self { shared: desk.shared.clone(), router: mission::router(desk) }
    }

    pub(crate) fn serves(path: &str) -> bool {
        path.starts_with("/api/v1/")
    }

    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response {
        let client = self.shared.crowd.client(peer, request.headers());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Client(client));
        match AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
