//! Taking over an earlier run: its sessions ended and seen gone, the promoting one first, the guard left for the last.

use super::sessions::end_session;
use super::{Inner, done, facts, hold};
use crate::adapters::mysql::error::ServerError;
use crate::adapters::mysql::own_schema::FIND_GUARD;
use crate::adapters::mysql::quote;
use crate::adapters::mysql::session::Session;
use crate::domain::ids::Side;
use crate::domain::machine::Answer;
use crate::engine::ports::Terms;

pub(super) async fn end_earlier_sessions(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let known = inner.facts().clone();
    let sides = [
        (
            Side::Green,
            known.green_sessions,
            known.started.1,
            known.promote_session,
        ),
        (
            Side::Blue,
            known.blue_sessions,
            known.started.0,
            known.hold_session,
        ),
    ];
    for (side, numbers, started, first) in sides {
        let own = inner.sessions.numbers(side).await;
        let mut session = inner.control(side, terms.budget).await?;
        // A server that restarted has none of them left, and others may bear their numbers now. Only a start that is
        // certainly later counts: else a session of the run would be left, and could promote after blue is opened.
        let restarted = facts::started(&mut session, terms.budget)
            .await?
            .is_after(started);
        let guard = match side {
            Side::Blue => {
                session
                    .one::<(Option<u64>,)>("look for the guard", FIND_GUARD, terms.budget)
                    .await?
                    .0
            }
            Side::Green => None,
        };
        let mut numbers = if restarted { Vec::new() } else { numbers };
        numbers.extend(marked(inner, &mut session, side, terms).await?);
        numbers.sort_by_key(|n| *n != first);
        for number in numbers {
            let spared = own.contains(&number) || Some(number) == guard;
            if !spared && hold::is_ours(inner, &mut session, number, terms.budget).await? {
                end_session(&mut session, inner.server(side), number, terms.budget).await?;
            }
        }
    }
    done()
}

/// Sessions that bear this run in their connection attributes: those that were opened after the run wrote down its
/// sessions. Only where the server keeps the attributes.
async fn marked(
    inner: &Inner,
    session: &mut Session,
    side: Side,
    terms: Terms,
) -> Result<Vec<u64>, ServerError> {
    if !inner.server(side).caps.connect_attributes {
        return Ok(Vec::new());
    }
    let question = format!(
        "SELECT PROCESSLIST_ID FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'bleen_run' \
         AND ATTR_VALUE = {}",
        quote::text(inner.settings.run.as_str())
    );
    let rows: Vec<(u64,)> = session
        .rows("look for sessions of the run", &question, terms.budget)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
