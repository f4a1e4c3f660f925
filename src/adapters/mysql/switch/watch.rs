//! What is looked at beside the commands: the holding session, green's applier, and who stands in the way.
//!
//! Each watcher has a session of its own and ends with the attempt. What it cannot see it does not guess: the
//! commands' own answers decide.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Inner;
use super::sessions::KEEP_ALIVE;
use crate::adapters::mysql::session::Session;
use crate::adapters::mysql::{replication, sql};
use crate::domain::capabilities::Capabilities;
use crate::domain::server::Family;
use crate::engine::ports::Alarm;

/// How often green is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn start(inner: &Arc<Inner>) {
    tokio::spawn(speak(Arc::downgrade(inner)));
    if let Some(session) = inner.sessions.watch_green.lock().await.take() {
        tokio::spawn(watch_green(Arc::downgrade(inner), session));
    }
    if let Some(session) = inner.sessions.watch_blue.lock().await.take() {
        tokio::spawn(watch_holder(Arc::downgrade(inner), session));
    }
}

/// Keeps the run lock's sessions talking, for as long as the attempt lives.
async fn speak(inner: Weak<Inner>) {
    let mut tick = interval(KEEP_ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.speak().await;
    }
}

async fn watch_holder(inner: Weak<Inner>, mut session: Session) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = false;
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let list = sql::process_list(&inner.settings.blue.caps);
        let question = format!(
            "SELECT COUNT(*) FROM {list} WHERE ID = {}",
            inner.sessions.hold_id
        );
        match session
            .one::<(i64,)>("watch the holding session", &question, inner.settings.answer)
            .await
        {
            Ok((0,)) if seen => {
                inner.raise(Alarm::HoldLost(
                    "the holding session is gone from blue".to_owned(),
                ));
                return;
            }
            Ok((count,)) => seen |= count > 0,
            // Blue cannot be asked; the commands on it find out by themselves.
            Err(_) => return,
        }
    }
}

async fn watch_green(inner: Weak<Inner>, mut session: Session) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let caps = &inner.settings.green.caps;
        let budget = inner.settings.answer;
        let Ok(channels) = replication::status::read(&mut session, caps, budget).await else {
            return;
        };
        let trouble = channels
            .first()
            .and_then(crate::domain::replication::ReplicaStatus::trouble);
        // The gates saw it run; whether it counts now is the machine's to say.
        if let (Some(trouble), Some(status)) = (&trouble, channels.first())
            && !status.applier_running
        {
            inner.raise(Alarm::ApplierStopped(trouble.clone()));
        }
        let waits = waiting_workers(&mut session, caps, budget).await;
        let seen: Vec<String> = trouble.into_iter().chain(waits).collect();
        inner.set_in_the_way((!seen.is_empty()).then(|| seen.join("; ")));
    }
}

/// Row locks that green's workers wait for, and who holds them; where the server does not tell, what its applier does.
async fn waiting_workers(session: &mut Session, caps: &Capabilities, budget: Duration) -> Vec<String> {
    let question = match caps.family() {
        Family::MySql if caps.worker_status && caps.persist => {
            "SELECT CONCAT('an applier worker waits for a row lock on ', r.OBJECT_SCHEMA, '.', r.OBJECT_NAME, \
             ', held by session ', bt.PROCESSLIST_ID, ' (', bt.PROCESSLIST_USER, '@', bt.PROCESSLIST_HOST, ', ', \
             bt.PROCESSLIST_COMMAND, ' for ', bt.PROCESSLIST_TIME, ' s)') \
             FROM performance_schema.data_lock_waits w \
             JOIN performance_schema.data_locks r ON r.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID \
             JOIN performance_schema.threads rt ON rt.THREAD_ID = w.REQUESTING_THREAD_ID \
             JOIN performance_schema.threads bt ON bt.THREAD_ID = w.BLOCKING_THREAD_ID \
             WHERE rt.NAME LIKE '%replica%' OR rt.NAME LIKE '%slave%' LIMIT 5"
        }
        Family::MariaDb => {
            "SELECT CONCAT('an applier worker waits for a row lock on ', l.LOCK_TABLE, ', held by session ', \
             b.trx_mysql_thread_id, ' (', COALESCE(p.USER, '?'), '@', COALESCE(p.HOST, '?'), ', ', \
             COALESCE(p.COMMAND, '?'), ' for ', COALESCE(p.TIME, 0), ' s)') \
             FROM information_schema.INNODB_LOCK_WAITS w \
             JOIN information_schema.INNODB_LOCKS l ON l.LOCK_ID = w.REQUESTED_LOCK_ID \
             JOIN information_schema.INNODB_TRX b ON b.trx_id = w.BLOCKING_TRX_ID \
             JOIN information_schema.INNODB_TRX r ON r.trx_id = w.REQUESTING_TRX_ID \
             LEFT JOIN information_schema.PROCESSLIST p ON p.ID = b.trx_mysql_thread_id \
             JOIN information_schema.PROCESSLIST q ON q.ID = r.trx_mysql_thread_id AND q.USER = 'system user' LIMIT 5"
        }
        Family::MySql => return Vec::new(),
    };
    let rows: Vec<(Option<String>,)> = session
        .rows("see what green's applier waits for", question, budget)
        .await
        .unwrap_or_default();
    rows.into_iter().filter_map(|(text,)| text).collect()
}
