//! Replication from blue to green: how it stands, how it is set up, and how that is undone.

pub mod consistency;
pub mod follow;
pub mod status;
