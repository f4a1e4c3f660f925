//! The rights that bleen's accounts need, as data: which right, on what, and what for.
//!
//! One list for what `bleen grants` prints and for what the guardrail `privileges` looks for. `tests/grants.rs` runs
//! everything bleen does under exactly these rights on real servers, and shows for each right that something fails
//! without it. Nothing here knows a statement's text.

use serde::Serialize;

use super::machine::HoldKind;
use super::server::Version;

/// One of the accounts that a pair needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// bleen's account on blue.
    Blue,
    /// bleen's account on green.
    Green,
    /// The account on blue with which green's receiver logs in, and on green the one of blue's on the way back.
    Replication,
}

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The whole server.
    Everything,
    /// bleen's own schema only.
    OwnSchema,
}

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Right {
    /// The server's own name for it, as it stands in a GRANT.
    pub privilege: &'static str,
    /// What it is about.
    pub scope: Scope,
    /// What bleen does with it, in a few words.
    pub needed_for: &'static str,
}

/// What a playbook asks for that needs further rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Sessions that write through read-only are ended and their accounts locked for the time of the switch.
    pub locks_accounts: bool,
    /// How writers are held; `None` for the first way that the rights allow, and then both rights are of use.
    pub hold: Option<HoldKind>,
    /// Blue is to follow green after the switch, and the writers may be moved back: each side is the other one then.
    pub way_back: bool,
}

/// Returns the rights that an account needs on a server of this version, without one too many.
#[must_use]
pub fn rights(role: Role, version: &Version, wishes: Wishes) -> Vec<Right> {
    let mut list: Vec<Right> = Vec::new();
    let mut add = |privilege, needed_for| {
        if !list.iter().any(|right| right.privilege == privilege) {
            list.push(Right {
                privilege,
                scope: Scope::Everything,
                needed_for,
            });
        }
    };
    if role == Role::Replication {
        add("REPLICATION SLAVE", "the other server reads this one's binlog");
        return list;
    }
    looking(version, &mut add);
    match role {
        Role::Blue => on_blue(version, wishes, &mut add),
        Role::Green => on_green(version, &mut add),
        Role::Replication => {}
    }
    if wishes.way_back {
        match role {
            Role::Blue => on_green(version, &mut add),
            Role::Green => on_blue(version, wishes, &mut add),
            Role::Replication => {}
        }
    }
    let mut own = |privilege, needed_for| {
        list.push(Right {
            privilege,
            scope: Scope::OwnSchema,
            needed_for,
        })
    };
    own("INSERT", "heartbeat, runs, epochs and undo in bleen's own schema");
    own("UPDATE", "heartbeat and steps of a run");
    own("DELETE", "runs are written again as they go on");
    own("EXECUTE", "the guard");
    own("DROP", "bleen's own schema is taken away again");
    own("CREATE", "bleen's own schema");
    own("CREATE ROUTINE", "the guard");
    own("ALTER ROUTINE", "the guard is made again");
    list
}

type Add<'a> = dyn FnMut(&'static str, &'static str) + 'a;

/// What both sides need to be looked at.
fn looking(version: &Version, add: &mut Add<'_>) {
    add(
        "SELECT",
        "gate queries, accounts, and what the server says of itself",
    );
    add("PROCESS", "sessions and transactions of others");
    add("SHOW VIEW", "views compared");
    add("TRIGGER", "triggers compared");
    add(
        "EVENT",
        "events compared, and on green enabled as they were on blue",
    );
    if version.is_mariadb_from((10, 5, 2)) {
        add("BINLOG MONITOR", "positions and binlog files");
        add("REPLICATION MASTER ADMIN", "replicas that are attached");
    } else {
        if version.is_mysql_from((8, 0, 0)) {
            add(
                "REPLICATION CLIENT",
                "positions, binlog files and the state of replication",
            );
        }
        add(
            "REPLICATION SLAVE",
            "events of the binlog, and replicas that are attached",
        );
    }
    if version.is_mysql_from((8, 0, 0)) {
        add("XA_RECOVER_ADMIN", "prepared XA transactions seen");
    }
    if is_split_from_super(version) {
        add("SLAVE MONITOR", "the state of replication");
    }
}

/// MariaDB took the finer rights out of SUPER in 11.0; before, SUPER comes with them (READ ONLY ADMIN until 10.11).
fn is_split_from_super(version: &Version) -> bool {
    version.is_mariadb_from((11, 0, 1))
}

fn on_blue(version: &Version, wishes: Wishes, add: &mut Add<'_>) {
    if matches!(wishes.hold, None | Some(HoldKind::Lock)) {
        add("RELOAD", "the hold: FLUSH TABLES WITH READ LOCK");
    }
    if matches!(wishes.hold, None | Some(HoldKind::Tables)) {
        add(
            "LOCK TABLES",
            "the hold by tables, where the other is not possible",
        );
    }
    if version.is_mysql_from((8, 0, 0)) {
        add("SYSTEM_VARIABLES_ADMIN", "seal and unseal, the event scheduler");
        add(
            "CONNECTION_ADMIN",
            "sessions in the way and left-over sessions ended",
        );
        add(
            "PERSIST_RO_VARIABLES_ADMIN",
            "what was persisted before is put back",
        );
    } else {
        add(
            "SUPER",
            "the event scheduler, and what has no finer right of its own on this version",
        );
    }
    if version.is_mariadb_from((10, 11, 0)) {
        add("READ ONLY ADMIN", "seal and unseal");
    }
    if version.is_mariadb_from((10, 5, 2)) {
        add("REPLICATION SLAVE", "the binlog read while rows are compared");
    }
    if is_split_from_super(version) {
        add(
            "CONNECTION ADMIN",
            "sessions in the way and left-over sessions ended",
        );
    }
    if wishes.locks_accounts && knows_account_lock(version) {
        add(
            "CREATE USER",
            "accounts that write through read-only locked for the time of the switch",
        );
        if is_split_from_super(version) {
            add("BINLOG ADMIN", "accounts locked without a trace in the binlog");
        }
    }
}

/// `ALTER USER … ACCOUNT LOCK` exists.
#[must_use]
pub fn knows_account_lock(version: &Version) -> bool {
    version.is_mysql_from((5, 7, 6)) || version.is_mariadb_from((10, 4, 2))
}

fn on_green(version: &Version, add: &mut Add<'_>) {
    add("RELOAD", "replication taken away: RESET REPLICA ALL");
    if version.is_mysql_from((8, 0, 0)) {
        add(
            "SYSTEM_VARIABLES_ADMIN",
            "read-only, promote, the event scheduler, relaxed settings",
        );
        add(
            "PERSIST_RO_VARIABLES_ADMIN",
            "what was persisted before is put back",
        );
        add(
            "REPLICATION_SLAVE_ADMIN",
            "replication set up, started, stopped and taken away",
        );
        add("CONNECTION_ADMIN", "sessions of a lost run ended");
        let definer = if version.is_mysql_from((8, 2, 0)) {
            "SET_ANY_DEFINER"
        } else {
            "SET_USER_ID"
        };
        add(definer, "events enabled under their own definer");
        add("SYSTEM_USER", "events enabled whose definer has it");
    } else {
        add(
            "SUPER",
            "the event scheduler, relaxed settings, and what has no finer right of its own",
        );
    }
    if version.is_mariadb_from((10, 11, 0)) {
        add("READ ONLY ADMIN", "read-only, promote");
    }
    if is_split_from_super(version) {
        add(
            "REPLICATION SLAVE ADMIN",
            "replication set up, started, stopped and taken away",
        );
        add("CONNECTION ADMIN", "sessions of a lost run ended");
        add(
            "BINLOG ADMIN",
            "what bleen does on green before promote is kept out of its binlog",
        );
        add("SET USER", "events enabled under their own definer");
    }
}
