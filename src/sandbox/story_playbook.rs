//! The playbook of a sandbox pair: a file that every other command can be tried with, and that the story itself reads.
//!
//! Passwords lie beside it in files of their own that only their owner can read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::account::Account;
use super::catalog::{Family, ServerKind};
use super::error::SandboxError;
use super::pair::{SCHEMA, SandboxPair};

/// Name of every sandbox pair: what `--confirm` asks for.
pub const PAIR_NAME: &str = "sandbox";

/// Writes the playbook and the passwords into the sandbox's directory.
pub(super) fn write(
    pair: &SandboxPair,
    (blue, green): (ServerKind, ServerKind),
) -> Result<(PathBuf, String), SandboxError> {
    let dir = pair.dir.path();
    let secret = |account: &Account| -> Result<PathBuf, SandboxError> {
        let path = dir.join(format!("{}.secret", account.user));
        private(&path, account.password.expose_secret())?;
        Ok(path)
    };
    let (bleen, repl) = (secret(&pair.accounts.bleen)?, secret(&pair.accounts.repl)?);
    let text = text(&Written {
        kinds: (blue, green),
        ports: (pair.blue.port(), pair.green.port()),
        accounts: ((&pair.accounts.bleen, &bleen), (&pair.accounts.repl, &repl)),
    });
    let path = dir.join("playbook.yaml");
    private(&path, &text)?;
    Ok((path, text))
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &str) -> Result<(), SandboxError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{}", text.trim_end()))
        .map_err(SandboxError::io(format!("writing {}", path.display())))
}

struct Written<'a> {
    kinds: (ServerKind, ServerKind),
    ports: (u16, u16),
    /// bleen's own and replication's, each with the file of its password.
    accounts: ((&'a Account, &'a Path), (&'a Account, &'a Path)),
}

fn text(written: &Written<'_>) -> String {
    let (blue, green) = written.kinds;
    let ((bleen, bleen_file), (repl, repl_file)) = written.accounts;
    // A path in double quotes: the forms of YAML and JSON agree there.
    let quoted = |path: &Path| serde_json::json!(path.to_string_lossy()).to_string();
    let side = |name: &str, kind: ServerKind, port: u16| {
        format!(
            "# {kind}\n{name}:\n  host: 127.0.0.1\n  port: {port}\n  user: {}\n  password: {{ file: {} }}\n",
            bleen.user,
            quoted(bleen_file)
        )
    };
    let mut text = format!(
        "# A throw-away pair of `bleen sandbox`. It ends with the sandbox.\nversion: 1\nname: {PAIR_NAME}\n\n{}\n{}\n\
         replication:\n  user: {}\n  password: {{ file: {} }}\n  \
         # Two servers and their load share one machine: used when green falls behind.\n  relax_green: true\n\n\
         switch:\n  # The load's clients know both servers and change over at once.\n  idle_grace: 1s\n",
        side("blue", blue, written.ports.0),
        side("green", green, written.ports.1),
        repl.user,
        quoted(repl_file),
    );
    if blue.family() != green.family() || (blue == ServerKind::MySql56 && green != blue) {
        text.push_str("  # This blue cannot follow this green.\n  accept_no_way_back: true\n");
    }
    text.push_str("\nvalidate:\n");
    // Across families no reading can be tied to a position.
    if blue.family() == green.family() {
        // Without a key; with a DOUBLE that 5.6 writes with other digits.
        let more = if blue == ServerKind::MySql56 && green != blue {
            format!(", {SCHEMA}.products, {SCHEMA}.readings")
        } else {
            String::new()
        };
        text.push_str(&format!("  data:\n    accept_unproven: [{SCHEMA}.audit{more}]\n"));
    }
    text.push_str(&format!(
        "  queries:
    - name: money
      sql: SELECT SUM(balance) FROM {SCHEMA}.accounts
      compare: {{ scalar: {{ tolerance: 0 }} }}
    - name: orders-without-customer
      sql: |
        SELECT o.id FROM {SCHEMA}.orders o LEFT JOIN {SCHEMA}.customers c ON c.id = o.customer_id WHERE c.id IS NULL
      compare: no_rows
    - name: money-at-the-fence
      sql: SELECT SUM(balance) FROM {SCHEMA}.accounts
      compare: {{ scalar: {{ tolerance: 0 }} }}
      at: fence
"
    ));
    text.push_str("\nwaivers:\n");
    for (guardrail, reason) in waivers(blue, green) {
        text.push_str(&format!("  - guardrail: {guardrail}\n    reason: {reason}\n"));
    }
    text
}

/// What the shop and an old blue bring with them and what is borne for servers that are thrown away.
fn waivers(blue: ServerKind, green: ServerKind) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![(
        "row-format-no-key",
        "the shop has one small table without a key on purpose",
    )];
    if blue == ServerKind::MySql56 || blue.family() == Family::MariaDb {
        all.push((
            "restart-writable",
            "a throw-away server; nobody restarts it during the switch",
        ));
    }
    if blue == ServerKind::MySql56 {
        all.push((
            "variables-diff",
            "the widest jump there is; the shop does not depend on these",
        ));
        if green.family() == Family::MySql {
            all.push((
                "version-path",
                "several series in one jump, which is what is to be shown",
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_gets_a_playbook_without_a_problem_and_without_a_password() {
        let account = |user: &str| Account {
            user: user.to_owned(),
            password: "hunter2".to_owned().into(),
        };
        let (bleen, repl) = (account("bleen"), account("repl"));
        for blue in ServerKind::ALL {
            for green in ServerKind::ALL {
                let file = Path::new("/tmp/a \"name\"/bleen.secret");
                let text = text(&Written {
                    kinds: (blue, green),
                    ports: (1, 2),
                    accounts: ((&bleen, file), (&repl, file)),
                });
                let playbook = crate::playbook::load(&text, "playbook.yaml");
                let playbook = playbook.unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
                assert_eq!(playbook.name, PAIR_NAME);
                assert_eq!(playbook.lag.observe, crate::playbook::limits::LAG_OBSERVE.default);
                assert_eq!(
                    playbook.pair.blue.password,
                    crate::playbook::model::PasswordSource::File(file.to_owned())
                );
                assert!(!text.contains("hunter2"));
            }
        }
    }
}
