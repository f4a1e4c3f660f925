//! MySQL and MariaDB servers: sessions, what they can do, and every statement that bleen sends.

pub mod capabilities;
pub mod error;
pub mod own_schema;
pub mod quote;
pub mod session;
pub mod sql;
pub mod survey;
