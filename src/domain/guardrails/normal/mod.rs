//! Brings what two servers print for one schema to one spelling, so that only real differences are left.

pub mod expression;
pub mod objects;
