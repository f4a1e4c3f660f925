//! The digest of the data proof: what of a table is compared, as which text, and how servers are asked for it.
//!
//! The text of a row is made for both sides at once ([`expression`]), so that equal rows have equal texts across
//! versions and families; a range's digest is the number of its rows and the XOR of their SHA-256 ([`digest`]).

pub mod catalogue;
pub mod columns;
pub mod cut;
pub mod defined;
mod describe;
pub mod digest;
pub mod expression;
pub mod fence;
pub mod key;
pub mod key_form;
pub mod kind;
pub mod lane;
pub mod not_provable;
pub mod self_test;
pub mod settings;
