//! Both sides of the query proof: implements the engine's port.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::relations::look_up;
use super::replayer::{READ, Replayer};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::Target;
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::{RunId, Side};
use crate::domain::proof::transaction::TableName;
use crate::domain::queries::catalogue::Relation;
use crate::domain::queries::plan::Plan;
use crate::engine::ports::Pending;
use crate::engine::queries::{Failure, Ran, Replays, Statement};

/// One session on each side.
pub struct LiveReplays {
    blue: Arc<Mutex<Replayer>>,
    green: Arc<Mutex<Replayer>>,
}

impl LiveReplays {
    /// Opens both sessions.
    ///
    /// # Errors
    /// Any [`crate::adapters::mysql::error::Cause`]. Nothing has changed.
    pub async fn open(
        blue: (&Target, &Capabilities),
        green: (&Target, &Capabilities),
        run: Option<&RunId>,
    ) -> Result<Self, ServerError> {
        let (blue, green) = tokio::try_join!(
            Replayer::open(blue.0, blue.1, run),
            Replayer::open(green.0, green.1, run)
        )?;
        Ok(Self {
            blue: Arc::new(Mutex::new(blue)),
            green: Arc::new(Mutex::new(green)),
        })
    }

    fn side(&self, side: Side) -> Arc<Mutex<Replayer>> {
        match side {
            Side::Blue => Arc::clone(&self.blue),
            Side::Green => Arc::clone(&self.green),
        }
    }

    /// The numbers of both sessions, so that no guardrail is about them. They change when one had to be opened anew.
    pub async fn sessions(&self) -> [(Side, u64); 2] {
        let (blue, green) = tokio::join!(self.blue.lock(), self.green.lock());
        [(Side::Blue, blue.session.id()), (Side::Green, green.session.id())]
    }

    /// Ends a statement that may still run, where one was given up, and closes both sessions.
    pub async fn close(self) {
        for replayer in [self.blue, self.green] {
            if replayer.lock().await.session.is_spent() {
                // Best effort: the server's own limit ends it as well.
                let _ = replayer.lock().await.ready().await;
            }
            // Whoever else holds it is done with it soon, and closes it by dropping it.
            if let Some(replayer) = Arc::into_inner(replayer) {
                replayer.into_inner().session.close(READ).await;
            }
        }
    }
}

impl Replays for LiveReplays {
    fn relations(&self, names: Vec<TableName>) -> Pending<Result<Vec<(TableName, Relation)>, String>> {
        let blue = self.side(Side::Blue);
        Box::pin(async move {
            let mut blue = blue.lock().await;
            blue.ready().await.map_err(|e| e.to_string())?;
            let mut found = Vec::new();
            for name in names {
                let relation = look_up(&mut blue.session, &name)
                    .await
                    .map_err(|e| e.to_string())?;
                found.push((name, relation));
            }
            Ok(found)
        })
    }

    fn run(&self, side: Side, statement: Statement) -> Pending<Result<Ran, Failure>> {
        let side = self.side(side);
        Box::pin(async move { side.lock().await.run(&statement).await })
    }

    fn plan(&self, side: Side, statement: Statement) -> Pending<Result<Plan, String>> {
        let side = self.side(side);
        Box::pin(async move { side.lock().await.plan(&statement).await })
    }

    fn disk_reads(&self) -> Pending<Result<u64, String>> {
        let green = self.side(Side::Green);
        Box::pin(async move { green.lock().await.disk_reads().await })
    }
}
