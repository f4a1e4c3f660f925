//! The statements that a person runs when bleen may not decide, or is told not to wait.

use crate::adapters::mysql::own_schema::{self, UndoRow};
use crate::adapters::mysql::switch::Server;

/// What to read, and what to run then, in words and statements.
#[must_use]
pub fn statements(blue: &Server, green: &Server) -> String {
    let flags = |server: &Server| {
        if server.caps.super_read_only {
            "SELECT @@GLOBAL.read_only, @@GLOBAL.super_read_only"
        } else {
            "SELECT @@GLOBAL.read_only"
        }
    };
    format!(
        "leaving without waiting; `bleen resume PLAYBOOK` finds out what is left and finishes it. By hand:\n  \
         1. on green ({green_at}): {green_flags}; SELECT * FROM bleen.epochs\n  \
         2. if green is read-only and has no epoch row of this run, blue serves. On blue ({blue_at}): end the sessions \
         whose statements begin with `/* bleen`, then {open_blue}\n  \
         3. if green is writable or has the epoch row, green serves. Leave blue read-only. On blue: {blue_flags}\n  \
         Do not run 2 unless 1 is certain: two writable servers lose writes.",
        green_at = green.target.address,
        green_flags = flags(green),
        blue_at = blue.target.address,
        blue_flags = flags(blue),
        open_blue = own_schema::writable_statement(&blue.caps),
    )
}

/// The statements that put back what was recorded, in the order to run them.
#[must_use]
pub fn put_back(rows: &[UndoRow]) -> String {
    let statements: Vec<String> = rows
        .iter()
        .filter(|row| !row.statement.is_empty())
        .map(|row| format!("on {}: {}", row.side, row.statement.replace('\n', " ")))
        .collect();
    format!(
        "leaving without waiting; `bleen rollback PLAYBOOK` puts back what was changed, from any machine. By hand, in \
         this order; each is right also if its change was never made:\n  {}",
        statements.join("\n  ")
    )
}
