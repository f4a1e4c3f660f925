//! Asks whether a command that changes something is meant, and for this pair.

use std::io::{BufRead, IsTerminal};

use serde_json::json;

use super::args::Output;
use super::exit::Ending;
use super::printer::{Printer, Tone};
use crate::playbook::Playbook;

/// Whether the pair's name was said on the command line, or is typed now; says so if not. `what` is what the command
/// does, as in `This moves the writers of …`; `always` whether it has to be confirmed on every pair and not only a
/// protected one.
pub fn is_confirmed(
    playbook: &Playbook,
    command: &str,
    what: &str,
    always: bool,
    confirm: Option<&str>,
    printer: &mut Printer,
) -> bool {
    let name = &playbook.name;
    match confirm {
        Some(said) if said == name => return true,
        Some(said) => {
            let why = format!("`--confirm {said}` names another pair; this one is `{name}`");
            refuse(name, command, &why, printer);
            return false;
        }
        None if !always && !playbook.protected => return true,
        None => {}
    }
    if !std::io::stdin().is_terminal() {
        let why = format!("`bleen {command}` has to be confirmed: `--confirm {name}`");
        refuse(name, command, &why, printer);
        return false;
    }
    printer.talk(&format!("This {what}. Type the pair's name ({name}) to go on:"));
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed).is_ok();
    if read && typed.trim() == name {
        return true;
    }
    refuse(name, command, "not confirmed", printer);
    false
}

fn refuse(name: &str, command: &str, why: &str, printer: &mut Printer) {
    printer.say(Tone::Error, "error", &format!("{why}; nothing has changed"));
    if printer.output() == Output::Json {
        let ending = Ending::Refused;
        printer.json(&json!({
            "type": "result", "command": command, "outcome": ending.word(), "exit_code": ending.code(),
            "pair": name, "changed": false, "why": why,
        }));
    }
}
