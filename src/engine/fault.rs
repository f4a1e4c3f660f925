//! Named fault points at every step boundary, so that tests can kill or freeze bleen there. Not in release builds.

/// The variable that names a point and what happens there: `seal.after=kill`, `drain.before=stop`,
/// `hold.after=pause:300` (milliseconds). Several are separated by commas.
pub const VARIABLE: &str = "BLEEN_FAULT";

/// Passes a fault point. `command` is the machine's word for what is done, `moment` is `before` or `after`.
#[cfg(debug_assertions)]
pub async fn point(command: &str, moment: &str) {
    let Ok(wanted) = std::env::var(VARIABLE) else {
        return;
    };
    for one in wanted.split(',') {
        let Some((name, action)) = one.split_once('=') else {
            continue;
        };
        if name.split_once('.') != Some((command, moment)) {
            continue;
        }
        let me = rustix::process::getpid();
        // A signal to oneself cannot fail; were it refused, the test that asked for it would see bleen go on.
        match action.split_once(':') {
            None if action == "kill" => {
                let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            }
            None if action == "stop" => {
                let _ = rustix::process::kill_process(me, rustix::process::Signal::STOP);
            }
            Some(("pause", milliseconds)) => {
                let time = std::time::Duration::from_millis(milliseconds.parse().unwrap_or(0));
                tokio::time::sleep(time).await;
            }
            _ => tracing::warn!(action, "no such fault"),
        }
    }
}

/// In release builds there are no faults to inject.
#[cfg(not(debug_assertions))]
#[expect(clippy::unused_async, reason = "the same form as in debug builds")]
pub async fn point(_command: &str, _moment: &str) {}
