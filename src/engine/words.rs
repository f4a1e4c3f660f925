//! What was seen, in words, for every output.

use crate::domain::machine::{Command, Seen};

/// What a command's answer says to a person.
#[must_use]
pub fn seen(command: &Command, seen: &Seen) -> String {
    match seen {
        Seen::Done => match command {
            Command::WireBack => "blue follows green: from promote on it has what green writes".to_owned(),
            Command::UnwireBack => "blue follows green no more".to_owned(),
            Command::Quiet => "event scheduler stopped on blue".to_owned(),
            Command::ArmGuard => "guard armed on blue".to_owned(),
            Command::TakeHold => "writers of blue wait".to_owned(),
            Command::Drain { to } => format!("green has executed {to}"),
            Command::Reprove => "what is compared at the fence agrees".to_owned(),
            Command::Seal => "blue is sealed: read-only, also after a restart where it can be".to_owned(),
            Command::EndEarlierSessions => "sessions of the earlier run ended and seen gone".to_owned(),
            Command::EndPromoter => "the session that sent promote ended and seen gone".to_owned(),
            Command::EndHolder => "the holding session ended and seen gone".to_owned(),
            Command::GiveUpHold => "the hold is given up".to_owned(),
            Command::EndGuard => "the guard ended and seen gone".to_owned(),
            Command::WriteEpoch => "green's epoch row written".to_owned(),
            Command::Reseal => "blue is read-only, and the guard gone".to_owned(),
            other => other.name().to_owned(),
        },
        Seen::Fence { position, .. } => format!("blue stands at {position}"),
        Seen::Sealed { position, .. } => format!("the guard is gone, blue is sealed at {position}"),
        Seen::Opened { .. } => "blue accepts writes again".to_owned(),
        Seen::Moved { rows: None } => "blue moved by transactions without rows".to_owned(),
        Seen::Moved { rows: Some(rows) } => format!("blue was written: {rows}"),
        Seen::Green { read_only: true, .. } => "green is read-only".to_owned(),
        Seen::Green { epoch, .. } => {
            let row = if *epoch { ", epoch row there" } else { "" };
            format!("green accepts writes{row}")
        }
        Seen::NoWayBack(why) => format!("no way back, which the playbook accepts: {why}"),
        Seen::Left(debt) if debt.is_empty() => match command {
            Command::PutBack => "settings put back".to_owned(),
            Command::UnwireBack => "blue follows green no more".to_owned(),
            Command::Route => "nothing is left to do".to_owned(),
            Command::Release => "the hold is given up: what waited is refused by blue".to_owned(),
            Command::Confirm => {
                "green accepts writes and follows nobody, blue refuses them, settings are moved".to_owned()
            }
            other => other.name().to_owned(),
        },
        Seen::Left(debt) => debt
            .iter()
            .map(|d| d.what.as_str())
            .collect::<Vec<_>>()
            .join("; "),
    }
}
