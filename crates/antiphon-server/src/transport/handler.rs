//! How a router answers a request that came over a connection.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::shared::Shared;

/// The address that a request comes from, as far as it is believed. Every request that a router answers carries it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

/// What `router` answers to `request`, which came from `peer`. A handler that panics is counted, and `failed` answers for it.
/// Nothing is to be kept by who asked unless the handler says so.
pub(crate) async fn answer(
    router: &Router,
    shared: &Shared,
    peer: IpAddr,
    request: Request<Incoming>,
    failed: fn() -> Response,
) -> Response {
    let client = shared.crowd.client(peer, request.headers());
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Client(client));
    let answered = AssertUnwindSafe(router.clone().oneshot(request)).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            shared.counters.panicked();
            failed()
        }
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
