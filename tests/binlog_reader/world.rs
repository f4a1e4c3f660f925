//! A server, the reader of its binlog, and a session that changes things.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bleen::adapters::mysql::binlog::reader::{Reader, Settings};
use bleen::adapters::mysql::binlog::shape::{self, Shapes, Wanted};
use bleen::adapters::mysql::capabilities::probe;
use bleen::adapters::mysql::position_read::written_file;
use bleen::adapters::mysql::proof::columns::{self, Table};
use bleen::adapters::mysql::proof::digest;
use bleen::adapters::mysql::proof::expression::{Class, Expressions};
use bleen::adapters::mysql::proof::key::Range;
use bleen::adapters::mysql::proof::key_form::to_ledger;
use bleen::adapters::mysql::proof::settings;
use bleen::adapters::mysql::session::{Address, Purpose, Session, Target, Tls};
use bleen::domain::capabilities::Capabilities;
use bleen::domain::ids::Side;
use bleen::domain::position::FilePosition;
use bleen::domain::proof::key::Key;
use bleen::domain::proof::ledger::Change;
use bleen::domain::proof::stream::Brought;
use bleen::domain::proof::transaction::{Start, TableName, Transaction};
use bleen::domain::server::Family;
use bleen::sandbox::{Account, LocateOptions, Rights, RunningServer, ServerKind, ServerOptions, locate};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

pub const BUDGET: Duration = Duration::from_secs(30);
pub const SCHEMA: &str = "shop";

/// What one step brought: whole transactions, in order.
pub type Steps = Vec<(Transaction, Vec<Change>)>;

pub struct World {
    pub server: RunningServer,
    pub caps: Capabilities,
    pub own: Conn,
    pub proof: Session,
    pub shapes: Shapes,
    pub reader: Option<Reader>,
    pub begun: Start,
    pub stream: Receiver<Brought>,
    pub at: FilePosition,
}

pub fn target(server: &RunningServer) -> Target {
    Target {
        side: Side::Blue,
        address: Address::Tcp("127.0.0.1".into(), server.port()),
        spare_address: None,
        user: "bleen".into(),
        password: "p".to_owned().into(),
        tls: Tls::Disabled,
    }
}

pub async fn session(server: &RunningServer) -> (Session, Capabilities) {
    let purpose = Purpose {
        run: None,
        role: "test",
    };
    let mut session = Session::open(&target(server), &purpose, BUDGET).await.unwrap();
    let caps = probe(&mut session, BUDGET).await.unwrap();
    settings::apply(&mut session, &caps, BUDGET, BUDGET)
        .await
        .unwrap();
    (session, caps)
}

pub async fn root(server: &RunningServer) -> Conn {
    let mut own = server.root().await.unwrap();
    own.query_drop(format!("USE {SCHEMA}")).await.unwrap();
    own.query_drop("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''")
        .await
        .unwrap();
    own
}

impl World {
    pub async fn on(kind: ServerKind, extra: &[&str]) -> Self {
        let options = ServerOptions {
            extra: extra.iter().map(|line| (*line).to_owned()).collect(),
            ..ServerOptions::default()
        };
        Self::with(kind, &options).await
    }

    pub async fn with(kind: ServerKind, options: &ServerOptions) -> Self {
        let places = LocateOptions::default();
        let installed = locate(kind, &places).await.unwrap();
        let server = installed.start(&places.cache, None, options).await.unwrap();
        let account = Account {
            user: "bleen".into(),
            password: "p".to_owned().into(),
        };
        server.create_account(&account, Rights::All).await.unwrap();
        server.run(&[format!("CREATE DATABASE {SCHEMA}")]).await.unwrap();
        let (proof, caps) = session(&server).await;
        let own = root(&server).await;
        let shapes = Shapes::default();
        let (reader, begun, stream) = start(&server, &caps, &shapes, |_| ()).await.unwrap();
        let at = begun.place.clone();
        Self {
            server,
            caps,
            own,
            proof,
            shapes,
            reader: Some(reader),
            begun,
            stream,
            at,
        }
    }

    pub fn is_mysql(&self) -> bool {
        self.caps.family() == Family::MySql
    }

    pub fn is_mysql_from(&self, version: (u16, u16, u16)) -> bool {
        self.caps.version.is_mysql_from(version)
    }

    /// Begins to read anew, at the present place.
    pub async fn begin_again(&mut self, change: impl FnOnce(&mut Settings)) {
        self.reader = None;
        let (reader, begun, stream) = start(&self.server, &self.caps, &self.shapes, change)
            .await
            .unwrap();
        self.reader = Some(reader);
        self.at = begun.place.clone();
        self.begun = begun;
        self.stream = stream;
    }

    pub async fn run(&mut self, sql: &str) {
        self.own
            .query_drop(sql)
            .await
            .unwrap_or_else(|e| panic!("{}: {sql}: {e}", self.caps.version));
    }

    pub async fn all(&mut self, statements: &[&str]) {
        for sql in statements {
            self.run(sql).await;
        }
    }

    /// The definition of a table, and how it is asked for.
    pub async fn table(&mut self, name: &str) -> Table {
        let found = columns::read(&mut self.proof, SCHEMA, Some(name), BUDGET)
            .await
            .unwrap();
        found
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no table {name}"))
    }

    /// Reads the shapes of tables as the catalogue does; the key is one that both `(blue, green)` have.
    pub async fn read_shapes(&mut self, tables: &[&str]) {
        let pairs: Vec<(&str, &str)> = tables.iter().map(|name| (*name, *name)).collect();
        self.read_shapes_of(&pairs).await;
    }

    pub async fn read_shapes_of(&mut self, pairs: &[(&str, &str)]) {
        let mut known = Vec::new();
        for (blue, green) in pairs {
            let (on_blue, on_green) = (self.table(blue).await, self.table(green).await);
            known.push((named(blue), Expressions::of(&on_blue, &on_green).ok()));
        }
        let wanted: Vec<Wanted<'_>> = known
            .iter()
            .map(|(name, both)| Wanted {
                name,
                blue: both.as_ref().map(|both| &both.blue),
            })
            .collect();
        let read = shape::read(&mut self.proof, &self.caps, &wanted, BUDGET)
            .await
            .unwrap();
        shape::put(&self.shapes, read);
    }

    /// The keys of a table's rows as SQL reads them, in the ledger's form, and what is in the rows.
    pub async fn rows(&mut self, blue: &str, green: &str) -> BTreeMap<Key, String> {
        let (blue, green) = (self.table(blue).await, self.table(green).await);
        let of = Expressions::of(&blue, &green).unwrap();
        let all = Range::default();
        let rows = digest::rows_of_range(&mut self.proof, &of.blue, Class::Written, &all, BUDGET)
            .await
            .unwrap();
        rows.into_iter()
            .map(|(key, hash)| (to_ledger(&of.blue.key, &key).unwrap(), format!("{hash:?}")))
            .collect()
    }

    /// What is in the binlog up to now, from where it was taken last.
    pub async fn brought(&mut self) -> Steps {
        let until = written_file(&mut self.proof, &self.caps, BUDGET).await.unwrap();
        let mut steps = Steps::new();
        while !self.at.has_reached(&until) {
            let next = timeout(Duration::from_secs(20), self.stream.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("stands at {}, and {until} never came", self.at));
            match next.unwrap() {
                Brought::Transaction(transaction, changes) => {
                    assert!(!self.at.has_reached(&transaction.end), "{transaction:?} again");
                    self.at = transaction.end.clone();
                    steps.push((transaction, changes));
                }
                Brought::Passed(place) => {
                    assert!(place.has_reached(&self.at), "from {} to {place}", self.at);
                    self.at = place;
                }
                Brought::File { .. } => {}
                Brought::Broke(why) => panic!("{}: {why}", self.caps.version),
            }
        }
        steps
    }

    /// Waits for the end of the stream, and says why it is one.
    pub async fn broke(&mut self) -> String {
        loop {
            match timeout(Duration::from_secs(20), self.stream.recv())
                .await
                .unwrap()
            {
                Some(Brought::Broke(why)) => return why,
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    }

    /// What these statements bring, as short texts.
    pub async fn changes(&mut self, statements: &[&str]) -> Vec<String> {
        self.all(statements).await;
        let steps = self.brought().await;
        steps.iter().flat_map(|(_, changes)| changes).map(short).collect()
    }

    /// Sees that these statements bring exactly that.
    pub async fn expect(&mut self, statements: &[&str], wanted: &[&str]) {
        let brought = self.changes(statements).await;
        assert_eq!(brought, wanted, "{}: {statements:?}", self.caps.version);
    }
}

pub async fn start(
    server: &RunningServer,
    caps: &Capabilities,
    shapes: &Shapes,
    change: impl FnOnce(&mut Settings),
) -> Result<(Reader, Start, Receiver<Brought>), bleen::adapters::mysql::error::ServerError> {
    let mut settings = Settings::new(
        target(server),
        caps.clone(),
        caps.position_kind(),
        shapes.clone(),
        BUDGET,
    );
    settings.heartbeat = Duration::from_millis(100);
    change(&mut settings);
    Reader::start(settings).await
}

pub fn named(table: &str) -> TableName {
    let (schema, table) = table.split_once('.').unwrap_or((SCHEMA, table));
    TableName {
        schema: schema.into(),
        table: table.into(),
    }
}

fn plain(table: &TableName) -> String {
    match table.schema.as_str() {
        SCHEMA => table.table.clone(),
        _ => table.to_string(),
    }
}

/// `a +1`, `a -1`, `a 1 to 2`, `a`, `child where (parent) is 1|2`, `schema x`, `everything`.
pub fn short(change: &Change) -> String {
    match change {
        Change::Row { table, before, after } => {
            let table = plain(table);
            match (before, after) {
                (Some(before), Some(after)) if before == after => format!("{table} {before}"),
                (Some(before), Some(after)) => format!("{table} {before} to {after}"),
                (None, Some(after)) => format!("{table} +{after}"),
                (Some(before), None) => format!("{table} -{before}"),
                (None, None) => format!("{table} a row"),
            }
        }
        Change::Cascade {
            child,
            columns,
            values,
        } => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!(
                "{} where ({}) is {}",
                plain(child),
                columns.join(","),
                values.join("|")
            )
        }
        Change::Table(table) => plain(table),
        Change::Schema(schema) => format!("schema {schema}"),
        Change::Everything => "everything".to_owned(),
    }
}

/// The keys of a table that were brought; `Err` if it was brought as a whole.
pub fn keys_of(steps: &Steps, table: &str) -> Result<BTreeSet<Key>, String> {
    let mut keys = BTreeSet::new();
    for change in steps.iter().flat_map(|(_, changes)| changes) {
        match change {
            Change::Row {
                table: own,
                before,
                after,
            } if *own == named(table) => keys.extend(before.iter().chain(after).cloned()),
            other => return Err(short(other)),
        }
    }
    Ok(keys)
}
