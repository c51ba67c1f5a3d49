//! Who somebody is: credentials in, an [`Actor`](antiphon_core::actor::Actor) out.
//!
//! | file | answers |
//! |---|---|
//! | `door` | the one door: who comes in with what, for now and until when; and whose a credential is |
//! | [`keys`] | how API keys, service keys and operator tokens are made and recorded |
//! | `token` | whether a token that somebody else signed (JWT) is to be believed, and what it says |
//! | `own` | tokens (JWT) that this server signs itself |
//! | `sessions`, `passwords` | how a login becomes a session; whether a password is somebody's |
//! | `wallet` | how somebody proves that a wallet is theirs |
//! | `revocation` | which credentials are dead before their time |
//! | `bearer` | where an HTTP request has its credential |
//! | `secret` | how secrets of ours are made, hashed and told apart by their shape |
//! | `rate` | how often somebody may try |
//! | `placeholders` | which credentials everybody knows from the documents |
//! | `settings` | what can be configured |
//!
//! Secrets are stored as hashes and looked up by them; nothing here prints one.

mod bearer;
mod door;
pub mod keys;
mod own;
pub(crate) mod passwords;
pub(crate) mod placeholders;
mod rate;
mod revocation;
mod secret;
mod sessions;
mod settings;
mod token;
mod wallet;

use std::borrow::Cow;

use antiphon_core::refusal::{Code, Fault, Refusal};

pub(crate) use bearer::bearer;
pub use door::{API, Doorkeeper};
pub(crate) use own::{Own, Signed, sign};
pub(crate) use secret::hex;
pub use sessions::Opened;
pub(crate) use sessions::login_of;
pub(crate) use settings::check_secret;
pub use settings::{Algorithm, Issuer, People, Settings, UnprovenWallets};
pub use token::Fetch;
pub use wallet::Challenge;

/// Why somebody did not get what they asked for, before the two are told apart for them.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// They are told why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something here failed; that is for the log.
    #[error(transparent)]
    Broken(#[from] Fault),
}

impl Denied {
    /// What they are told. A fault is logged as having happened while doing `what`.
    fn told(self, what: &'static str) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Broken(fault) => {
                if !fault.is_told() {
                    tracing::error!(what, error = &fault as &dyn std::error::Error, "authentication failed");
                }
                fault.refusal()
            }
        }
    }
}

/// The credential is not good; `message` says why.
fn bad_credential(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::BadCredential, message)
}

#[cfg(test)]
mod tests;
