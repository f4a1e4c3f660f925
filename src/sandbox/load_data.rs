//! Makes the shop on a server and fills it, in transactions of a size that a replica digests.
//!
//! Rows are computed by the server from their number, so the same shop comes out everywhere and nothing is sent.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::adapters::mysql::quote;

use super::error::SandboxError;
use super::launch::RunningServer;
use super::pair::{Accounts, SCHEMA};
use super::schema::{self, Knows};

/// Rows in one transaction: small enough for a replica to keep its pace.
const CHUNK: u64 = 10_000;
/// Longest time for the whole shop. It takes a few seconds.
const WHOLE: Duration = Duration::from_secs(180);

/// What was loaded.
#[derive(Debug, Clone)]
pub struct ShopReport {
    /// Rows over all tables.
    pub rows: u64,
    /// Rows by table.
    pub tables: Vec<(String, u64)>,
    /// What this server's version does not know and the shop therefore does not have.
    pub left_out: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Makes the shop's schema on a server and fills it with about 200,000 rows. Everything goes through the binary log.
/// Trigger, view, routines and event have `app` as definer, which must exist wherever they are to run.
///
/// # Errors
/// [`SandboxError::Sql`] with the table it was at; [`SandboxError::TooSlow`] after three minutes.
pub async fn load_shop(server: &RunningServer, accounts: &Accounts) -> Result<ShopReport, SandboxError> {
    let what = format!("loading the shop into {}", server.describe());
    let load = load(server, accounts);
    tokio::time::timeout(WHOLE, load)
        .await
        .map_err(|_| SandboxError::TooSlow { what, limit: WHOLE })?
}

async fn load(server: &RunningServer, accounts: &Accounts) -> Result<ShopReport, SandboxError> {
    let started = Instant::now();
    let knows = Knows::of(server.installed().family, server.version());
    let mut conn = server.root().await?;
    run(&mut conn, "creating the schema", &schema::create_schema()).await?;
    // MySQL 5.6 resolves the names in foreign keys only with a schema selected.
    let select = format!("USE {}", quote::identifier(SCHEMA));
    run(&mut conn, "selecting the schema", &select).await?;
    // As a dump does it. The rows agree by construction, and a replica of MySQL 9.7 applies rows whose foreign keys the
    // source has checked five times as slowly (seen: 15 s in place of 3 s for this shop).
    run(
        &mut conn,
        "leaving foreign keys unchecked",
        "SET SESSION foreign_key_checks = 0",
    )
    .await?;
    let mut tables = Vec::new();
    for table in schema::tables(knows) {
        run(
            &mut conn,
            &format!("creating {}", table.name),
            &schema::create_table(&table),
        )
        .await?;
        let mut done = 0;
        while done < table.rows {
            let more = CHUNK.min(table.rows - done);
            let insert = format!(
                "INSERT INTO {} ({}) SELECT {} FROM {}",
                quote::qualified(SCHEMA, table.name),
                table.into,
                table.values,
                numbers(done, more)
            );
            run(&mut conn, &format!("filling {}", table.name), &insert).await?;
            done += more;
        }
        tables.push((table.name.to_owned(), table.rows));
    }
    // A tree needs its parents to be there first.
    let tree = quote::qualified(SCHEMA, "categories");
    run(
        &mut conn,
        "filling categories",
        &format!("UPDATE {tree} SET parent_id = 1 + id DIV 8 WHERE id > 8"),
    )
    .await?;
    for program in schema::programs(&quote::account(&accounts.app.user, "%")) {
        let first: Vec<&str> = program.split_whitespace().take(3).collect();
        run(&mut conn, &first.join(" "), &program).await?;
    }
    drop(conn.disconnect().await);
    let rows = tables.iter().map(|(_, rows)| rows).sum();
    Ok(ShopReport {
        rows,
        tables,
        left_out: knows.left_out(),
        took: started.elapsed(),
    })
}

async fn run(conn: &mut Conn, what: &str, statement: &str) -> Result<(), SandboxError> {
    conn.query_drop(statement).await.map_err(SandboxError::sql(what))
}

/// A derived table of the numbers `n` from `after + 1` to `after + count` (at most [`CHUNK`]), in order. In this form
/// every version understands it.
fn numbers(after: u64, count: u64) -> String {
    let digits = (1..10).fold("SELECT 0 AS d".to_owned(), |all, d| {
        format!("{all} UNION ALL SELECT {d}")
    });
    format!(
        "(SELECT {after} + 1 + i.d + 10 * t.d + 100 * h.d + 1000 * k.d AS n
          FROM ({digits}) k JOIN ({digits}) h JOIN ({digits}) t JOIN ({digits}) i
          WHERE i.d + 10 * t.d + 100 * h.d + 1000 * k.d < {count} ORDER BY n) numbers"
    )
}
