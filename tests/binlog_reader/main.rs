//! The reader of blue's binlog on real servers: what it brings, against what SQL says of the same rows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that stops says where")]

mod keys;
mod load;
mod statements;
mod stream;
mod world;

use bleen::sandbox::ServerKind;
use world::World;

macro_rules! on_every_server {
    ($($test:ident: $what:path;)*) => {$(
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn mysql_9_7() {
                $what(&mut World::on(ServerKind::MySql97, &[]).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mysql_5_6() {
                $what(&mut World::on(ServerKind::MySql56, &[]).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb_11_8() {
                $what(&mut World::on(ServerKind::MariaDb118, &[]).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb_10_11() {
                $what(&mut World::on(ServerKind::MariaDb1011, &[]).await).await;
            }
        }
    )*};
}

on_every_server! {
    every_key_type: keys::every_type;
    hidden_columns: statements::hidden_columns;
    partial_images: statements::partial_images;
    transactions: statements::transactions;
    xa: statements::xa;
    cascades: statements::cascades;
    definitions: statements::definitions;
    definitions_under_way: statements::definitions_under_way;
    statement_format: statements::statement_format;
    files: stream::files;
    ends: stream::ends;
    large: stream::large;
    compressed: stream::compressed;
    starts: stream::starts_under_load;
    own_reader: stream::known_as_its_own;
    load_differential: load::differential;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_cascades() {
    statements::native_cascades().await;
}

/// Records what `src/adapters/mysql/binlog/spoilt.rs` spoils.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into the sources"]
async fn record() {
    for (kind, name) in [
        (ServerKind::MySql97, "mysql-9.7"),
        (ServerKind::MySql56, "mysql-5.6"),
        (ServerKind::MariaDb118, "mariadb-11.8"),
    ] {
        let mut world = World::on(kind, &[]).await;
        stream::record(&mut world).await;
        let from = world.server.data_dir().join("binlog.000001");
        let to = format!(
            "{}/src/adapters/mysql/binlog/recorded/{name}.binlog",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::copy(from, to).unwrap();
    }
}
