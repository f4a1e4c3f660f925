//! Rules between the sections of a playbook. Rules of a single key are in `lower.rs`.

use super::decode::At;
use super::diagnostics::{Problems, Span};
use super::limits;
use super::model::{Address, GateMoment, Playbook};
use super::syntax;

/// Checks everything that needs more than one key. `playbook` is what [`super::lower`] made of `file`.
pub(super) fn across(file: &syntax::File, playbook: &Playbook, problems: &mut Problems) {
    different_servers(file, playbook, problems);
    separate_accounts(file, playbook, problems);
    times(file, playbook, problems);
    fence_queries(file, playbook, problems);
}

/// Blue and green by the same address are the same server. That two names may be one server is seen later, by probing.
fn different_servers(file: &syntax::File, playbook: &Playbook, problems: &mut Problems) {
    let (blue, green) = (&playbook.pair.blue.address, &playbook.pair.green.address);
    let same = match (blue, green) {
        (Address::Tcp(a, a_port), Address::Tcp(b, b_port)) => {
            !a.is_empty() && a.eq_ignore_ascii_case(b) && a_port == b_port
        }
        (Address::Socket(a), Address::Socket(b)) => a == b && !a.as_os_str().is_empty(),
        _ => false,
    };
    if same && let Some(At { value: server, span }) = &file.green {
        let at = server
            .host
            .as_ref()
            .or(server.socket.as_ref())
            .map_or(*span, |at| at.span);
        problems.add(at, "green is the same server as blue");
    }
}

fn separate_accounts(file: &syntax::File, playbook: &Playbook, problems: &mut Problems) {
    let user = &playbook.replication.user;
    if !user.is_empty()
        && *user == playbook.pair.blue.user
        && let Some(at) = file.replication.as_ref().and_then(|at| at.value.user.as_ref())
    {
        problems.add(
            at.span,
            "replication needs an account of its own; this one is bleen's on blue",
        );
    }
}

fn times(file: &syntax::File, playbook: &Playbook, problems: &mut Problems) {
    let (switch, lag) = (&playbook.switch, &playbook.lag);
    let deadline = limits::written(switch.deadline);
    let switch_keys = file.switch.as_ref().map(|at| &at.value);
    let lag_keys = file.lag.as_ref().map(|at| &at.value);
    // The complaint is put at the first of the two keys that the playbook really has.
    let place = |first: Option<Span>, second: Option<Span>| first.or(second).unwrap_or_default();
    let deadline_at = switch_keys
        .and_then(|keys| keys.deadline.as_ref())
        .map(|at| at.span);
    let limit_at = lag_keys.and_then(|keys| keys.limit.as_ref()).map(|at| at.span);
    if switch.window < switch.deadline {
        let window_at = switch_keys
            .and_then(|keys| keys.window.as_ref())
            .map(|at| at.span);
        problems.add(
            place(window_at, deadline_at),
            format!(
                "the window ({}) is shorter than the deadline ({deadline})",
                limits::written(switch.window)
            ),
        );
    }
    if lag.limit >= switch.deadline {
        problems.add(
            place(limit_at, deadline_at),
            format!(
                "a lag of {} cannot be drained within the deadline ({deadline}); lower `lag.limit`",
                limits::written(lag.limit)
            ),
        );
    }
    if lag.heartbeat > lag.limit / 2 {
        let heartbeat_at = lag_keys
            .and_then(|keys| keys.heartbeat.as_ref())
            .map(|at| at.span);
        problems.add(
            place(heartbeat_at, limit_at),
            format!(
                "a heartbeat every {} cannot tell a lag of {}; at most half of `lag.limit`",
                limits::written(lag.heartbeat),
                limits::written(lag.limit)
            ),
        );
    }
    if switch.hold_wait >= switch.deadline {
        let hold_wait_at = switch_keys
            .and_then(|keys| keys.hold_wait.as_ref())
            .map(|at| at.span);
        problems.add(
            place(hold_wait_at, deadline_at),
            "`hold_wait` must be shorter than the deadline",
        );
    }
}

/// Fence queries run under the hold, where their time counts against the deadline.
fn fence_queries(file: &syntax::File, playbook: &Playbook, problems: &mut Problems) {
    let deadline = playbook.switch.deadline;
    let keys = file.validate.as_ref().and_then(|at| at.value.queries.as_ref());
    let Some(keys) = keys else { return };
    for (keys, query) in keys.value.iter().zip(&playbook.validate.queries) {
        if query.at == GateMoment::Fence && query.time_limit >= deadline {
            let at = keys.value.time_limit.as_ref().map_or(keys.span, |at| at.span);
            problems.add(
                at,
                format!(
                    "under the hold; must be shorter than the deadline ({})",
                    limits::written(deadline)
                ),
            );
        }
    }
}
