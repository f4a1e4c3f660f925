//! Reads a server into the plain facts that guardrails judge.
//!
//! No question fails a survey: a right that is missing or a table that this version does not have makes its fact
//! *unknown*, with the server's words as the reason.

pub mod privileged;
