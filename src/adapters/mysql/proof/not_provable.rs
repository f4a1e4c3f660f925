//! Why a table cannot be proved: said by name, never passed over.

use std::fmt;

use crate::domain::ids::Side;

/// Why the rows of a table cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotProvable {
    /// Another engine than InnoDB: what a statement sees of it is bound to no position.
    Engine(Side, String),
    /// A system-versioned table: its history cannot be read beside its rows.
    Versioned(Side),
    /// A column that only one side has.
    OnlyOn(Side, String),
    /// A column that is generated at reading on one side and stored on the other.
    GeneratedOnly(Side, String),
    /// The column's types are too different: its name, its type on blue and on green.
    Types(String, String, String),
    /// The column has a type for which no exact text is known.
    UnknownType(Side, String, String),
}

impl fmt::Display for NotProvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(side, engine) => write!(f, "its engine on {side} is {engine}, not InnoDB"),
            Self::Versioned(side) => write!(f, "it keeps its history on {side} (system versioning)"),
            Self::OnlyOn(side, column) => write!(f, "column `{column}` is on {side} only"),
            Self::GeneratedOnly(side, column) => {
                write!(
                    f,
                    "column `{column}` is generated on {side} only, or stored there only"
                )
            }
            Self::Types(column, blue, green) => write!(
                f,
                "column `{column}` is {blue} on blue and {green} on green, and their values have no text in common"
            ),
            Self::UnknownType(side, column, written) => write!(
                f,
                "column `{column}` on {side} has the type {written}, whose exact text is not known"
            ),
        }
    }
}
