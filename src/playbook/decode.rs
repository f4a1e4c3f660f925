//! Reads settings out of a YAML tree and collects everything that does not fit.
//!
//! Two macros define a section (a mapping with known keys) and a choice (an externally tagged alternative) once: the
//! type, its JSON Schema and the reader come from the same list of keys and cannot drift apart.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::diagnostics::{Problems, Span, did_you_mean};
use super::tree::{Key, Node, Value};

/// A value and the place it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Can be read from a node. Whatever does not fit is added to `problems`; then there is no value.
pub(super) trait Decode: Sized {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// Reads a node together with its place.
pub(super) fn at<T: Decode>(node: &Node, problems: &mut Problems) -> Option<At<T>> {
    T::decode(node, problems).map(|value| At {
        value,
        span: node.span,
    })
}

/// Adds "expected …, found …".
pub(super) fn mismatch(node: &Node, expected: &str, problems: &mut Problems) {
    let message = match &node.value {
        Value::Null => format!("no value here; expected {expected}"),
        value => format!("expected {expected}, found {}", value.kind()),
    };
    problems.add(node.span, message);
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(word) if ["yes", "on"].contains(&word.to_lowercase().as_str()) => {
                problems.add(node.span, "expected `true` or `false`; write `true`");
                None
            }
            Value::Text(word) if ["no", "off"].contains(&word.to_lowercase().as_str()) => {
                problems.add(node.span, "expected `true` or `false`; write `false`");
                None
            }
            _ => {
                mismatch(node, "`true` or `false`", problems);
                None
            }
        }
    }
}

impl Decode for u64 {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Int(value) if value >= 0 => u64::try_from(value).ok(),
            Value::Int(_) | Value::Float(_) => {
                problems.add(node.span, "expected a whole number, 0 or more");
                None
            }
            _ => {
                mismatch(node, "a whole number", problems);
                None
            }
        }
    }
}

impl Decode for f64 {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Int(value) => i32::try_from(value).ok().map(Self::from).or_else(|| {
                problems.add(node.span, "too large a number");
                None
            }),
            Value::Float(value) => Some(value),
            _ => {
                mismatch(node, "a number", problems);
                None
            }
        }
    }
}

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text.trim().is_empty() => {
                problems.add(node.span, "must not be empty");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                problems.add(
                    node.span,
                    format!("expected text, found {}; put it in quotes", node.value.kind()),
                );
                None
            }
            _ => {
                mismatch(node, "text", problems);
                None
            }
        }
    }
}

impl<T: Decode> Decode for Vec<At<T>> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::List(items) = &node.value else {
            mismatch(node, "a list, `[..., ...]`", problems);
            return None;
        };
        // Every item is read, so that the problems of all of them are shown.
        let read: Vec<Option<At<T>>> = items.iter().map(|item| at(item, problems)).collect();
        read.into_iter().collect()
    }
}

/// The entries of a mapping whose keys are known.
pub(super) struct Entries<'a> {
    entries: Vec<&'a (Key, Node)>,
    missing: Vec<&'static str>,
}

impl<'a> Entries<'a> {
    /// Takes a mapping apart; unknown and repeated keys become problems.
    pub(super) fn of(node: &'a Node, keys: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let Value::Map(all) = &node.value else {
            mismatch(node, &format!("a mapping with {}", listed(keys)), problems);
            return None;
        };
        let mut entries: Vec<&(Key, Node)> = Vec::new();
        for entry in all {
            let (key, _) = entry;
            if !keys.contains(&key.name.as_str()) {
                problems.add(key.span, unknown_key(&key.name, keys));
            } else if entries.iter().any(|(seen, _)| seen.name == key.name) {
                problems.add(
                    key.span,
                    format!("`{}` stands here twice; keep one of them", key.name),
                );
            } else {
                entries.push(entry);
            }
        }
        Some(Self {
            entries,
            missing: Vec::new(),
        })
    }

    fn node(&self, key: &str) -> Option<&'a (Key, Node)> {
        self.entries.iter().find(|(found, _)| found.name == key).copied()
    }

    /// Reads a key that may be left out.
    pub(super) fn optional<T: Decode>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let (key, node) = self.node(key)?;
        // A value of nothing has no place of its own; its key has.
        let node = if node.span.len == 0 {
            &Node {
                value: node.value.clone(),
                span: key.span,
            }
        } else {
            node
        };
        at(node, problems)
    }

    /// Reads a key that must be there.
    pub(super) fn required<T: Decode>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<T>> {
        if self.node(key).is_none() {
            self.missing.push(key);
        }
        self.optional(key, problems)
    }

    /// Reports the required keys that were not there, in one problem at the section's own place.
    pub(super) fn finish(self, span: Span, problems: &mut Problems) {
        if !self.missing.is_empty() {
            problems.add(span, format!("{} missing here", listed_and(&self.missing)));
        }
    }
}

fn unknown_key(name: &str, keys: &[&'static str]) -> String {
    match (
        did_you_mean(name, keys.iter().copied()),
        super::syntax::home_of(name),
    ) {
        (Some(key), _) => format!("unknown key; did you mean `{key}`?"),
        (None, Some((section, key))) => format!("unknown key here; `{key}` stands under `{section}`"),
        (None, None) => format!("unknown key; known here: {}", listed(keys)),
    }
}

/// Takes an externally tagged alternative apart: `word`, or `word: payload` as a mapping with one key.
///
/// `alternatives` are the words with whether each has a payload.
pub(super) fn tagged<'a>(
    node: &'a Node,
    alternatives: &[(&'static str, bool)],
    problems: &mut Problems,
) -> Option<(&'static str, Option<&'a Node>)> {
    let words: Vec<_> = alternatives.iter().map(|(word, _)| *word).collect();
    let (name, span, payload) = match &node.value {
        Value::Text(word) => (word.as_str(), node.span, None),
        Value::Map(entries) => match entries.as_slice() {
            [(key, payload)] => (key.name.as_str(), key.span, Some(payload)),
            _ => {
                let span = entries.get(1).map_or(node.span, |(key, _)| key.span);
                let message = match words.as_slice() {
                    [only] => format!("`{only}` stands here, and nothing beside it"),
                    _ => format!("give exactly one of {}", listed(&words)),
                };
                problems.add(span, message);
                return None;
            }
        },
        _ => {
            mismatch(node, &format!("one of {}", listed(&words)), problems);
            return None;
        }
    };
    let Some((word, has_payload)) = alternatives.iter().find(|(word, _)| *word == name) else {
        let message = match did_you_mean(name, words.iter().copied()) {
            Some(word) => format!("not known here; did you mean `{word}`?"),
            None => format!("not known here; one of {}", listed(&words)),
        };
        problems.add(span, message);
        return None;
    };
    match (has_payload, payload) {
        (true, None) => problems.add(span, format!("`{word}` needs a value: `{word}: …`")),
        (true, Some(payload)) if payload.value == Value::Null => {
            problems.add(span, format!("`{word}` needs a value: `{word}: …`"));
        }
        (false, Some(payload)) if payload.value != Value::Null => {
            problems.add(
                payload.span,
                format!("`{word}` takes no value; write just `{word}`"),
            );
        }
        _ => return Some((word, payload)),
    }
    None
}

/// Lists words as "`a`, `b` or `c`".
pub(super) fn listed(words: &[&str]) -> String {
    joined(words, " or ")
}

fn listed_and(words: &[&str]) -> String {
    let verb = if words.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", joined(words, " and "))
}

fn joined(words: &[&str], last: &str) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{}{last}{end}", rest.join(", ")),
    }
}

/// Defines a mapping: a struct of `Option<At<T>>` fields, its schema and its reader.
///
/// `required` keys are optional in the struct all the same: when one is missing, the problem is recorded and the rest
/// is still checked.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident {
        $(required { $($(#[$rmeta:meta])* $rkey:ident: $rtype:ty,)* })?
        $(optional { $($(#[$okey_meta:meta])* $okey:ident: $otype:ty,)* })?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $($($(#[$rmeta])* #[schemars(required)] pub(super) $rkey: Option<At<$rtype>>,)*)?
            $($($(#[$okey_meta])* pub(super) $okey: Option<At<$otype>>,)*)?
        }

        impl $name {
            /// The keys of this section.
            pub(super) const KEYS: &[&str] = &[$($(stringify!($rkey),)*)? $($(stringify!($okey),)*)?];
        }

        impl Decode for $name {
            fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
                let mut entries = Entries::of(node, Self::KEYS, problems)?;
                let read = Self {
                    $($($rkey: entries.required(stringify!($rkey), problems),)*)?
                    $($($okey: entries.optional(stringify!($okey), problems),)*)?
                };
                entries.finish(node.span, problems);
                Some(read)
            }
        }
    };
}

/// Defines an externally tagged alternative: an enum, its schema and its reader.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $word:literal $(($payload:ty))?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$vmeta])* #[schemars(rename = $word)] $variant $((At<$payload>))?,)*
        }

        impl Decode for $name {
            fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
                let alternatives = [$(($word, false $(|| { let _: Option<$payload> = None; true })?),)*];
                let (word, payload) = tagged(node, &alternatives, problems)?;
                let _ = payload;
                match word {
                    $($word => Some(Self::$variant $((at::<$payload>(payload?, problems)?))?),)*
                    _ => None,
                }
            }
        }
    };
}

/// Defines a set of plain words: a plain enum of the model, its schema and its reader.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Returns the word as it is written in a playbook.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::playbook::decode::Decode for $name {
            fn decode(
                node: &$crate::playbook::tree::Node,
                problems: &mut $crate::playbook::diagnostics::Problems,
            ) -> Option<Self> {
                let words = [$(($word, false),)*];
                match $crate::playbook::decode::tagged(node, &words, problems)?.0 {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use {choice, section, words};
