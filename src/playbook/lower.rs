//! Turns the keys as written into settings with every default filled in, and checks each key's own rules.
//!
//! Every function goes on after a problem with a stand-in value, so that the rest is checked as well; whoever calls
//! [`playbook`] throws the result away when anything was found. Rules between sections are in `check.rs`.

use std::path::PathBuf;
use std::time::Duration;

use super::decode::At;
use super::diagnostics::{Problems, Span, did_you_mean};
use super::limits::{self, CountLimits, DurationLimits, RatioLimits};
use super::model::{
    Address, Compare, DataProof, Digests, Endpoint, Exec, GateMoment, GateQuery, HoldWay, Hook, HookFailure,
    HookMoment, Lag, Pair, PasswordSource, Playbook, PrivilegedSessions, Replication, Route, Routing, Soak,
    Start, StatementWaiver, Switch, Tls, Validate, Waiver, Warm,
};
use super::sql;
use super::syntax;
use crate::domain::guardrail_ids::{ALL, GuardrailId, Waivable};
use crate::domain::queries::fingerprint::{DIGITS, Fingerprint};

/// The port that servers listen on unless they are told otherwise.
pub(super) const DEFAULT_PORT: u16 = 3306;

/// Fills in defaults and checks each key.
pub(super) fn playbook(file: &syntax::File, problems: &mut Problems) -> Playbook {
    version(file.version.as_ref(), problems);
    let blue = endpoint(file.blue.as_ref(), problems);
    let green = endpoint(file.green.as_ref(), problems);
    let replication = replication(file, (&blue, &green), problems);
    Playbook {
        name: name(file.name.as_ref(), problems),
        environment: file.environment.as_ref().map(|label| label.value.clone()),
        protected: flag(file.protected.as_ref()),
        pair: Pair { blue, green },
        replication,
        switch: switch(file.switch.as_ref().map(|at| &at.value), problems),
        lag: lag(file.lag.as_ref().map(|at| &at.value), problems),
        soak: soak(file.soak.as_ref().map(|at| &at.value), problems),
        validate: validate(file.validate.as_ref().map(|at| &at.value), problems),
        warm: file.warm.as_ref().map(|at| warm(&at.value, problems)),
        routing: routing(file.routing.as_ref().map(|at| &at.value), problems),
        hooks: each(file.hooks.as_ref(), |kind| hook(kind, problems)),
        waivers: waivers(file.waivers.as_ref(), problems),
    }
}

fn version(version: Option<&At<u64>>, problems: &mut Problems) {
    if let Some(version) = version
        && version.value != 1
    {
        problems.add(version.span, "this bleen reads version 1 only");
    }
}

fn name(name: Option<&At<String>>, problems: &mut Problems) -> String {
    let Some(name) = name else { return String::new() };
    let fits = name.value.len() <= 40
        && name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !fits {
        problems.add(
            name.span,
            "a name begins with a letter or digit and has only letters, digits, `-`, `_` and `.`, at most 40",
        );
    }
    name.value.clone()
}

fn endpoint(server: Option<&At<syntax::Server>>, problems: &mut Problems) -> Endpoint {
    let Some(At { value: server, span }) = server else {
        return Endpoint {
            address: Address::Tcp(String::new(), DEFAULT_PORT),
            extra_port: None,
            admin_port: None,
            user: String::new(),
            password: PasswordSource::Prompt,
            tls: Tls::default(),
        };
    };
    let spare = server.extra_port.as_ref().or(server.admin_port.as_ref());
    let address = match (&server.host, &server.socket) {
        (Some(host), socket) => {
            if let Some(socket) = socket {
                problems.add(
                    socket.span,
                    "both `host` and `socket` are given; keep one of them",
                );
            }
            Address::Tcp(
                host_name(host, problems),
                port(server.port.as_ref(), problems).unwrap_or(DEFAULT_PORT),
            )
        }
        (None, Some(socket)) => {
            if let Some(port) = server.port.as_ref().or(spare) {
                problems.add(
                    port.span,
                    "a port needs `host`, but `socket` is given; remove one of them",
                );
            }
            Address::Socket(path(socket, problems))
        }
        (None, None) => {
            problems.add(*span, "`host` (or `socket`) is missing here");
            Address::Tcp(String::new(), DEFAULT_PORT)
        }
    };
    if let (Some(_), Some(admin)) = (&server.extra_port, &server.admin_port) {
        problems.add(
            admin.span,
            "both `extra_port` (MariaDB) and `admin_port` (MySQL) are given; keep one of them",
        );
    }
    Endpoint {
        address,
        extra_port: port(server.extra_port.as_ref(), problems),
        admin_port: port(server.admin_port.as_ref(), problems),
        user: user(server.user.as_ref(), problems),
        password: password(server.password.as_ref(), problems),
        tls: tls(server.tls.as_ref(), problems).unwrap_or_default(),
    }
}

fn host_name(host: &At<String>, problems: &mut Problems) -> String {
    let text = &host.value;
    if text.contains("://") {
        problems.add(host.span, "a host name and not an address with `://`");
    } else if let Some((before, after)) = text.rsplit_once(':')
        && !before.contains(':')
        && after.parse::<u16>().is_ok()
    {
        problems.add(
            host.span,
            format!("the port has a key of its own; write `host: {before}` and `port: {after}`"),
        );
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control() || "/@'\"".contains(c)) {
        problems.add(host.span, "not a host name or IP address");
    }
    text.clone()
}

fn port(port: Option<&At<u64>>, problems: &mut Problems) -> Option<u16> {
    let port = port?;
    let number = u16::try_from(port.value).ok().filter(|number| *number > 0);
    if number.is_none() {
        problems.add(port.span, "a port is a number from 1 to 65535");
    }
    number
}

fn user(user: Option<&At<String>>, problems: &mut Problems) -> String {
    let Some(user) = user else { return String::new() };
    if let Some((name, _)) = user.value.split_once('@') {
        problems.add(
            user.span,
            format!("an account's name without its host; write `{name}`"),
        );
    } else if user.value.chars().count() > 80 || user.value.contains(char::is_control) {
        problems.add(user.span, "not an account's name");
    }
    user.value.clone()
}

fn path(path: &At<String>, problems: &mut Problems) -> PathBuf {
    if path.value.starts_with('~') || path.value.contains("${") {
        problems.add(
            path.span,
            "paths are taken as they stand; write it out, without `~` and `${...}`",
        );
    }
    PathBuf::from(&path.value)
}

fn password(password: Option<&At<syntax::Password>>, problems: &mut Problems) -> PasswordSource {
    match password.map(|at| &at.value.0) {
        Some(syntax::PasswordFrom::Env(name)) => {
            if name
                .value
                .contains(|c: char| c.is_whitespace() || "=$".contains(c))
            {
                problems.add(name.span, "a variable's name, without `$`");
            }
            PasswordSource::Env(name.value.clone())
        }
        Some(syntax::PasswordFrom::File(file)) => PasswordSource::File(path(file, problems)),
        Some(syntax::PasswordFrom::Command(command)) => PasswordSource::Command(program(command, problems)),
        Some(syntax::PasswordFrom::OptionFile(keys)) => PasswordSource::OptionFile {
            path: keys
                .value
                .path
                .as_ref()
                .map(|file| path(file, problems))
                .unwrap_or_default(),
            group: keys.value.group.as_ref().map_or_else(
                || "client".to_owned(),
                |group| {
                    if group.value.contains(['[', ']']) {
                        problems.add(group.span, "the group's name without brackets");
                    }
                    group.value.clone()
                },
            ),
        },
        Some(syntax::PasswordFrom::Prompt) | None => PasswordSource::Prompt,
    }
}

fn program(command: &At<Vec<At<String>>>, problems: &mut Problems) -> Vec<String> {
    if command.value.is_empty() {
        problems.add(command.span, "a command needs at least a program");
    }
    command.value.iter().map(|word| word.value.clone()).collect()
}

fn tls(tls: Option<&At<syntax::TlsKeys>>, problems: &mut Problems) -> Option<Tls> {
    Some(match &tls?.value {
        syntax::TlsKeys::Disabled => Tls::Disabled,
        syntax::TlsKeys::Preferred => Tls::Preferred,
        syntax::TlsKeys::Required => Tls::Required,
        syntax::TlsKeys::VerifyCa(ca) => Tls::VerifyCa(path(ca, problems)),
        syntax::TlsKeys::VerifyIdentity(ca) => Tls::VerifyIdentity(path(ca, problems)),
    })
}

/// Where the other server reaches this one: as the playbook says, or at its own address.
fn seen_from_the_other(
    told: Option<&At<syntax::SourceKeys>>,
    server: &Endpoint,
    problems: &mut Problems,
) -> Option<(String, u16)> {
    match (told, &server.address) {
        (Some(told), _) => {
            let host = told.value.host.as_ref().map(|host| host_name(host, problems));
            let port = port(told.value.port.as_ref(), problems).unwrap_or(DEFAULT_PORT);
            Some((host.unwrap_or_default(), port))
        }
        (None, Address::Tcp(host, port)) => Some((host.clone(), *port)),
        (None, Address::Socket(_)) => None,
    }
}

fn replication(
    file: &syntax::File,
    (blue, green): (&Endpoint, &Endpoint),
    problems: &mut Problems,
) -> Replication {
    let keys = file.replication.as_ref().map(|at| &at.value);
    let source = seen_from_the_other(keys.and_then(|keys| keys.source.as_ref()), blue, problems);
    if let (None, Some(at)) = (&source, &file.replication) {
        problems.add(
            at.span,
            "`source` is missing here: green cannot reach blue by its socket; write `source: { host: ... }`",
        );
    }
    let way_back = seen_from_the_other(keys.and_then(|keys| keys.way_back.as_ref()), green, problems);
    let start = match keys.and_then(|keys| keys.start.as_ref()).map(|at| &at.value) {
        None | Some(syntax::StartKeys::Auto) => Start::Auto,
        Some(syntax::StartKeys::Binlog(keys)) => {
            if let Some(offset) = keys.value.offset.as_ref().filter(|offset| offset.value < 4) {
                problems.add(offset.span, "a binlog begins at offset 4");
            }
            if let Some(file) = keys
                .value
                .file
                .as_ref()
                .filter(|file| file.value.contains(['/', '\'', '\\']))
            {
                problems.add(
                    file.span,
                    "the file's name as SHOW BINARY LOGS prints it, without a directory",
                );
            }
            Start::Binlog {
                file: keys
                    .value
                    .file
                    .as_ref()
                    .map(|file| file.value.clone())
                    .unwrap_or_default(),
                offset: keys.value.offset.as_ref().map_or(4, |offset| offset.value),
            }
        }
    };
    Replication {
        user: user(keys.and_then(|keys| keys.user.as_ref()), problems),
        password: password(keys.and_then(|keys| keys.password.as_ref()), problems),
        tls: tls(keys.and_then(|keys| keys.tls.as_ref()), problems).unwrap_or_else(|| blue.tls.clone()),
        source: source.unwrap_or_default(),
        way_back,
        start,
        relax_green: flag(keys.and_then(|keys| keys.relax_green.as_ref())),
    }
}

fn switch(keys: Option<&syntax::SwitchKeys>, problems: &mut Problems) -> Switch {
    let mut time = |field: fn(&syntax::SwitchKeys) -> &Option<At<syntax::Span>>, limits: &DurationLimits| {
        duration(keys.and_then(|keys| field(keys).as_ref()), limits, problems)
    };
    Switch {
        deadline: time(|keys| &keys.deadline, &limits::DEADLINE),
        window: time(|keys| &keys.window, &limits::WINDOW),
        retry_after: time(|keys| &keys.retry_after, &limits::RETRY_AFTER),
        hold_wait: time(|keys| &keys.hold_wait, &limits::HOLD_WAIT),
        guard_margin: time(|keys| &keys.guard_margin, &limits::GUARD_MARGIN),
        idle_grace: time(|keys| &keys.idle_grace, &limits::IDLE_GRACE),
        longest_transaction: time(|keys| &keys.longest_transaction, &limits::TRANSACTION_AGE),
        longest_statement: time(|keys| &keys.longest_statement, &limits::STATEMENT_AGE),
        attempts: count(
            keys.and_then(|keys| keys.attempts.as_ref()),
            &limits::ATTEMPTS,
            problems,
        ),
        hold: keys
            .and_then(|keys| keys.hold.as_ref())
            .map_or(HoldWay::Auto, |at| at.value),
        end_selects: flag(keys.and_then(|keys| keys.end_selects.as_ref())),
        privileged_sessions: keys
            .and_then(|keys| keys.privileged_sessions.as_ref())
            .map_or(PrivilegedSessions::Refuse, |at| at.value),
        accept_no_way_back: flag(keys.and_then(|keys| keys.accept_no_way_back.as_ref())),
    }
}

fn lag(keys: Option<&syntax::LagKeys>, problems: &mut Problems) -> Lag {
    let mut time = |field: fn(&syntax::LagKeys) -> &Option<At<syntax::Span>>, limits: &DurationLimits| {
        duration(keys.and_then(|keys| field(keys).as_ref()), limits, problems)
    };
    Lag {
        limit: time(|keys| &keys.limit, &limits::LAG_LIMIT),
        observe: time(|keys| &keys.observe, &limits::LAG_OBSERVE),
        heartbeat: time(|keys| &keys.heartbeat, &limits::HEARTBEAT),
        catch_up: time(|keys| &keys.catch_up, &limits::CATCH_UP),
    }
}

fn soak(keys: Option<&syntax::SoakKeys>, problems: &mut Problems) -> Soak {
    let mut time = |field: fn(&syntax::SoakKeys) -> &Option<At<syntax::Span>>, limits: &DurationLimits| {
        duration(keys.and_then(|keys| field(keys).as_ref()), limits, problems)
    };
    Soak {
        time: time(|keys| &keys.time, &limits::SOAK_TIME),
        max_lag: time(|keys| &keys.max_lag, &limits::SOAK_LAG),
    }
}

fn validate(keys: Option<&syntax::ValidateKeys>, problems: &mut Problems) -> Validate {
    let queries = keys.and_then(|keys| keys.queries.as_ref());
    let lowered = each(queries, |query| gate_query(query, problems));
    if let Some(queries) = queries {
        let names = queries.value.iter().filter_map(|query| query.value.name.as_ref());
        unique(
            names.map(|name| (name.value.as_str(), name.span)),
            "query",
            problems,
        );
    }
    let data = keys.and_then(|keys| keys.data.as_ref());
    Validate {
        data: data.map(|data| data_proof(&data.value, problems)),
        queries: lowered,
        digests: keys
            .and_then(|keys| keys.digests.as_ref())
            .map(|at| digests(&at.value, problems)),
    }
}

fn data_proof(keys: &syntax::DataKeys, problems: &mut Problems) -> DataProof {
    let names = |names: &Option<At<Vec<At<String>>>>| each(names.as_ref(), |name| name.value.clone());
    DataProof {
        tables: names(&keys.tables),
        exclude: names(&keys.exclude),
        accept_unproven: names(&keys.accept_unproven),
        connections: count(keys.connections.as_ref(), &limits::DATA_CONNECTIONS, problems),
        second_half: flag(keys.second_half.as_ref()),
        again_after: duration(keys.again_after.as_ref(), &limits::AGAIN_AFTER, problems),
        max_load: keys.max_load.as_ref().map(|at| at.value),
        max_lag: duration(keys.max_lag.as_ref(), &limits::DATA_LAG, problems),
    }
}

fn digests(keys: &syntax::DigestKeys, problems: &mut Problems) -> Digests {
    Digests {
        top: count(keys.top.as_ref(), &limits::TOP, problems),
        max_slowdown: ratio(keys.max_slowdown.as_ref(), &limits::MAX_SLOWDOWN, problems),
        watch: duration(keys.watch.as_ref(), &limits::WATCH, problems),
        time_limit: duration(keys.time_limit.as_ref(), &limits::DIGESTS_LIMIT, problems),
        waivers: statement_waivers(keys.waivers.as_ref(), problems),
    }
}

fn statement_waivers(
    list: Option<&At<Vec<At<syntax::StatementWaiverKeys>>>>,
    problems: &mut Problems,
) -> Vec<StatementWaiver> {
    let Some(list) = list else { return Vec::new() };
    let names = list
        .value
        .iter()
        .filter_map(|waiver| waiver.value.statement.as_ref());
    unique(
        names.map(|name| (name.value.as_str(), name.span)),
        "waiver",
        problems,
    );
    list.value
        .iter()
        .filter_map(|waiver| {
            let name = waiver.value.statement.as_ref()?;
            let statement = match Fingerprint::new(name.value.as_str()) {
                Ok(statement) => statement,
                Err(_) => {
                    problems.add(
                        name.span,
                        format!("a fingerprint is {DIGITS} digits of 0 to 9 and a to f, as `bleen validate` shows it"),
                    );
                    return None;
                }
            };
            let reason = waiver.value.reason.as_ref()?.value.trim().to_owned();
            Some(StatementWaiver { statement, reason })
        })
        .collect()
}

fn warm(keys: &syntax::WarmKeys, problems: &mut Problems) -> Warm {
    Warm {
        time_limit: duration(keys.time_limit.as_ref(), &limits::WARM_LIMIT, problems),
    }
}

fn gate_query(query: &At<syntax::QueryKeys>, problems: &mut Problems) -> GateQuery {
    let keys = &query.value;
    if let Some(text) = &keys.sql
        && let Some(objection) = sql::objection(&text.value)
    {
        problems.add(text.span, objection);
    }
    let at = keys.at.as_ref().map_or(GateMoment::Gate, |at| at.value);
    let limits = match at {
        GateMoment::Gate => &limits::QUERY_LIMIT,
        GateMoment::Fence => &limits::FENCE_QUERY_LIMIT,
    };
    let compare = match keys.compare.as_ref().map(|at| &at.value) {
        None | Some(syntax::CompareKeys::Set) => Compare::Set,
        Some(syntax::CompareKeys::Ordered) => Compare::Ordered,
        Some(syntax::CompareKeys::NoRows) => Compare::NoRows,
        Some(syntax::CompareKeys::Scalar(keys)) => {
            if let Some(wrong) = keys
                .value
                .tolerance
                .as_ref()
                .filter(|at| !(at.value >= 0.0 && at.value.is_finite()))
            {
                problems.add(wrong.span, "a tolerance is 0 or more");
            }
            Compare::Scalar {
                tolerance: keys.value.tolerance.as_ref().map_or(0.0, |at| at.value),
            }
        }
    };
    GateQuery {
        name: keys
            .name
            .as_ref()
            .map(|name| name.value.clone())
            .unwrap_or_default(),
        sql: keys
            .sql
            .as_ref()
            .map(|sql| sql.value.trim().to_owned())
            .unwrap_or_default(),
        compare,
        at,
        time_limit: duration(keys.time_limit.as_ref(), limits, problems),
    }
}

fn routing(keys: Option<&syntax::RoutingKeys>, problems: &mut Problems) -> Routing {
    let limit = duration(
        keys.and_then(|keys| keys.limit.as_ref()),
        &limits::ROUTE_LIMIT,
        problems,
    );
    let routes = each(keys.and_then(|keys| keys.routes.as_ref()), |route| {
        let syntax::RouteKind::Exec(exec) = &route.value;
        let timeout = DurationLimits {
            key: "routing.routes.exec.timeout",
            default: limit,
            ..limits::ROUTE_LIMIT
        };
        Route::Exec(command(
            exec.value.name.as_ref(),
            exec.value.command.as_ref(),
            exec.value.timeout.as_ref(),
            &timeout,
            problems,
        ))
    });
    Routing { limit, routes }
}

fn hook(kind: &At<syntax::HookKind>, problems: &mut Problems) -> Hook {
    let syntax::HookKind::Exec(exec) = &kind.value;
    let keys = &exec.value;
    let at = keys.at.as_ref().map_or(HookMoment::BeforeHold, |at| at.value);
    let failure = keys.failure.as_ref().map_or(HookFailure::Notify, |at| at.value);
    if let (HookFailure::Abort, Some(place), HookMoment::AfterRelease | HookMoment::AfterSwitch) =
        (failure, &keys.failure, at)
    {
        problems.add(
            place.span,
            format!("a hook at `{at}` has nothing left to abort; write `notify`, or `at: before_hold`"),
        );
    }
    let exec = command(
        keys.name.as_ref(),
        keys.command.as_ref(),
        keys.timeout.as_ref(),
        &limits::HOOK_TIMEOUT,
        problems,
    );
    Hook { at, exec, failure }
}

fn command(
    name: Option<&At<String>>,
    command: Option<&At<Vec<At<String>>>>,
    timeout: Option<&At<syntax::Span>>,
    limits: &DurationLimits,
    problems: &mut Problems,
) -> Exec {
    let words = command
        .map(|command| program(command, problems))
        .unwrap_or_default();
    let own_name = || {
        words
            .first()
            .map_or("", |program| program.rsplit('/').next().unwrap_or(program))
            .to_owned()
    };
    Exec {
        name: name.map_or_else(own_name, |name| name.value.clone()),
        timeout: duration(timeout, limits, problems),
        command: words,
    }
}

fn waivers(list: Option<&At<Vec<At<syntax::WaiverKeys>>>>, problems: &mut Problems) -> Vec<Waiver> {
    let Some(list) = list else { return Vec::new() };
    let names = list
        .value
        .iter()
        .filter_map(|waiver| waiver.value.guardrail.as_ref());
    unique(
        names.map(|name| (name.value.0.as_str(), name.span)),
        "waiver",
        problems,
    );
    list.value
        .iter()
        .filter_map(|waiver| {
            let name = waiver.value.guardrail.as_ref()?;
            let guardrail = waivable(&name.value.0, name.span, problems)?;
            let reason = waiver.value.reason.as_ref()?.value.trim().to_owned();
            Some(Waiver { guardrail, reason })
        })
        .collect()
}

fn waivable(name: &str, span: Span, problems: &mut Problems) -> Option<GuardrailId> {
    let Some(id) = GuardrailId::find(name) else {
        let ids: Vec<_> = ALL.iter().map(|(id, _)| id.as_str()).collect();
        problems.add(
            span,
            match did_you_mean(name, ids.iter().copied()) {
                Some(id) => format!("no such guardrail; did you mean `{id}`?"),
                None => "no such guardrail; `bleen doctor` shows their ids".to_owned(),
            },
        );
        return None;
    };
    if id.waivable() == Waivable::No {
        problems.add(
            span,
            format!("`{id}` cannot be waived; remove this and cure what it finds"),
        );
        return None;
    }
    Some(id)
}

fn unique<'a>(names: impl Iterator<Item = (&'a str, Span)>, what: &str, problems: &mut Problems) {
    let mut seen: Vec<&str> = Vec::new();
    for (name, span) in names {
        if seen.contains(&name) {
            problems.add(span, format!("another {what} has this name already"));
        }
        seen.push(name);
    }
}

fn flag(flag: Option<&At<bool>>) -> bool {
    flag.is_some_and(|flag| flag.value)
}

fn each<T, U>(list: Option<&At<Vec<At<T>>>>, lower: impl FnMut(&At<T>) -> U) -> Vec<U> {
    list.map(|list| list.value.iter().map(lower).collect())
        .unwrap_or_default()
}

fn duration(value: Option<&At<syntax::Span>>, limits: &DurationLimits, problems: &mut Problems) -> Duration {
    let Some(value) = value else { return limits.default };
    let given = value.value.0;
    if given < limits.least || given > limits.most {
        let (least, most) = (limits::written(limits.least), limits::written(limits.most));
        let nearest = given.clamp(limits.least, limits.most);
        problems.add(
            value.span,
            format!(
                "from {least} to {most}; did you mean `{}`?",
                limits::written(nearest)
            ),
        );
    }
    given
}

fn ratio(value: Option<&At<f64>>, limits: &RatioLimits, problems: &mut Problems) -> f64 {
    let given = value.map_or(limits.default, |value| value.value);
    // What is not a number is in no range.
    if let Some(value) = value
        && !(limits.least..=limits.most).contains(&given)
    {
        problems.add(value.span, format!("from {} to {}", limits.least, limits.most));
    }
    given
}

fn count(value: Option<&At<u64>>, limits: &CountLimits, problems: &mut Problems) -> u32 {
    let given = value.map_or(limits.default, |value| value.value);
    if let Some(value) = value
        && !(limits.least..=limits.most).contains(&given)
    {
        problems.add(value.span, format!("from {} to {}", limits.least, limits.most));
    }
    u32::try_from(given).unwrap_or(u32::MAX)
}
