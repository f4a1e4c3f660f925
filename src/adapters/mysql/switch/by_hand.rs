//! What a person reads and runs when bleen cannot know who serves (DESIGN I6), or is told not to wait: facts first,
//! then statements in the order in which they are safe.
//!
//! The order is the machine's own way back: nothing on blue is opened before green is seen unable to be promoted, shut,
//! and without a transaction of its own. The statements are built by what an attempt sends itself.

use std::fmt;

use serde::Serialize;

use super::{Facts, Server, after, promote, quiet, seal, way_back};
use crate::adapters::mysql::own_schema::{self, FIND_GUARD};
use crate::adapters::mysql::{quote, sql};
use crate::domain::capabilities::PositionKind;
use crate::domain::ids::{RunId, Side};
use crate::domain::server::Family;

/// One statement to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Where.
    pub side: Side,
    /// The statement.
    pub statement: String,
    /// What it must show, or what to do with what it shows; empty if there is nothing to look at.
    pub expect: String,
}

/// Statements that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandStep {
    /// Its name: `1`, `2`, `3a` (blue serves), `3b` (green serves), `4`.
    pub step: &'static str,
    /// What it is for, and when.
    pub what: String,
    /// The statements, in order.
    pub statements: Vec<Statement>,
}

/// Facts and statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ByHand {
    /// What bleen knows.
    pub facts: Vec<String>,
    /// What to do.
    pub steps: Vec<HandStep>,
}

/// Everything that a person needs to end a run, with what the run recorded as far as that is known here.
#[must_use]
pub fn by_hand(blue: &Server, green: &Server, run: &RunId, facts: Option<&Facts>) -> ByHand {
    let hands = Hands {
        blue,
        green,
        run,
        facts,
    };
    ByHand {
        facts: hands.facts(),
        steps: vec![
            hands.end_promoter(),
            hands.read_green(),
            hands.open_blue(),
            hands.finish_on_green(),
            hands.close(),
        ],
    }
}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "`bleen resume PLAYBOOK` reads both servers, decides by what it sees, and finishes. By hand, in this order; \
             two writable servers lose writes:"
        )?;
        for fact in &self.facts {
            writeln!(f, "  known: {fact}")?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            write!(f, "  {}. {}", step.step, step.what)?;
            for statement in &step.statements {
                write!(f, "\n     on {}: {};", statement.side, statement.statement)?;
                if !statement.expect.is_empty() {
                    write!(f, "\n        -- {}", statement.expect)?;
                }
            }
            if at + 1 < self.steps.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn on(side: Side, statement: impl Into<String>, expect: impl Into<String>) -> Statement {
    Statement {
        side,
        statement: statement.into().trim_end().trim_end_matches(';').to_owned(),
        expect: expect.into(),
    }
}

struct Hands<'a> {
    blue: &'a Server,
    green: &'a Server,
    run: &'a RunId,
    facts: Option<&'a Facts>,
}

impl Hands<'_> {
    fn facts(&self) -> Vec<String> {
        let mut known = vec![format!(
            "run {}; blue is {}, {}; green is {}, {}",
            self.run,
            self.blue.target.address,
            self.blue.caps.version,
            self.green.target.address,
            self.green.caps.version
        )];
        match self.facts {
            None => known.push(
                "what the run recorded is not known here: it stands in bleen.runs.facts on blue and on green"
                    .to_owned(),
            ),
            Some(facts) => {
                known.push(format!(
                    "session {} on green is the one that promotes; session {} on blue holds",
                    facts.promote_session, facts.hold_session
                ));
                known.push(format!(
                    "before the run green itself had written: {}",
                    if facts.green_own.is_empty() {
                        "nothing"
                    } else {
                        &facts.green_own
                    }
                ));
            }
        }
        known
    }

    /// Answers one KILL for each session of bleen's on that side.
    fn sessions(&self, side: Side) -> Statement {
        let server = match side {
            Side::Blue => self.blue,
            Side::Green => self.green,
        };
        // An idle session shows no statement, and inside a batch the mark is not shown: so by the account, too.
        let statement = format!(
            "SELECT CONCAT('KILL CONNECTION ', ID) AS run_this FROM {} WHERE (USER = {} OR INFO LIKE '/* bleen%') AND ID \
             <> CONNECTION_ID() AND COMMAND NOT LIKE 'Binlog Dump%'",
            sql::process_list(&server.caps),
            quote::text(&server.target.user)
        );
        on(
            side,
            statement,
            "run each line that it answers, then ask again until it answers none",
        )
    }

    fn end_promoter(&self) -> HandStep {
        HandStep {
            step: "1",
            what: "see to it that nothing can promote green any more: end every bleen (also a frozen one), then its \
                   sessions on green, and see them gone. A statement that was sent may still run until then"
                .to_owned(),
            statements: vec![self.sessions(Side::Green)],
        }
    }

    fn read_green(&self) -> HandStep {
        let caps = &self.green.caps;
        let flags = if caps.super_read_only {
            "SELECT @@GLOBAL.read_only, @@GLOBAL.super_read_only"
        } else {
            "SELECT @@GLOBAL.read_only"
        };
        let mut statements = vec![
            on(Side::Green, flags, "0: green is open"),
            on(
                Side::Green,
                own_schema::epoch_question(self.run),
                "1: green was promoted. 0 proves nothing",
            ),
        ];
        if !caps.can_persist() {
            let before = match self.facts {
                Some(facts) => {
                    let seconds = format!("SELECT UNIX_TIMESTAMP() - {}", facts.started.1);
                    statements.push(on(
                        Side::Green,
                        seconds,
                        "seconds since the start that the run knew of",
                    ));
                    "the seconds before it"
                }
                None => "the time since the run began",
            };
            statements.push(on(
                Side::Green,
                "SHOW GLOBAL STATUS LIKE 'Uptime'",
                format!(
                    "seconds since green's start. If they are fewer than {before}, by more than two, green restarted \
                     since the run began, and that it is read-only does not show that it was not open. Then look where \
                     the applications are pointed"
                ),
            ));
        }
        let before = self.facts.map_or_else(
            || "what bleen.runs.facts says as `green_own`".to_owned(),
            |facts| format!("`{}`", facts.green_own),
        );
        match (caps.family(), caps.position_kind()) {
            (Family::MySql, PositionKind::GtidSet) => {
                statements.push(on(
                    Side::Blue,
                    "SELECT @@GLOBAL.gtid_executed",
                    "put it into the next one",
                ));
                statements.push(on(
                    Side::Green,
                    "SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '<gtid_executed of blue>')",
                    "empty: green executed nothing that blue has not",
                ));
            }
            (Family::MariaDb, _) => statements.push(on(
                Side::Green,
                "SELECT @@GLOBAL.server_id, @@GLOBAL.gtid_binlog_state",
                format!(
                    "the entries with green's server_id in the middle are {before}: green wrote nothing after the fence"
                ),
            )),
            (Family::MySql, _) => {
                statements.push(on(Side::Green, sql::binlog_status(caps), format!("where green's binlog ends; before the run: {before}")));
                let (file, offset) = self
                    .facts
                    .and_then(|facts| facts.green_own.rsplit_once(" up to "))
                    .and_then(|(_, end)| end.rsplit_once(':'))
                    .unwrap_or(("<file>", "<offset>"));
                statements.push(on(
                    Side::Green,
                    format!("SHOW BINLOG EVENTS IN {} FROM {offset}", quote::text(file)),
                    "no event has green's own server_id: green wrote nothing. Look through later files, too",
                ));
            }
        }
        HandStep {
            step: "2",
            what: "read green. Green read-only, no epoch row, and nothing executed that blue has not, all of it certain: \
                   3a (if it may have been open and forgotten it: 3a or 3b, as the applications are pointed). Green \
                   open, or an epoch row, or something of its own: 3b. Cannot be read: leave both shut"
                .to_owned(),
            statements,
        }
    }

    fn open_blue(&self) -> HandStep {
        let caps = &self.blue.caps;
        let mut statements = vec![
            self.sessions(Side::Blue),
            on(Side::Blue, FIND_GUARD, "NULL: the guard is gone"),
            on(Side::Blue, own_schema::writable_statement(caps), ""),
        ];
        if let Some(facts) = self.facts {
            for statement in seal::put_back_persisted(caps, &facts.blue_persisted).split("; ") {
                if !statement.trim().is_empty() {
                    statements.push(on(Side::Blue, statement, "as it was persisted before"));
                }
            }
            if !facts.locked_accounts.is_empty() {
                let unlock = quiet::accounts_statement(&facts.locked_accounts, "UNLOCK");
                statements.push(on(Side::Blue, unlock, "in one session"));
            }
            if facts.event_scheduler == "ON" {
                statements.push(on(Side::Blue, quiet::START_SCHEDULER, "it ran before"));
            }
            if facts
                .way_back
                .as_ref()
                .is_some_and(|wired| !wired.followed_before)
            {
                let taken = way_back::statements(caps);
                statements.extend(taken.map(|sql| on(Side::Blue, sql, "blue follows green no more")));
            }
        }
        statements.push(on(
            Side::Blue,
            format!("SELECT {}", seal::sealed_expression(caps)),
            "0: blue accepts writes",
        ));
        statements.push(on(Side::Blue, self.outcome("rolled-back"), "closes the run"));
        HandStep {
            step: "3a",
            what: "blue serves, only if 2 says so for certain: bleen's sessions on blue ended and seen gone, then blue \
                   opened and put back"
                .to_owned(),
            statements,
        }
    }

    fn finish_on_green(&self) -> HandStep {
        let (blue, green) = (&self.blue.caps, &self.green.caps);
        let mut statements = vec![
            on(
                Side::Blue,
                FIND_GUARD,
                "a number: end that session first, it would open blue; then all of bleen's",
            ),
            self.sessions(Side::Blue),
            on(Side::Blue, seal::seal_again(blue), "blue stays read-only"),
            on(
                Side::Green,
                own_schema::writable_statement(green),
                "only once blue is seen read-only",
            ),
        ];
        if let Some(facts) = self.facts {
            statements.push(on(
                Side::Green,
                promote::epoch_statement(green, self.run, &facts.green_label, ""),
                "",
            ));
        }
        statements.push(on(Side::Green, sql::stop_replica(green), ""));
        statements.push(on(Side::Green, sql::reset_replica_all(green), ""));
        if let Some(facts) = self.facts {
            statements.extend(facts.events.iter().map(|event| on(Side::Green, event, "")));
            if facts.event_scheduler == "ON" {
                statements.push(on(Side::Green, after::start_scheduler(green), ""));
            }
            if !facts.locked_accounts.is_empty() {
                let unlock = quiet::accounts_statement(&facts.locked_accounts, "UNLOCK");
                statements.push(on(
                    Side::Blue,
                    unlock,
                    "in one session, once the traffic is at green",
                ));
            }
        }
        statements.push(on(Side::Green, self.outcome("switched"), "closes the run"));
        HandStep {
            step: "3b",
            what: "green serves: blue stays shut, green is opened and finished, and the traffic is pointed at it"
                .to_owned(),
            statements,
        }
    }

    fn close(&self) -> HandStep {
        HandStep {
            step: "4",
            what: "`bleen resume PLAYBOOK` then finds nothing left to do; without the closing statement it reads the \
                   servers again and comes to the same end"
                .to_owned(),
            statements: Vec::new(),
        }
    }

    fn outcome(&self, word: &str) -> String {
        format!(
            "UPDATE bleen.runs SET step = 'over', outcome = {} WHERE run_id = {}",
            quote::text(word),
            quote::text(self.run.as_str())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::session::{Address, Target, Tls};
    use super::*;
    use crate::domain::capabilities::tests::known;
    use crate::domain::machine::HoldKind;

    fn server(side: Side, kind: &str) -> Server {
        Server {
            target: Target {
                side,
                address: Address::Tcp("127.0.0.1".into(), 3306),
                spare_address: None,
                user: "bleen".into(),
                password: String::new().into(),
                tls: Tls::Disabled,
            },
            caps: known(kind),
            label: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            hold: HoldKind::Lock,
            blue_persisted: super::super::facts::Persisted::default(),
            event_scheduler: "ON".into(),
            event_names: None,
            events: vec!["ALTER EVENT `a`.`b` ENABLE".into()],
            green_own: "server_id 2 up to b.000003:77".into(),
            blue_label: "label of blue".into(),
            green_label: "label".into(),
            blue_sessions: vec![1],
            green_sessions: vec![2],
            hold_session: 1,
            promote_session: 2,
            started: (0, 0),
            epoch: None,
            way_back: None,
            locked_accounts: vec!["`root`@`%`".into()],
        }
    }

    #[test]
    fn blue_is_opened_only_after_green_was_made_unable_and_read() {
        let run = RunId::new("20261123T220000Z-aaaaaa").unwrap();
        for kind in ["mysql-9.7", "mysql-5.6", "mariadb-11.8"] {
            let (blue, green) = (server(Side::Blue, kind), server(Side::Green, kind));
            let facts = facts();
            let text = by_hand(&blue, &green, &run, Some(&facts)).to_string();
            let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
            let opens = at(&format!(
                "on blue: {}",
                own_schema::writable_statement(&blue.caps)
            ));
            assert!(
                at("on green: SELECT CONCAT('KILL CONNECTION ', ID)")
                    < at("on green: SELECT @@GLOBAL.read_only")
            );
            assert!(at("FROM bleen.epochs") < opens, "{text}");
            assert!(
                at("on blue: SELECT IS_USED_LOCK") < opens,
                "the guard first: {text}"
            );
            assert!(
                opens < at(quiet::START_SCHEDULER) && opens < at("ACCOUNT UNLOCK"),
                "{text}"
            );
            assert!(
                at("outcome = 'rolled-back'") < at("on green: ALTER EVENT"),
                "{text}"
            );
        }
        let (blue, green) = (server(Side::Blue, "mysql-5.6"), server(Side::Green, "mysql-5.6"));
        let text = by_hand(&blue, &green, &run, Some(&facts())).to_string();
        let own = if green.caps.position_kind() == PositionKind::File {
            "SHOW BINLOG EVENTS IN 'b.000003' FROM 77"
        } else {
            "GTID_SUBTRACT"
        };
        assert!(text.contains(own), "{text}");
    }
}
