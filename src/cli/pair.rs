//! Opens a pair: passwords fetched, both servers reached and asked what they can do.

use std::path::PathBuf;
use std::time::Duration;

use super::args::Global;
use super::error::CliError;
use super::exit::ErrorKind;
use super::run_dir;
use super::unfinished::Labels;
use crate::adapters::journal;
use crate::adapters::mysql::capabilities;
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::identity;
use crate::adapters::mysql::session::{Purpose, Session};
use crate::adapters::mysql::switch::Server;
use crate::adapters::targets;
use crate::domain::identity::Identity;
use crate::domain::ids::Side;
use crate::engine::event::{EventKind, Events};
use crate::playbook::Playbook;

pub use crate::adapters::compose::{ANSWER, new_run, operator};

/// How long a password may take to be fetched, unless a person types it.
pub const SECRET: Duration = Duration::from_secs(10);

/// Both servers, reached.
pub struct Pair {
    /// The server that serves now.
    pub blue: Server,
    /// The server that will.
    pub green: Server,
    /// A session on blue.
    pub on_blue: Session,
    /// A session on green.
    pub on_green: Session,
    /// Which two servers they are, whatever their addresses lead to later.
    pub labels: Labels,
}

impl Pair {
    /// The same servers with the roles exchanged.
    #[must_use]
    pub fn exchanged(self) -> Self {
        let named = |mut server: Server, side: Side| {
            server.target.side = side;
            server
        };
        Self {
            blue: named(self.green, Side::Blue),
            green: named(self.blue, Side::Green),
            on_blue: self.on_green.on_side(Side::Blue),
            on_green: self.on_blue.on_side(Side::Green),
            labels: Labels {
                blue: self.labels.green,
                green: self.labels.blue,
            },
        }
    }

    /// Opens the sessions again that were lost, or ended because they idled for too long, without fetching a password
    /// again.
    ///
    /// # Errors
    /// A server that cannot be reached or refuses the login.
    pub async fn revive(&mut self) -> Result<(), ServerError> {
        self.on_blue.revive(ANSWER).await?;
        self.on_green.revive(ANSWER).await?;
        Ok(())
    }
}

/// Reaches both servers.
///
/// # Errors
/// A password that cannot be fetched, a server that cannot be reached or refuses the login.
pub async fn open(playbook: &Playbook, events: &Events) -> Result<Pair, CliError> {
    let (blue, mut on_blue) = reach(Side::Blue, playbook, events).await?;
    let (green, mut on_green) = reach(Side::Green, playbook, events).await?;
    // Two names may be one server. It would take its own run lock, so it is said before anything else is asked.
    let blue_is = identity::read(&mut on_blue, blue.caps.family(), ANSWER).await?;
    let green_is = identity::read(&mut on_green, green.caps.family(), ANSWER).await?;
    tell_apart(&blue_is, &green_is)?;
    Ok(Pair {
        blue,
        green,
        on_blue,
        on_green,
        labels: Labels {
            blue: blue_is.label(),
            green: green_is.label(),
        },
    })
}

/// Sees that blue and green are two servers.
///
/// # Errors
/// They are one.
pub fn tell_apart(blue: &Identity, green: &Identity) -> Result<(), CliError> {
    if !blue.is_same_server(green) {
        return Ok(());
    }
    let seen = format!("blue and green are the same server: {}", blue.label());
    Err(CliError::new(ErrorKind::NotReady, "tell blue from green", seen)
        .hint("check the hosts and ports of `blue` and `green` in the playbook"))
}

/// One side: what it can do, and a session on it.
pub type Reached = (Server, Session);

/// Reaches one side.
///
/// # Errors
/// A password that cannot be fetched, a server that cannot be reached or refuses the login.
pub async fn reach(side: Side, playbook: &Playbook, events: &Events) -> Result<Reached, CliError> {
    let endpoint = match side {
        Side::Blue => &playbook.pair.blue,
        Side::Green => &playbook.pair.green,
    };
    let target = targets::target(side, endpoint, SECRET)
        .await
        .map_err(|e| CliError::secret(&format!("the password of {} on {side}", endpoint.user), &e))?;
    let purpose = Purpose {
        run: None,
        role: "look",
    };
    let mut session = Session::open(&target, &purpose, ANSWER).await?;
    let caps = capabilities::probe(&mut session, ANSWER).await?;
    let label = identity::read(&mut session, caps.family(), ANSWER).await?.label();
    let server = Server {
        target,
        caps,
        label: Some(label),
    };
    events.say(EventKind::Server {
        side,
        address: server.target.address.to_string(),
        version: server.caps.version.to_string(),
    });
    Ok((server, session))
}

/// The directory of the runs' journals, made and seen writable before anything is changed.
///
/// # Errors
/// It cannot be made or written.
pub fn runs_directory(global: &Global) -> Result<PathBuf, CliError> {
    let runs = run_dir::find(global)?;
    journal::check_writable(&runs).map_err(|e| {
        CliError::new(ErrorKind::NotReady, "prepare the run directory", e.to_string())
            .hint("name another one: `--run-dir DIR`")
    })?;
    Ok(runs)
}
