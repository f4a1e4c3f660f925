//! What a survey found on a server, as plain data. Nothing here judges.

mod privileged;

pub use privileged::{PrivilegedAccount, PrivilegedRoutine, PrivilegedSession, PrivilegedWriters};
