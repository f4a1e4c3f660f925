//! Throw-away servers and load on this machine, for `bleen sandbox`, for the tests and for the benchmark.
//!
//! Real server programs are found or fetched (`locate`, `fetch`), started on loopback in a directory of their own
//! (`launch`), filled (`schema`, `load_data`) and written to by clients that remember every acknowledged write
//! (`writers`, `ledger`). Nothing is installed, and nothing is left: a server ends with the process that started it,
//! and what a `kill -9` leaves behind the next run sweeps (`sweep`).

pub mod account;
mod apt_sources;
pub mod cache;
pub mod catalog;
pub mod client;
mod datadir;
pub mod endpoint;
pub mod error;
pub mod fetch;
mod fetch_apt;
mod fetch_npm;
mod in_doubt;
pub mod launch;
pub mod ledger;
pub mod load_data;
pub mod locate;
pub mod option_file;
pub mod pair;
mod process;
mod program;
pub mod sampler;
pub mod schema;
pub mod story;
mod story_account;
mod story_playbook;
mod story_switch;
pub mod sweep;
pub mod talk;
pub mod writers;

pub use account::{Account, Rights};
pub use cache::Cache;
pub use catalog::{Family, Release, ServerKind, check_pair};
pub use client::HOT_ACCOUNT;
pub use endpoint::{Endpoint, writable_sides};
pub use error::SandboxError;
pub use fetch::FetchOptions;
pub use launch::RunningServer;
pub use ledger::{Ack, LedgerCheck, LoadReport, Log, Refusal, Span, WriteId};
pub use load_data::{ShopReport, load_shop};
pub use locate::{Installed, LocateOptions, locate};
pub use option_file::{Durability, ReadOnly, ServerOptions};
pub use pair::{Accounts, PairOptions, SCHEMA, SandboxPair};
pub use sampler::{Sampler, SamplerReport};
pub use story::{Story, StoryEnd, StoryError, StoryOptions};
pub use sweep::SandboxDir;
pub use talk::Talk;
pub use writers::{Load, LoadOptions, LoadSnapshot};
