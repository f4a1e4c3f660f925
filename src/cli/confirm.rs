//! Asks whether a command that changes something is meant, and for this pair.

use std::io::{BufRead, IsTerminal};

use super::printer::Printer;
use crate::playbook::Playbook;

/// Whether the pair's name was said on the command line, or is typed now. `what` is what the command does, as in
/// `This moves the writers of …`; `always` whether it has to be confirmed on every pair and not only a protected one.
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
            printer.talk(&format!(
                "error: `--confirm {said}` names another pair; this one is `{name}`; nothing has changed"
            ));
            return false;
        }
        None if !always && !playbook.protected => return true,
        None => {}
    }
    if !std::io::stdin().is_terminal() {
        printer.talk(&format!(
            "error: `bleen {command}` has to be confirmed: `--confirm {name}`; nothing has changed"
        ));
        return false;
    }
    printer.talk(&format!("This {what}. Type the pair's name ({name}) to go on:"));
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed).is_ok();
    if read && typed.trim() == name {
        return true;
    }
    printer.talk("not confirmed; nothing has changed");
    false
}
