//! The run lock for commands that change a pair outside of an attempt: preparing it, and putting that back.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::sessions::{self, KEEP_ALIVE};
use super::{OpenError, Server};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::domain::ids::RunId;

/// The run lock on both servers, on sessions of its own. Dropping it gives it up when the servers see the sessions end.
#[derive(Debug)]
pub struct RunLock {
    /// Cancelled when a session of the lock is lost: another bleen may then take the pair.
    pub lost: CancellationToken,
    /// The sessions that hold it on blue and green.
    sessions: (u64, u64),
    end: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl RunLock {
    /// Takes the lock on blue, then on green, from one that has been silent for some seconds too: a bleen that is
    /// frozen or cut off.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if a living run holds it; a server that cannot be asked.
    pub async fn take(
        blue: &Server,
        green: &Server,
        run: &RunId,
        budget: Duration,
    ) -> Result<Self, OpenError> {
        let on_blue = one(blue, run, budget).await?;
        let on_green = one(green, run, budget).await?;
        let (lost, end) = (CancellationToken::new(), CancellationToken::new());
        let sessions = (on_blue.id(), on_green.id());
        let task = tokio::spawn(speak([on_blue, on_green], lost.clone(), end.clone()));
        Ok(Self {
            lost,
            sessions,
            end,
            task,
        })
    }

    /// An expression for each side, blue first, that is 1 there while this run holds the lock.
    #[must_use]
    pub fn held(&self) -> (String, String) {
        let (blue, green) = self.sessions;
        (sessions::holds(blue), sessions::holds(green))
    }

    /// Gives the lock up and waits, a little, until its sessions are closed: whoever asks next gets it at once.
    pub async fn give_up(self) {
        self.end.cancel();
        // The servers end the sessions anyway.
        let _ = tokio::time::timeout(KEEP_ALIVE * 2, self.task).await;
    }
}

async fn one(server: &Server, run: &RunId, budget: Duration) -> Result<Session, OpenError> {
    let purpose = Purpose {
        run: Some(run.clone()),
        role: "look",
    };
    let mut asking = Session::open(&server.target, &purpose, budget).await?;
    let lock = sessions::take_lock(server, &mut asking, run, true, budget).await;
    asking.close(budget).await;
    lock
}

/// Speaks on the lock's sessions, so that others can tell a living run from a frozen one.
async fn speak(mut locks: [Session; 2], lost: CancellationToken, end: CancellationToken) {
    let mut tick = interval(KEEP_ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended: Result<(), ServerError> = async {
        loop {
            tokio::select! {
                () = end.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            for lock in &mut locks {
                lock.run("keep the run lock", "DO 0", KEEP_ALIVE * 5).await?;
            }
        }
    }
    .await;
    if let Err(e) = ended {
        tracing::debug!(error = %e, "the run lock is lost");
        lost.cancel();
    }
    for lock in locks {
        lock.close(KEEP_ALIVE).await;
    }
}
