//! The file in which a data proof keeps what it has proved, for a run that is started again.
//!
//! A proof that is taken over wrongly is a false "equal". So it is only taken over where all of this is as it was: this
//! version of bleen, both servers, their versions and their starts, the form of the digests, the file of blue's binlog from
//! which it is read on (by its name and by when it was made), and each table's definition and when it was made. Neither server may have executed less than
//! then, nor green anything of its own since. What does not fit begins anew, and why is said. Changes of green past its
//! replication that leave no trace are seen here as little as by a proof that never stopped: they are what reading
//! everything again is for, so proofs keep their age.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::mysql::capabilities::variables;
use super::mysql::error::ServerError;
use super::mysql::position_read::{Role, executed, written_file};
use super::mysql::proof::defined::{Defined, Definitions};
use super::mysql::proof::lane::Common;
use super::mysql::session::Session;
use super::mysql::switch;
use crate::domain::capabilities::PositionKind;
use crate::domain::position::{FilePosition, Position};
use crate::domain::proof::transaction::TableName;
use crate::engine::proof::kept::Kept;
use crate::engine::proof::prover::Prover;

/// Version of the file's form.
const FORMAT: u32 = 2;

/// The largest file that is written or read, in bytes.
const MOST_BYTES: u64 = 128 << 20;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(5);

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    bleen: String,
    sha256: String,
}

/// What has to be as it was for a proof to count on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    blue: String,
    green: String,
    versions: (String, String),
    form: String,
    /// When both were started, in seconds since 1970. After a crash a server may lack what its binlog still has.
    started: (i64, i64),
    /// What blue had executed.
    executed: Position,
    /// What green had written itself.
    green_own: String,
    /// Where green stood in its own binlog: one that stands before that is another copy. It may write none where it has
    /// an identity of its own.
    green_place: Option<FilePosition>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    saved_ms: u64,
    witness: Witness,
    /// By table, in the order of the tables that were kept.
    definitions: Vec<String>,
    kept: Kept,
}

/// What an earlier run kept.
pub struct Earlier {
    witness: Witness,
    definitions: BTreeMap<TableName, String>,
    /// How long ago it was written.
    pub since: Duration,
    /// What was proved.
    pub kept: Kept,
}

impl Witness {
    /// Looks at both servers. `None` where they cannot be told from others, so that nothing can be kept.
    ///
    /// # Errors
    /// What a server answered.
    pub async fn of(
        common: &Common,
        kind: PositionKind,
        (on_blue, on_green): (&mut Session, &mut Session),
    ) -> Result<Option<Self>, ServerError> {
        let (blue, green) = (&common.blue, &common.green);
        let Some((blue_label, green_label)) = blue.label.clone().zip(green.label.clone()) else {
            return Ok(None);
        };
        let budget = common.answer;
        let started = (
            switch::started(on_blue, budget).await?.latest,
            switch::started(on_green, budget).await?.latest,
        );
        let green_place = written_file(on_green, &green.caps, budget).await.ok();
        let (green_own, executed) = match kind {
            PositionKind::GtidSet => {
                // Green first: what blue commits in between must not look like green's own.
                let on_green = executed(on_green, &green.caps, kind, Role::Replica, budget).await?;
                let on_blue = executed(on_blue, &blue.caps, kind, Role::Writer, budget).await?;
                let own = match (&on_green, &on_blue) {
                    (Position::GtidSet(green), Position::GtidSet(blue)) => green.minus(blue).to_string(),
                    _ => return Ok(None),
                };
                (own, on_blue)
            }
            PositionKind::GtidList => {
                let own = written_by_itself(on_green, budget).await?;
                let on_blue = executed(on_blue, &blue.caps, kind, Role::Writer, budget).await?;
                // Without a uuid and a binlog nothing tells this green from another copy in its place.
                if green_place.is_none() {
                    return Ok(None);
                }
                (own, on_blue)
            }
            PositionKind::File => return Ok(None),
        };
        Ok(Some(Self {
            blue: blue_label,
            green: green_label,
            versions: (blue.caps.version.to_string(), green.caps.version.to_string()),
            form: format!("{:?}", common.form),
            started,
            executed,
            green_own,
            green_place,
        }))
    }

    /// Why what was kept under `then` does not count under this one.
    fn refuses(&self, then: &Self) -> Option<String> {
        if (&self.blue, &self.green) != (&then.blue, &then.green) {
            return Some("it is of other servers".to_owned());
        }
        if self.versions != then.versions || self.form != then.form {
            return Some(
                "a server has another version by now, or rows are digested in another form".to_owned(),
            );
        }
        // Both of a server's clocks tell whole seconds.
        let is_another_start = |now: i64, then: i64| now.abs_diff(then) > 2;
        if is_another_start(self.started.0, then.started.0)
            || is_another_start(self.started.1, then.started.1)
        {
            return Some(
                "a server was restarted since: after a crash it may lack what its binlog has".to_owned(),
            );
        }
        if self.executed.contains(&then.executed) != Some(true) {
            return Some(format!(
                "blue had executed {} then, and has {} now: it was begun anew",
                then.executed, self.executed
            ));
        }
        if self.green_own != then.green_own {
            return Some(format!(
                "green has written transactions of its own since (`{}` then, `{}` now)",
                then.green_own, self.green_own
            ));
        }
        let went_back = match (&self.green_place, &then.green_place) {
            (Some(now), Some(then)) => !now.has_reached(then),
            (None, None) => false,
            _ => true,
        };
        went_back.then(|| "green's own binlog was begun anew: it may be another copy".to_owned())
    }
}

/// MariaDB: the last transactions that a server wrote itself, by domain.
async fn written_by_itself(session: &mut Session, budget: Duration) -> Result<String, ServerError> {
    let seen = variables(session, &["server_id", "gtid_binlog_state"], budget).await?;
    let get = |name: &str| seen.get(name).cloned().unwrap_or_default();
    let (own, state) = (get("server_id"), get("gtid_binlog_state"));
    let mut mine: Vec<&str> = state
        .split(',')
        .map(str::trim)
        .filter(|one| one.split('-').nth(1) == Some(own.as_str()))
        .collect();
    mine.sort_unstable();
    Ok(mine.join(","))
}

/// A digest of both sides' definitions of a table.
fn definition(defined: &Defined) -> String {
    hex(&Sha256::digest(format!("{defined:?}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file of one pair, and who writes it.
pub struct Keeper {
    path: PathBuf,
    witness: Witness,
    definitions: Definitions,
}

impl Keeper {
    /// `dir` is the directory of runs.
    #[must_use]
    pub fn new(dir: &Path, witness: Witness, definitions: &Definitions) -> Self {
        let name = hex(&Sha256::digest(format!("{} {}", witness.blue, witness.green)));
        Self {
            path: dir.join(format!("proof-{}.json", name.get(..16).unwrap_or(&name))),
            witness,
            definitions: definitions.clone(),
        }
    }

    /// What an earlier run kept, if there is anything.
    ///
    /// # Errors
    /// In words, why it does not count any more.
    pub fn earlier(&self) -> Result<Option<Earlier>, String> {
        let text = match read(&self.path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(e) => return Err(format!("{} cannot be read: {e}", self.path.display())),
        };
        let spoilt = || format!("{} is spoilt", self.path.display());
        let end = text.iter().position(|byte| *byte == b'\n').ok_or_else(spoilt)?;
        let (head, body) = text.split_at(end);
        let body = body.get(1..).unwrap_or_default();
        let head: Head = serde_json::from_slice(head).map_err(|_| spoilt())?;
        if head.format != FORMAT || head.bleen != env!("CARGO_PKG_VERSION") {
            return Err(format!("it was written by bleen {}", head.bleen));
        }
        if head.sha256 != hex(&Sha256::digest(body)) {
            return Err(spoilt());
        }
        let body: Body = serde_json::from_slice(body).map_err(|_| spoilt())?;
        if let Some(why) = self.witness.refuses(&body.witness) {
            return Err(why);
        }
        if body.definitions.len() != body.kept.tables.len() {
            return Err(spoilt());
        }
        // A clock that was set back makes nothing younger than when it was written.
        let since = Duration::from_millis(now_ms().saturating_sub(body.saved_ms));
        let names = body.kept.tables.iter().map(|table| table.name.clone());
        Ok(Some(Earlier {
            definitions: names.zip(body.definitions).collect(),
            witness: body.witness,
            since,
            kept: body.kept,
        }))
    }

    /// Whether a table is defined on both sides as it was.
    #[must_use]
    pub fn is_as_then(&self, earlier: &Earlier, table: &TableName) -> bool {
        let now = self.definitions.get(table).map(|defined| definition(&defined));
        now.is_some() && now.as_ref() == earlier.definitions.get(table)
    }

    /// Writes what is proved now; nothing where that is not certain.
    ///
    /// # Errors
    /// In words, why it could not be written.
    pub fn write(&self, prover: &Prover) -> Result<(), String> {
        // Before what is proved is looked at: a newer definition must not stand beside an older proof.
        let known = self.definitions.all();
        let Some(mut kept) = prover.keep() else {
            return Ok(());
        };
        let mut definitions = Vec::with_capacity(kept.tables.len());
        kept.tables.retain(|table| {
            let defined = known.get(&table.name);
            definitions.extend(defined.map(|defined| definition(defined)));
            defined.is_some()
        });
        let body = Body {
            saved_ms: now_ms(),
            witness: self.witness.clone(),
            definitions,
            kept,
        };
        let failed = |e: &dyn std::fmt::Display| {
            format!("what is proved cannot be kept in {}: {e}", self.path.display())
        };
        let body = serde_json::to_vec(&body).map_err(|e| failed(&e))?;
        if body.len() as u64 > MOST_BYTES / 2 {
            return Err(failed(&"it would be too large"));
        }
        let head = Head {
            format: FORMAT,
            bleen: env!("CARGO_PKG_VERSION").to_owned(),
            sha256: hex(&Sha256::digest(&body)),
        };
        let head = serde_json::to_vec(&head).map_err(|e| failed(&e))?;
        put(&self.path, &[&head, b"\n", &body]).map_err(|e| failed(&e))
    }

    /// Writes every few seconds. Ends only by being dropped, or when it cannot be written, with the reason.
    pub async fn keep(self: Arc<Self>, prover: Arc<Prover>) -> String {
        loop {
            sleep(EVERY).await;
            // Writers may be waiting for what the prover would be asked meanwhile.
            if prover.is_at_rest() {
                continue;
            }
            let (this, prover) = (Arc::clone(&self), Arc::clone(&prover));
            let written = tokio::task::spawn_blocking(move || this.write(&prover)).await;
            if let Ok(Err(why)) = written {
                return why;
            }
        }
    }

    /// Forgets what was kept: the next run compares everything.
    pub fn forget(&self) {
        if let Err(e) = std::fs::remove_file(&self.path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "what was kept of a proof cannot be removed");
        }
    }
}

impl Earlier {
    /// From where on blue's binlog has to be read, and what blue had executed.
    #[must_use]
    pub fn place(&self) -> (FilePosition, Position) {
        (self.kept.place.clone(), self.witness.executed.clone())
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// The whole file or the one before it, whenever the machine stops.
fn put(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    File::open(dir)?.sync_all()
}
