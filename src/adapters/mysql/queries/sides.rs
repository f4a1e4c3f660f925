//! A session on each side, to ask where both stand while statements are replayed on others.

use std::time::Duration;

use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::session::{Purpose, Session, Target};
use crate::domain::capabilities::{Capabilities, PositionKind};
use crate::domain::ids::RunId;

/// How long each answer may take.
pub(super) const READ: Duration = Duration::from_secs(5);

/// Both sessions, with what their servers can do.
pub(super) struct Sides {
    pub blue: (Session, Capabilities),
    pub green: (Session, Capabilities),
    pub kind: PositionKind,
}

impl Sides {
    /// Opens both.
    ///
    /// # Errors
    /// Any [`crate::adapters::mysql::error::Cause`].
    pub async fn open(
        blue: (&Target, &Capabilities),
        green: (&Target, &Capabilities),
        run: Option<&RunId>,
    ) -> Result<Self, ServerError> {
        let purpose = Purpose {
            run: run.cloned(),
            role: "quiet",
        };
        let (on_blue, on_green) = tokio::try_join!(
            Session::open(blue.0, &purpose, READ),
            Session::open(green.0, &purpose, READ)
        )?;
        Ok(Self {
            kind: Capabilities::pair_position_kind(blue.1, green.1),
            blue: (on_blue, blue.1.clone()),
            green: (on_green, green.1.clone()),
        })
    }

    /// Closes both.
    pub async fn close(self) {
        tokio::join!(self.blue.0.close(READ), self.green.0.close(READ));
    }
}
