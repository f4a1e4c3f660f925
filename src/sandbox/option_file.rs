//! The option file a sandbox server is started with.
//!
//! Pure text. Always an option file and never `--no-defaults`: with that a server ignores `mysqld-auto.cnf`, and what
//! was set with `SET PERSIST` would be lost at a restart.

use std::fmt::Write as _;
use std::path::Path;

use super::catalog::{Family, Release};
use super::locate::Layout;

/// How much the server does to survive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Binary log and redo log synced at every commit: what production has.
    #[default]
    Full,
    /// Neither synced at commit: faster, for tests that do not kill the machine.
    Relaxed,
}

/// Whether and how a server is read-only from its first moment that clients can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadOnly {
    /// Writable.
    #[default]
    No,
    /// Set by statement once it runs: after a restart it is writable again, unless somebody persists it.
    Set,
    /// In the option file, so also after every restart.
    InOptionFile,
}

/// What a server is started with. The defaults suit a test: small, on loopback, full durability, GTIDs and binary log
/// on.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// `server_id`; must differ between servers of a pair.
    pub server_id: u32,
    /// GTIDs. On MariaDB they are always there; off then only means that strict mode is off.
    pub gtid: bool,
    /// MariaDB's `gtid_domain_id`.
    pub gtid_domain_id: u32,
    /// Binary log.
    pub log_bin: bool,
    /// Read-only from the start.
    pub read_only: ReadOnly,
    /// Event scheduler.
    pub event_scheduler: bool,
    /// Durability.
    pub durability: Durability,
    /// InnoDB's buffer pool in megabytes.
    pub buffer_pool_mb: u32,
    /// Further lines of the option file (`key=value` or `key`). They come last, so they win.
    pub extra: Vec<String>,
    /// Further variables of the process's environment: how a test gives a server a slow disk.
    pub environment: Vec<(String, String)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            server_id: 1,
            gtid: true,
            gtid_domain_id: 0,
            log_bin: true,
            read_only: ReadOnly::No,
            event_scheduler: true,
            durability: Durability::Full,
            buffer_pool_mb: 64,
            extra: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A server's own places.
pub(crate) struct Places<'a> {
    /// Directory of everything of this server.
    pub home: &'a Path,
    /// Data directory.
    pub data: &'a Path,
    /// Unix socket.
    pub socket: &'a Path,
    /// Error log.
    pub log: &'a Path,
}

/// The part every start of a server needs, initialising included.
pub(crate) fn base(layout: &Layout, family: Family, version: Release, places: &Places<'_>) -> String {
    let mut text = String::from("[mysqld]\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    };
    line("basedir", &layout.basedir.display());
    line("datadir", &places.data.display());
    line("tmpdir", &places.home.display());
    line("socket", &places.socket.display());
    line("pid-file", &places.home.join("pid").display());
    line("log-error", &places.log.display());
    if let Some(share) = &layout.share {
        line("lc-messages-dir", &share.display());
        line("character-sets-dir", &share.join("charsets").display());
    }
    if let Some(plugins) = &layout.plugins {
        line("plugin-dir", &plugins.display());
    }
    line("secure-file-priv", &"");
    // The same on every version and both families: a replica of another kind must know every collation in use.
    line("character-set-server", &"utf8mb4");
    line("collation-server", &"utf8mb4_general_ci");
    line("default-time-zone", &"+00:00");
    line("innodb-buffer-pool-size", &"64M");
    if rustix::process::geteuid().is_root() {
        line("user", &"root");
    }
    match family {
        // The first redo log is copied with the data directory at every start: small, and resized when it runs.
        Family::MySql if version >= Release(8, 0, 30) => line("innodb-redo-log-capacity", &"16M"),
        Family::MySql => line("innodb-log-file-size", &"48M"),
        Family::MariaDb => line("innodb-log-file-size", &"64M"),
    }
    if family == Family::MySql && version >= Release(5, 7, 12) {
        line("loose-mysqlx", &"OFF");
    }
    text
}

/// The whole option file of a server that serves.
pub(crate) fn serving(
    layout: &Layout,
    family: Family,
    version: Release,
    places: &Places<'_>,
    port: u16,
    options: &ServerOptions,
) -> String {
    let mut text = base(layout, family, version, places);
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{key}={value}");
    };
    let on = |b: bool| if b { "ON" } else { "OFF" };
    line("bind-address", &"127.0.0.1");
    line("port", &port);
    line("skip-name-resolve", &"ON");
    line("max-connections", &300);
    line("server-id", &options.server_id);
    line("event-scheduler", &on(options.event_scheduler));
    line("innodb-buffer-pool-size", &format!("{}M", options.buffer_pool_mb));
    if family == Family::MySql && version >= Release(8, 0, 30) {
        line("innodb-redo-log-capacity", &"128M");
    }
    let synced = u8::from(options.durability == Durability::Full);
    line(
        "innodb-flush-log-at-trx-commit",
        &(if synced == 1 { 1 } else { 2 }),
    );
    line("sync-binlog", &synced);
    if options.log_bin {
        line("log-bin", &"binlog");
        line("relay-log", &"relay");
        // MySQL 9 may lose the first; all others need it said.
        line("loose-binlog-format", &"ROW");
        if family == Family::MariaDb || version < Release(8, 0, 0) {
            line("log-slave-updates", &"ON");
        }
    } else if family == Family::MySql && version >= Release(8, 0, 0) {
        line("skip-log-bin", &"ON");
    }
    match family {
        Family::MySql if options.gtid && options.log_bin => {
            line("gtid-mode", &"ON");
            line("enforce-gtid-consistency", &"ON");
        }
        Family::MySql => {}
        Family::MariaDb => {
            line("gtid-domain-id", &options.gtid_domain_id);
            line("gtid-strict-mode", &on(options.gtid));
        }
    }
    let timestamps_are_explicit = match family {
        Family::MySql => Release(8, 0, 0),
        Family::MariaDb => Release(10, 10, 0),
    };
    if version < timestamps_are_explicit {
        // So that a timestamp column means on an old server what it means later.
        line("explicit-defaults-for-timestamp", &"ON");
    }
    if version < Release(5, 7, 0) {
        line("master-info-repository", &"TABLE");
        line("relay-log-info-repository", &"TABLE");
    }
    if options.read_only == ReadOnly::InOptionFile {
        line("read-only", &"ON");
        if has_super_read_only(family, version) {
            line("super-read-only", &"ON");
        }
    }
    for extra in &options.extra {
        text.push_str(extra);
        text.push('\n');
    }
    text
}

/// Whether the server has `super_read_only` (MySQL from 5.7.8; MariaDB never).
pub(crate) fn has_super_read_only(family: Family, version: Release) -> bool {
    family == Family::MySql && version >= Release(5, 7, 8)
}
