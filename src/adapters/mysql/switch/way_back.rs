//! Step 6a: blue follows green from before the hold, so that it applies green's first transaction as soon as there is
//! one. Wired and taken away here; that it works is seen once green serves.
//!
//! Why it may be wired before green serves: green is read-only, and what it has applied from blue bears blue's server id,
//! which blue's receiver passes over (`replicate_same_server_id` is off unless somebody turned it on). So blue begins
//! where green stands and has nothing to apply until promote. By MySQL's GTIDs it would not even be sent anything.
//!
//! MariaDB begins by file and offset and goes over to GTIDs once green serves ([`by_gtid`]). A blue that is written may
//! not be told a place by GTID (with `gtid_strict_mode`, 1947: its binlog is always a moment ahead of what green has), and
//! `MASTER_USE_GTID = current_pos` asks green for what it has not yet. A sealed blue stands still.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::sessions::{self, end_on_blue};
use super::{Inner, Settings, done, facts, hold, refused};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::identity;
use crate::adapters::mysql::position_read;
use crate::adapters::mysql::replication::follow::{self, Source};
use crate::adapters::mysql::replication::status;
use crate::adapters::mysql::session::{Session, Tls};
use crate::adapters::mysql::{quote, sql};
use crate::domain::capabilities::{Capabilities, PositionKind, Words};
use crate::domain::consistency::Start;
use crate::domain::identity::Identity;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, Seen};
use crate::domain::outcome::{Debt, WhyKind};
use crate::domain::replication::{ReplicaStatus, why_not_follow};
use crate::domain::step::Step;
use crate::engine::change::{Change, PASSWORD_MASK};
use crate::engine::ports::Terms;

/// How blue finds green.
#[derive(Debug, Clone)]
pub struct WayBack {
    /// Host and port of green, as blue must call it.
    pub source: (String, u16),
    /// The replication account on green.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// How blue's connection to green is protected. Paths are paths on blue's machine.
    pub tls: Tls,
    /// Whether the switch may go on without it.
    pub is_optional: bool,
}

/// What must be known to take it away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WiredBack {
    /// Blue followed green before the run: that is the operator's, and stays.
    pub followed_before: bool,
    /// Host and port of green, as blue calls it.
    pub source: (String, u16),
    /// MariaDB: the `gtid_domain_id` that green is given when it is promoted, where it has blue's.
    pub green_domain: Option<u32>,
}

/// Reads what must be put back.
pub(super) async fn read(
    settings: &Settings,
    blue: &mut Session,
    green: &mut Session,
) -> Result<Option<WiredBack>, ServerError> {
    let Some(back) = &settings.way_back else {
        return Ok(None);
    };
    let budget = settings.answer;
    let channels = status::read(blue, &settings.blue.caps, budget).await?;
    let who = identity::read(green, settings.green.caps.family(), budget).await?;
    let followed_before = follows(&channels, &who, &back.source).unwrap_or(false);
    let mut wired = WiredBack {
        followed_before,
        source: back.source.clone(),
        ..WiredBack::default()
    };
    if settings.position_kind() == PositionKind::GtidList {
        wired.green_domain = own_domain(blue, green, budget).await?;
    }
    Ok(Some(wired))
}

fn follows(channels: &[ReplicaStatus], who: &Identity, (host, port): &(String, u16)) -> Result<bool, String> {
    let source = Source {
        host: host.clone(),
        port: *port,
        user: String::new(),
        password: SecretString::default(),
        tls: follow::ChannelTls::Off,
    };
    follow::follows(channels, who, &source)
}

pub(super) async fn wire(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let Some(back) = &inner.settings.way_back else {
        return refused(WhyKind::Refused, "no way back is asked for");
    };
    let why = match connect(inner, back, terms).await {
        Ok(()) => return done(),
        Err(NotWired::Server(e)) if e.code().is_none() => return Err(e),
        Err(NotWired::Server(e)) => e.to_string(),
        Err(NotWired::Why(why)) => why,
    };
    let detail = format!("blue cannot follow green: {why}");
    if !back.is_optional {
        return refused(
            WhyKind::NoWayBack,
            format!(
                "{detail}. Mend that, or say in the playbook that what is written after the switch may be lost on the \
                 way back: `switch: {{ accept_no_way_back: true }}`"
            ),
        );
    }
    let left = take_away(inner, terms.budget).await?;
    if left.is_empty() {
        // Nobody is to look for it any more.
        inner.facts().way_back = None;
        facts::renew(inner, Step::WireBack.id(), inner.settings.answer).await?;
        return Ok(Answer::Seen(Seen::NoWayBack(detail)));
    }
    let left: Vec<String> = left.into_iter().map(|debt| debt.what).collect();
    refused(WhyKind::NoWayBack, format!("{detail}; {}", left.join("; ")))
}

enum NotWired {
    Server(ServerError),
    Why(String),
}

impl From<ServerError> for NotWired {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

async fn connect(inner: &Inner, back: &WayBack, terms: Terms) -> Result<(), NotWired> {
    let settings = &inner.settings;
    let budget = settings.answer;
    let until = Instant::now() + terms.budget / 2;
    if let Some(why) = why_not_follow(&settings.blue.caps.version, &settings.green.caps.version) {
        return Err(NotWired::Why(why));
    }
    let (tls, who, start) = {
        let mut green = inner.control(Side::Green, budget).await?;
        let caps = &settings.green.caps;
        let tls = follow::channel_tls(&back.tls, &mut green, caps, budget).await?;
        let who = identity::read(&mut green, caps.family(), budget).await?;
        let start = match settings.position_kind() {
            PositionKind::GtidSet => Start::Gtid,
            PositionKind::GtidList | PositionKind::File => {
                Start::At(position_read::written_file(&mut green, caps, budget).await?)
            }
        };
        (tls, who, start)
    };
    let source = Source {
        host: back.source.0.clone(),
        port: back.source.1,
        user: back.user.clone(),
        password: back.password.clone(),
        tls,
    };
    let caps = &settings.blue.caps;
    let channels = {
        let mut blue = inner.control(Side::Blue, budget).await?;
        status::read(&mut blue, caps, budget).await?
    };
    let is_there = follow::follows(&channels, &who, &source)
        .map_err(|other| NotWired::Why(format!("it follows {other}")))?;
    if let (true, Some(trouble)) = (is_there, channels.first().and_then(ReplicaStatus::trouble)) {
        return Err(NotWired::Why(format!(
            "it was told to follow green before this run, and does not: {trouble}"
        )));
    }
    if !is_there {
        let tell = Change {
            side: Side::Blue,
            what: format!("tell blue to follow green at {}:{}", source.host, source.port),
            sql: follow::change_source(&settings.green.caps, caps, &source, &start),
            masked: true,
            undo: Vec::new(),
        };
        // On a session of its own that is closed: the one that carries a password is kept out of the server's logs.
        let mut session = sessions::open(&settings.blue, &settings.run, "way-back", budget).await?;
        *inner.wiring.lock().await = Some(session.id());
        let told = follow::run(&mut session, &tell, &back.password, budget).await;
        session.close(budget).await;
        told?;
        *inner.wiring.lock().await = None;
    }
    let mut blue = inner.control(Side::Blue, budget).await?;
    if !is_there {
        blue.run("let blue follow green", sql::start_replica(caps), budget)
            .await?;
    }
    let mut well_since: Option<Instant> = None;
    loop {
        let channels = status::read(&mut blue, caps, budget).await?;
        let Some(channel) = channels.first() else {
            return Err(NotWired::Why("it follows nobody".to_owned()));
        };
        match channel.trouble() {
            None if well_since.get_or_insert_with(Instant::now).elapsed() >= STAYS_WELL => return Ok(()),
            None => {}
            Some(trouble) if channel.is_hopeless() || Instant::now() >= until => {
                return Err(NotWired::Why(trouble));
            }
            Some(_) => well_since = None,
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How long blue has to be seen following: a receiver is connected for a moment before it is told that what it asks for is
/// not there (1236).
const STAYS_WELL: Duration = Duration::from_millis(300);

/// The domain that green is to write in, where it is told to write in blue's. What is written on both sides of the switch
/// must never stand in one order: a `FLUSH TABLES` on the sealed blue beside a write on green stopped both channels (1950).
async fn own_domain(
    blue: &mut Session,
    green: &mut Session,
    budget: Duration,
) -> Result<Option<u32>, ServerError> {
    let doing = "read the domains of what is written";
    let (of_blue,): (u32,) = blue.one(doing, "SELECT @@GLOBAL.gtid_domain_id", budget).await?;
    let question = "SELECT @@GLOBAL.gtid_domain_id, @@GLOBAL.gtid_binlog_pos, @@GLOBAL.server_id";
    let (of_green, place, number): (u32, String, u32) = green.one(doing, question, budget).await?;
    Ok((of_blue == of_green).then(|| unused_domain(&place, of_blue, number)))
}

/// A domain that nothing was written in so far, and that is not blue's.
fn unused_domain(place: &str, of_blue: u32, server_id: u32) -> u32 {
    let domains = place
        .split(',')
        .filter_map(|gtid| gtid.trim().split('-').next()?.parse().ok());
    let used: Vec<u32> = domains.chain([of_blue]).collect();
    (0..)
        .map(|n| server_id.wrapping_add(n))
        .find(|domain| !used.contains(domain))
        .unwrap_or(server_id)
}

/// What lets a sealed MariaDB go on by GTID: from what it has executed, its own and green's.
const PLACE: &str = "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos";

/// As [`PLACE`].
const BY_GTID: &str = "CHANGE MASTER TO MASTER_USE_GTID = slave_pos";

fn wired(inner: &Inner) -> Option<WiredBack> {
    inner.facts().way_back.clone()
}

pub(super) async fn unwire(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    Ok(Answer::Seen(Seen::Left(take_away(inner, terms.budget).await?)))
}

async fn take_away(inner: &Inner, budget: Duration) -> Result<Vec<Debt>, ServerError> {
    let Some(wired) = wired(inner).filter(|wired| !wired.followed_before) else {
        return Ok(Vec::new());
    };
    // The statement that tells blue to follow may still run.
    let wiring = *inner.wiring.lock().await;
    if let Some(number) = wiring {
        let is_ours = {
            let mut blue = inner.control(Side::Blue, budget).await?;
            hold::is_ours(inner, &mut blue, number, budget).await?
        };
        if is_ours {
            end_on_blue(inner, number, budget).await?;
        }
        *inner.wiring.lock().await = None;
    }
    let settings = &inner.settings;
    let mut left = Vec::new();
    let caps = &settings.blue.caps;
    let mut blue = inner.control(Side::Blue, budget).await?;
    let channels = status::read(&mut blue, caps, budget).await?;
    // What follows somebody else is not ours.
    let is_ours = |channel: &ReplicaStatus| {
        channel.channel.is_empty()
            && (&channel.source_host, channel.source_port) == (&wired.source.0, wired.source.1)
    };
    if channels.is_empty() {
        return Ok(left);
    }
    if !channels.iter().all(is_ours) {
        let seen: Vec<String> = channels
            .iter()
            .map(|channel| format!("{}:{}", channel.source_host, channel.source_port))
            .collect();
        left.push(Debt {
            step: Step::Undo,
            what: format!(
                "blue follows {}, and this run had it follow green at {}:{}: see to that by hand",
                seen.join(" and "),
                wired.source.0,
                wired.source.1
            ),
        });
        return Ok(left);
    }
    for statement in statements(caps) {
        let doing = "take the way back away";
        if let Err(e) = blue.run(doing, statement, budget).await {
            if e.code().is_none() {
                return Err(e);
            }
            left.push(owed(Side::Blue, statement, &e));
        }
    }
    Ok(left)
}

fn owed(side: Side, statement: &str, error: &ServerError) -> Debt {
    Debt {
        step: Step::Undo,
        what: format!("on {side}: {statement}; ({error})"),
    }
}

/// What takes it away on blue, in order.
pub(super) fn statements(caps: &Capabilities) -> [&'static str; 2] {
    [sql::stop_replica(caps), sql::reset_replica_all(caps)]
}

/// For a plan: each statement with what undoes it.
pub(super) fn planned(settings: &Settings) -> Vec<(Side, String, String)> {
    let Some(back) = &settings.way_back else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let (host, port) = &back.source;
    let word = match settings.blue.caps.change_source {
        Words::New => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
        Words::Old => ("CHANGE MASTER TO", "MASTER"),
    };
    let place = match settings.position_kind() {
        PositionKind::GtidSet => format!("{}_AUTO_POSITION = 1", word.1),
        PositionKind::GtidList | PositionKind::File => {
            format!("{w}_LOG_FILE = <green's>, {w}_LOG_POS = <green's>", w = word.1)
        }
    };
    let tell = format!(
        "{statement} {w}_HOST = {host}, {w}_PORT = {port}, {w}_USER = {user}, {place}, <TLS as the playbook says>, \
         {w}_PASSWORD = {PASSWORD_MASK}",
        statement = word.0,
        w = word.1,
        host = quote::text(host),
        user = quote::text(&back.user),
    );
    let caps = &settings.blue.caps;
    all.push((Side::Blue, tell, sql::reset_replica_all(caps).to_owned()));
    all.push((
        Side::Blue,
        sql::start_replica(caps).to_owned(),
        sql::stop_replica(caps).to_owned(),
    ));
    all
}

/// Once green serves: its last write arrives on blue, or the way back is a debt.
pub(super) async fn arrives(inner: &Inner, budget: Duration) -> Vec<Debt> {
    let Some(wired) = wired(inner) else {
        return Vec::new();
    };
    let seen = match wired.followed_before {
        true => Ok(()),
        false => by_gtid(inner, budget).await,
    };
    let why = match seen {
        Ok(()) => see_it_arrive(inner, budget).await,
        Err(e) => Err(e),
    };
    let why = match why {
        Ok(None) => return Vec::new(),
        Ok(Some(why)) => why,
        Err(e) => e.to_string(),
    };
    vec![Debt {
        step: Step::WireBack,
        what: format!(
            "blue does not follow green ({why}): what is written to green now does not reach blue. See to it before going \
             back is needed; `bleen status` shows blue's replication"
        ),
    }]
}

/// MariaDB: goes over from file and offset to GTIDs, once.
async fn by_gtid(inner: &Inner, budget: Duration) -> Result<(), ServerError> {
    if inner.settings.position_kind() != PositionKind::GtidList {
        return Ok(());
    }
    let caps = &inner.settings.blue.caps;
    let mut blue = inner.control(Side::Blue, budget).await?;
    let channels = status::read(&mut blue, caps, budget).await?;
    let doing = "let blue follow green by GTID";
    if !channels.iter().any(|channel| channel.by_gtid) {
        for statement in [sql::stop_replica(caps), PLACE, BY_GTID] {
            blue.run(doing, statement, budget).await?;
        }
    } else if channels.iter().all(ReplicaStatus::is_running) {
        return Ok(());
    }
    // A bleen that died in between has left it stopped.
    blue.run(doing, sql::start_replica(caps), budget).await
}

/// For a plan: what [`by_gtid`] sends.
pub(super) fn planned_by_gtid(settings: &Settings) -> Vec<&'static str> {
    let caps = &settings.blue.caps;
    match settings.way_back.is_some() && settings.position_kind() == PositionKind::GtidList {
        true => vec![sql::stop_replica(caps), PLACE, BY_GTID, sql::start_replica(caps)],
        false => Vec::new(),
    }
}

/// How long a write on green may take to be on blue before it is a debt.
const ARRIVES: Duration = Duration::from_secs(3);

/// What is asked on both sides: the number of the last heartbeat.
const BEATEN: &str = "SELECT n FROM bleen.heartbeat WHERE id = 1";

async fn see_it_arrive(inner: &Inner, budget: Duration) -> Result<Option<String>, ServerError> {
    let doing = "see that a write on green arrives on blue";
    let (beaten,): (u64,) = inner
        .control(Side::Green, budget)
        .await?
        .one(doing, BEATEN, budget)
        .await?;
    let until = Instant::now() + ARRIVES;
    loop {
        let mut blue = inner.control(Side::Blue, budget).await?;
        let (arrived,): (u64,) = blue.one(doing, BEATEN, budget).await?;
        if arrived >= beaten {
            return Ok(None);
        }
        if Instant::now() >= until {
            let channels = status::read(&mut blue, &inner.settings.blue.caps, budget).await?;
            let trouble = match channels.first() {
                None => Some("it follows nobody".to_owned()),
                Some(channel) => channel.trouble(),
            };
            return Ok(Some(trouble.unwrap_or_else(|| {
                format!(
                    "a write on green was not on blue within {}",
                    humantime::format_duration(ARRIVES)
                )
            })));
        }
        drop(blue);
        sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn green_is_given_a_domain_that_nothing_was_written_in() {
        assert_eq!(unused_domain("0-1-17", 0, 2), 2);
        assert_eq!(unused_domain("", 2, 2), 3);
        assert_eq!(unused_domain("0-1-17,2-9-4", 0, 2), 3);
        assert_eq!(unused_domain("", 0, 2), 2);
        assert_eq!(unused_domain("4294967295-1-1", 7, u32::MAX), 0);
    }
}
