//! MySQL and MariaDB servers: sessions, what they can do, and every statement that bleen sends.

pub mod binlog;
pub mod binlog_read;
pub mod capabilities;
mod columns;
pub mod error;
pub mod gate;
pub mod grants;
pub mod greeting;
pub mod identity;
pub mod lag;
pub mod own_schema;
pub mod position_read;
pub mod prepare;
pub mod proof;
pub mod queries;
pub mod quote;
pub mod relax;
pub mod replication;
pub mod session;
pub mod settings;
pub mod sql;
pub mod survey;
pub mod switch;
