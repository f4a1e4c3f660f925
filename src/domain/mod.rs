//! The words of bleen as plain values, and the rules between them.
//!
//! Nothing here knows a clock, a file, a driver or a statement's text: time arrives inside events, servers arrive as
//! what was seen of them. That is what lets the state machine be explored exhaustively.

pub mod binlog_events;
pub mod capabilities;
pub mod consistency;
pub mod gate;
pub mod grants;
pub mod guardrail_ids;
pub mod guardrails;
pub mod identity;
pub mod ids;
pub mod lag;
pub mod machine;
pub mod outcome;
pub mod position;
pub mod proof;
pub mod queries;
pub mod replication;
pub mod server;
pub mod step;
