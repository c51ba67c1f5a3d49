//! How a server is configured.
//!
//! The defaults, the file, `.env`, the environment and the flags lie over each other in this order; what comes later wins, key
//! by key. What cannot be used is refused, all of it at once and with the place where it was said. Nothing here does anything:
//! `wiring` reads it.
//!
//! | file | answers |
//! |---|---|
//! | [`settings`] | what can be configured, with every default beside it |
//! | `load` | which value a key has in the end: the layers |
//! | `file`, `environment`, `aliases` | what a TOML file, a variable, a variable of the documents says |
//! | `tree`, `schema` | values with where they were said; which keys and types are known |
//! | `validate`, `check`, `nearest`, `problem` | what is wrong with a value, with several together; what was meant; how it is told |
//! | `secret` | how a secret is kept from being printed, and read from a file |
//! | `print`, `reference` | the effective values, and the page of all keys |
//!
//! # How a part gets its own keys
//!
//! A part keeps its settings beside itself, in `<part>/settings.rs`:
//!
//! ```ignore
//! /// One sentence: what this part is.
//! #[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Settings {
//!     /// What it does, its unit, what happens at its end. Default: 30000.
//!     pub grace: u64,
//!     /// What it proves.
//!     pub token: Option<Secret>,
//!     /// A file that holds `token`.
//!     pub token_file: Option<PathBuf>,
//! }
//! ```
//!
//! and adds one field to [`Config`] in `settings`: `pub part: part::Settings`, renamed to the singular when it is a list of
//! tables. The rest follows from the types: the environment's names, `antiphon config check`, `print` and `schema`, and the
//! reference page, which a test compares (`make reference` writes it). A test refuses a key without a doc, or whose doc names
//! another default than the code. A key with a twin called `…_file` is a secret: it is printed as `***`, both together are
//! refused, a flag cannot set it, and the file's content has become the value before anybody sees a [`Config`]. Rules between
//! several keys go to `check`, one line for a part that has a `check` of its own.

mod aliases;
mod check;
mod environment;
mod file;
mod load;
mod nearest;
mod print;
mod problem;
mod reference;
mod schema;
mod secret;
pub mod settings;
mod tree;
mod validate;

pub use load::{Loaded, Sources};
pub(crate) use nearest::nearest;
pub use problem::{Origin, Problem, Problems};
pub use reference::reference;
pub use schema::schema;
pub use secret::Secret;
pub use settings::{Agents, Config, Limits, Listener, Mount, Network, Plan, Server, Store, Synchronous, Tls};
