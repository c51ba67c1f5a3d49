//! Which addresses a name may be reached at.
//!
//! The HTTP client asks this resolver once for each connection that it opens and connects to nothing but what comes back, so
//! the address that was looked at is the address that is reached: a name that means something else a moment later
//! (DNS rebinding) gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;
use super::settings::Settings;

/// Looks names up.
pub(super) trait Lookup: Send + Sync {
    /// All addresses of `host`, in the order of preference.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the operating system does it.
pub(super) struct System;

impl Lookup for System {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            #[expect(clippy::disallowed_methods, reason = "this is the guarded client's own lookup")]
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Looks names up and keeps what may be reached.
pub(super) struct Guard {
    pub(super) settings: Settings,
    pub(super) lookup: Arc<dyn Lookup>,
}

/// None of the addresses of a name is public or allowed.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address that is public")]
pub(super) struct NothingPublic;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        let any = self.settings.allows_name(&name);
        let settings = self.settings.clone();
        let found = self.lookup.lookup(name);
        Box::pin(async move {
            let mut found = found.await?;
            if found.is_empty() {
                return Err("the name has no address".into());
            }
            found.retain(|address| any || settings.allows_address(*address) || is_public(*address));
            if found.is_empty() {
                return Err(NothingPublic.into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
