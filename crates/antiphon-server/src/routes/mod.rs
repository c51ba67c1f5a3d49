//! Documented HTTP routes.

pub mod mission;

use std::sync::Arc;

use crate::api;
use crate::shared::Shared;

/// What every route needs.
#[derive(Clone)]
pub(crate) struct Desk {
    shared: Arc<Shared>,
    api: api::Settings,
}

impl Desk {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
    pub(crate) fn api(&self) -> &api::Settings {
        &self.api
    }
}
