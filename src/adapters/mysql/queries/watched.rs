//! Whether the tables of a statement were touched, by the word of a data proof that follows blue's binlog: so a statement
//! can be compared on a blue that is written to all the time, if its own tables are quiet for as long as it takes.
//!
//! Green is made to wait for blue's position first, for a short time: that leaves few transactions in doubt. It need
//! not get there, because what it lacks then counts as touched.

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
use crate::domain::proof::transaction::{Positions, Shown, TableName};
use crate::engine::ports::Pending;
use crate::engine::proof::prover::Prover;
use crate::engine::queries::Quiet;

/// How long green may take to reach blue's position.
const REACH: Duration = Duration::from_secs(1);

/// A session on each side of its own, and the proof that is asked.
pub struct Watched {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    prover: Arc<Prover>,
    sides: Sides,
    began: Option<Positions>,
}

impl Watched {
    /// Opens both sessions.
    ///
    /// # Errors
    /// Any [`crate::adapters::mysql::error::Cause`].
    pub async fn open(
        prover: Arc<Prover>,
        blue: (&Target, &Capabilities),
        green: (&Target, &Capabilities),
        run: Option<&RunId>,
    ) -> Result<Self, ServerError> {
        let inner = Inner {
            prover,
            sides: Sides::open(blue, green, run).await?,
            began: None,
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

impl Quiet for Watched {
    fn begin(&self) -> Pending<Result<(), String>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let mut inner = inner.lock().await;
            inner.began = None;
            let positions = inner.positions().await.map_err(|e| e.to_string())?;
            inner.prover.settle(&positions);
            inner.began = Some(positions);
            Ok(())
        })
    }

    fn touched(&self, tables: &[TableName]) -> Pending<Result<bool, String>> {
        let (inner, tables) = (Arc::clone(&self.inner), tables.to_vec());
        Box::pin(async move {
            let mut inner = inner.lock().await;
            let Some(before) = inner.began.take() else {
                return Ok(true);
            };
            inner.sides.blue.0.revive(READ).await.map_err(|e| e.to_string())?;
            let (session, caps) = &mut inner.sides.blue;
            let after = written_file(session, caps, READ)
                .await
                .map_err(|e| e.to_string())?;
            let touched = inner.prover.touched(&tables, &before, &after).await;
            touched.ok_or_else(|| format!("blue's binlog was not read up to {after} in time"))
        })
    }
}

impl Inner {
    /// What both sides show at least from now on.
    async fn positions(&mut self) -> Result<Positions, ServerError> {
        self.sides.blue.0.revive(READ).await?;
        self.sides.green.0.revive(READ).await?;
        let (on_blue, blue) = &mut self.sides.blue;
        let (on_green, green) = &mut self.sides.green;
        let executed_on_blue = executed(on_blue, blue, self.sides.kind, Role::Writer, READ).await?;
        let shown_by_blue = match self.sides.kind {
            // MariaDB's position runs ahead of what is visible; that of a snapshot does not.
            PositionKind::GtidList => {
                let place = snapshot_of_blue(on_blue, READ).await?;
                on_blue.run("end a snapshot", "COMMIT", READ).await?;
                Position::File(place)
            }
            PositionKind::GtidSet | PositionKind::File => executed_on_blue.clone(),
        };
        if wait_applied(on_green, green, &executed_on_blue, REACH).await? == Waited::ApplierStopped {
            let why = "green's replication does not run";
            return Err(on_green.unexpected("wait for blue's position", why));
        }
        let shown_by_green = executed(on_green, green, self.sides.kind, Role::Replica, READ).await?;
        Ok(Positions {
            blue: Shown::AtLeast(shown_by_blue),
            green: Shown::AtLeast(shown_by_green),
        })
    }
}
