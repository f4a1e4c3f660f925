//! When a data proof stands aside: for a hold, and to spare the servers.

use std::time::Duration;

use tokio::time::timeout;

use super::prover::Prover;

/// Why no check is begun at present.
#[derive(Debug, Clone, Default)]
pub(super) struct Pauses {
    /// A hold is near, or there.
    pub(super) rest: Option<String>,
    /// The servers have too much to do.
    pub(super) spare: Option<String>,
}

impl Pauses {
    pub(super) fn why(&self) -> Option<&String> {
        self.rest.as_ref().or(self.spare.as_ref())
    }
}

impl Prover {
    /// Stops beginning new checks for a reason, to spare the servers, or begins them again (`None`). The stream is read
    /// on.
    pub fn spare(&self, why: Option<String>) {
        self.pauses.send_if_modified(|pauses| {
            let is_new = pauses.spare != why;
            pauses.spare = why;
            is_new
        });
    }

    /// Stops beginning new checks until [`Prover::go_on`], and returns when none is under way any more; `false` if that
    /// took longer than `limit`.
    pub async fn rest(&self, why: &str, limit: Duration) -> bool {
        self.pauses
            .send_modify(|pauses| pauses.rest = Some(why.to_owned()));
        // Whoever takes work looks at the pause and counts itself under this lock.
        drop(self.state());
        let mut at_work = self.at_work.subscribe();
        timeout(limit, at_work.wait_for(|checks| *checks == 0))
            .await
            .is_ok()
    }

    /// Begins checks again, of everything.
    pub fn go_on(&self) {
        self.state().plan.only_items(false);
        self.pauses.send_modify(|pauses| pauses.rest = None);
    }

    /// From now on only reads open rows, as soon as they are open, until [`Prover::go_on`]: a hold is near. Returns when
    /// no range is being read any more; `false` if that took longer than `limit`.
    pub async fn only_open_rows(&self, limit: Duration) -> bool {
        self.state().plan.only_items(true);
        let mut ranges = self.ranges_at_work.subscribe();
        timeout(limit, ranges.wait_for(|checks| *checks == 0))
            .await
            .is_ok()
    }

    /// Whether a hold is near, or under way.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.pauses.borrow().rest.is_some() || self.state().plan.reads_only_items()
    }
}
