//! Whether blue stood still as a whole: the plain bracket, for a pair without a reader of its binlog.
//!
//! Green is made to wait for blue's position before both are read; if blue is still at that position afterwards, both
//! had the same. On a blue that is written to all the time nothing is ever quiet for it: that is what the data proof's
//! own bracket is for, which knows the tables of each transaction.
//!
//! MariaDB's position runs ahead of what a session can see, by milliseconds: a transaction that blue had written down
//! and did not show yet is on green and not in blue's answer. There a snapshot must show all that was written down; where
//! positions are files and offsets, which no snapshot of MySQL tells, blue has to stand still for a moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::sides::{READ, Sides};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::position_read::{Role, Waited, executed, wait_applied, written_file};
use crate::adapters::mysql::proof::lane::snapshot_of_blue;
use crate::adapters::mysql::session::Target;
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::RunId;
use crate::domain::position::Position;
use crate::domain::proof::transaction::TableName;
use crate::engine::ports::Pending;
use crate::engine::queries::Quiet;

/// The longest that a transaction was seen in MariaDB's binlog before it could be read was 26 ms.
const SEEN_AFTER: Duration = Duration::from_millis(250);

/// A session on each side of its own.
pub struct Standstill {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    sides: Sides,
    began: Option<Position>,
    wait: Duration,
}

impl Standstill {
    /// Opens both sessions; `wait` is how long green may take to reach blue's position.
    ///
    /// # Errors
    /// Any [`crate::adapters::mysql::error::Cause`].
    pub async fn open(
        blue: (&Target, &Capabilities),
        green: (&Target, &Capabilities),
        run: Option<&RunId>,
        wait: Duration,
    ) -> Result<Self, ServerError> {
        let inner = Inner {
            sides: Sides::open(blue, green, run).await?,
            began: None,
            wait,
        };
        Ok(Self {
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    /// Closes both sessions.
    pub async fn close(self) {
        if let Some(inner) = Arc::into_inner(self.inner) {
            inner.into_inner().sides.close().await;
        }
    }
}

impl Quiet for Standstill {
    fn begin(&self) -> Pending<Result<(), String>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.lock().await.begin().await })
    }

    fn touched(&self, _: &[TableName]) -> Pending<Result<bool, String>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let mut inner = inner.lock().await;
            let now = inner.on_blue().await?;
            Ok(inner.began.as_ref() != Some(&now))
        })
    }
}

impl Inner {
    async fn on_blue(&mut self) -> Result<Position, String> {
        self.sides.blue.0.revive(READ).await.map_err(|e| e.to_string())?;
        let (session, caps) = &mut self.sides.blue;
        executed(session, caps, self.sides.kind, Role::Writer, READ)
            .await
            .map_err(|e| e.to_string())
    }

    async fn begin(&mut self) -> Result<(), String> {
        self.began = None;
        let mut position = self.on_blue().await?;
        let shows_it = match self.sides.kind {
            PositionKind::GtidSet => true,
            PositionKind::GtidList => self.shows_all_it_wrote().await.map_err(|e| e.to_string())?,
            PositionKind::File => {
                tokio::time::sleep(SEEN_AFTER).await;
                let before = std::mem::replace(&mut position, self.on_blue().await?);
                before == position
            }
        };
        self.reach(&position).await?;
        // Where nothing is kept, `touched` says yes.
        self.began = shows_it.then_some(position);
        Ok(())
    }

    async fn shows_all_it_wrote(&mut self) -> Result<bool, ServerError> {
        let (session, caps) = &mut self.sides.blue;
        let shown = snapshot_of_blue(session, READ).await?;
        session.run("end a snapshot", "COMMIT", READ).await?;
        Ok(shown == written_file(session, caps, READ).await?)
    }

    async fn reach(&mut self, position: &Position) -> Result<(), String> {
        self.sides.green.0.revive(READ).await.map_err(|e| e.to_string())?;
        let (session, caps) = &mut self.sides.green;
        match wait_applied(session, caps, position, self.wait).await {
            Ok(Waited::Reached) => Ok(()),
            Ok(Waited::TimedOut) => Err("green did not reach blue's position in time".to_owned()),
            Ok(Waited::ApplierStopped) => Err("green's replication does not run".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }
}
