//! Steps 14 to 16: traffic, release, confirmation. Nothing here is a failure any more; what is not done is a debt.

use std::time::{Duration, Instant};

use super::sessions::end_on_blue;
use super::{Inner, hold, looks, promote, quiet, way_back};
use crate::adapters::exec;
use crate::adapters::mysql::error::{Cause, ServerError};
use crate::adapters::mysql::{own_schema, quote, sql};
use crate::domain::capabilities::Capabilities;
use crate::domain::ids::Side;
use crate::domain::machine::{Answer, Seen};
use crate::domain::outcome::Debt;
use crate::domain::step::Step;
use crate::engine::ports::Terms;

pub(super) async fn route(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let until = Instant::now() + terms.budget;
    if !inner.settings.routes.is_empty() {
        still_ours(inner).await?;
    }
    let surroundings = inner.settings.about().surroundings();
    let mut left = Vec::new();
    for route in &inner.settings.routes {
        let allowed = route.timeout.min(until.saturating_duration_since(Instant::now()));
        if let Err(e) = exec::run(&route.command, &surroundings, allowed).await {
            left.push(Debt {
                step: Step::Route,
                what: format!("route `{}`: {e}", route.name),
            });
        }
    }
    Ok(Answer::Seen(Seen::Left(left)))
}

/// Routes work outside of both servers, where nothing keeps those of a bleen away that was frozen and overtaken. Green is
/// asked; blue too, if green is away for a moment.
async fn still_ours(inner: &Inner) -> Result<(), ServerError> {
    let budget = inner.settings.answer;
    match inner.see_still_ours(Side::Green, budget).await {
        Err(e) if !matches!(e.cause, Cause::TakenOver(_)) => inner.see_still_ours(Side::Blue, budget).await,
        other => other,
    }
}

/// The lock first: statements that wait get a clean refusal (1290), not a lost connection.
pub(super) async fn release(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let left = end_privileged(inner, terms).await;
    *inner
        .released_at
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    hold::give_up(inner, terms).await?;
    Ok(Answer::Seen(Seen::Left(left)))
}

/// Sessions that write through read-only and came under the hold: what they wait with would be acknowledged by a blue that
/// nobody follows any more. They are ended before the lock is given up, and named, whatever the playbook says: green
/// serves.
async fn end_privileged(inner: &Inner, terms: Terms) -> Vec<Debt> {
    let owe = |what: String| Debt {
        step: Step::Release,
        what,
    };
    let sessions = match looks::privileged(inner, terms).await {
        Ok(sessions) => sessions,
        Err(e) => {
            return vec![owe(format!(
                "see that no session on blue that writes through read-only wrote after the switch: {e}"
            ))];
        }
    };
    let mut left = Vec::new();
    for (number, _) in sessions {
        match end_on_blue(inner, number, terms.budget).await {
            Ok(()) => tracing::warn!(number, "ended a session on blue that writes through read-only"),
            Err(e) => left.push(owe(format!(
                "session {number} on blue writes through read-only and could not be ended: {e}"
            ))),
        }
    }
    left
}

/// One statement of the confirmation; its failure becomes a debt that names it.
async fn owe(inner: &Inner, side: Side, what: &str, statement: &str, budget: Duration, debt: &mut Vec<Debt>) {
    let result = match inner.control(side, budget).await {
        Ok(mut session) => session.run(what, statement, budget).await,
        Err(e) => Err(e),
    };
    if let Err(e) = result {
        debt.push(owed(side, what, statement, &e));
    }
}

fn owed(side: Side, what: &str, statement: &str, error: &ServerError) -> Debt {
    Debt {
        step: Step::Confirm,
        what: format!("{what} on {side}: {statement}; ({error})"),
    }
}

/// A write on green, as its writers make from now on.
pub(super) const BEAT: &str = "UPDATE bleen.heartbeat SET n = n + 1";

/// Starts events on green, where they run from now on. Preparing may have persisted OFF, which would come back with the
/// next start.
pub(super) fn start_scheduler(caps: &Capabilities) -> &'static str {
    if caps.can_persist() {
        "SET PERSIST event_scheduler = ON"
    } else {
        "SET GLOBAL event_scheduler = ON"
    }
}

pub(super) async fn confirm(inner: &Inner, terms: Terms) -> Result<Answer, ServerError> {
    let budget = inner.settings.answer;
    let caps = &inner.settings.green.caps;
    let mut debt = Vec::new();
    // What is left of the time is for the rest: the grace before idle sessions are ended, and the statements.
    let wait = terms.budget.saturating_sub(inner.settings.idle_grace) / 2;
    if let Err(e) = promote::answers(inner, wait).await {
        tracing::debug!(error = %e, "green does not answer; each statement will say so");
    }
    green_accepts(inner, budget, &mut debt).await;
    owe(
        inner,
        Side::Green,
        "stop the forward channel",
        sql::stop_replica(caps),
        budget,
        &mut debt,
    )
    .await;
    owe(
        inner,
        Side::Green,
        "remove the forward channel",
        sql::reset_replica_all(caps),
        budget,
        &mut debt,
    )
    .await;
    owe(inner, Side::Green, "write on green", BEAT, budget, &mut debt).await;
    let (events, scheduler, locked) = {
        let facts = inner.facts();
        (
            facts.events.clone(),
            facts.event_scheduler.clone(),
            facts.locked_accounts.clone(),
        )
    };
    for event in &events {
        owe(inner, Side::Green, "enable an event", event, budget, &mut debt).await;
    }
    if scheduler == "ON" {
        let statement = start_scheduler(caps);
        owe(
            inner,
            Side::Green,
            "start the event scheduler",
            statement,
            budget,
            &mut debt,
        )
        .await;
    }
    if !locked.is_empty() {
        let doing = "unlock accounts";
        let statement = quiet::accounts_statement(&locked, "UNLOCK");
        if let Err(e) = quiet::change_accounts(inner, doing, &statement, budget).await {
            debt.push(owed(Side::Blue, doing, &statement, &e));
        }
    }
    blue_refuses(inner, budget, &mut debt).await;
    debt.extend(way_back::arrives(inner, budget).await);
    debt.extend(super::aftermath::ask(inner).await);
    end_idle(inner, terms, &mut debt).await;
    if debt.is_empty() {
        let doing = "conclude what was recorded to be put back";
        let statement = own_schema::conclude_statement(&inner.facts().green_label);
        owe(inner, Side::Green, doing, &statement, budget, &mut debt).await;
    }
    Ok(Answer::Seen(Seen::Left(debt)))
}

/// bleen's account may write through read-only, so a write alone does not show that green is open.
async fn green_accepts(inner: &Inner, budget: Duration, debt: &mut Vec<Debt>) {
    let question = promote::accepts_question(&inner.settings.green.caps);
    let seen = match inner.control(Side::Green, budget).await {
        Ok(mut green) => {
            green
                .one::<(i64,)>("see that green accepts writes", &question, budget)
                .await
        }
        Err(e) => Err(e),
    };
    let what = match seen {
        Ok((1,)) => return,
        Ok(_) => {
            "green is read-only, it restarted after it was promoted: `bleen resume` opens it again".to_owned()
        }
        Err(e) => format!("green could not be seen writable: {e}"),
    };
    debt.push(Debt {
        step: Step::Promote,
        what,
    });
}

async fn blue_refuses(inner: &Inner, budget: Duration, debt: &mut Vec<Debt>) {
    let question = format!(
        "SELECT {}",
        super::seal::sealed_expression(&inner.settings.blue.caps)
    );
    let seen = match inner.control(Side::Blue, budget).await {
        Ok(mut blue) => {
            blue.one::<(i64,)>("see that blue refuses", &question, budget)
                .await
        }
        Err(e) => Err(e),
    };
    let what = match seen {
        Ok((1,)) => return,
        Ok(_) => "blue accepts writes: set it read-only at once".to_owned(),
        Err(e) => format!("blue could not be seen read-only: {e}"),
    };
    debt.push(Debt {
        step: Step::Confirm,
        what,
    });
}

/// Sessions that still sit idle on blue after the grace time are ended, so that their clients look for the new writer.
async fn end_idle(inner: &Inner, terms: Terms, debt: &mut Vec<Debt>) {
    let released = *inner
        .released_at
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(released) = released else { return };
    let grace = inner.settings.idle_grace.min(terms.budget);
    tokio::time::sleep_until((released + grace).into()).await;
    let budget = inner.settings.answer;
    let server = &inner.settings.blue;
    let list = sql::process_list(&server.caps);
    let question = format!(
        "SELECT ID FROM {list} WHERE COMMAND = 'Sleep' AND USER <> {} AND USER NOT IN ('system user', 'event_scheduler') \
         AND TIME >= {} LIMIT 10000",
        quote::text(&server.target.user),
        grace.as_secs().min(released.elapsed().as_secs()),
    );
    let idle = match inner.control(Side::Blue, budget).await {
        Ok(mut blue) => {
            blue.rows::<(u64,)>("list idle sessions on blue", &question, budget)
                .await
        }
        Err(e) => Err(e),
    };
    match idle {
        Ok(idle) => {
            for (number,) in idle {
                if let Ok(mut blue) = inner.control(Side::Blue, budget).await {
                    // One that ended by itself meanwhile (1094) is what was wanted.
                    let ended = blue
                        .run(
                            "end an idle session",
                            &super::sessions::end_statement(number),
                            budget,
                        )
                        .await;
                    tracing::debug!(number, ?ended, "idle session on blue");
                }
            }
        }
        Err(e) => debt.push(Debt {
            step: Step::Confirm,
            what: format!("end the idle sessions on blue: {e}"),
        }),
    }
}
