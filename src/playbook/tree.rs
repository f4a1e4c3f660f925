//! The YAML text as a tree in which every node knows its place.
//!
//! serde stops at the first thing it does not like; a tree takes everything, so that all problems of a file can be
//! shown at once. This file is the only one that names the YAML crate. It knows nothing of playbooks.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::diagnostics::Span;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// What a YAML value can be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A whole number that fits; anything larger arrives as a float or as text.
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the file, repeated ones included.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Span,
}

impl Value {
    /// Names the kind of value for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads a text of one YAML document.
///
/// # Errors
/// The place and the parser's words, when the text is not YAML at all.
pub(super) fn parse(text: &str) -> Result<Node, (Span, String)> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(raw.into_node()),
        Err(error) => {
            let plain = error.without_snippet();
            let span = plain
                .location()
                .map(|location| error_span(location, text))
                .unwrap_or_default();
            Err((span, plain_words(&plain.to_string())))
        }
    }
}

/// Cuts the "at line 3, column 4" that the parser appends: the picture shows the place.
fn plain_words(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let cut = first
        .find(" at line ")
        .or_else(|| first.find(" (line "))
        .unwrap_or(first.len());
    let words = first[..cut].trim().trim_end_matches([',', ':']);
    let mut words = words
        .rsplit_once("error: ")
        .map_or(words, |(_, words)| words)
        .to_owned();
    if words.is_empty() {
        words = "not YAML".to_owned();
    }
    words
}

fn span_of(location: Location) -> Span {
    let span = location.span();
    Span {
        start: span
            .byte_offset()
            .and_then(|at| usize::try_from(at).ok())
            .unwrap_or(0),
        len: span
            .byte_len()
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(0),
    }
}

/// The place of a parser's error, which comes as line and column only.
fn error_span(location: Location, text: &str) -> Span {
    let line = usize::try_from(location.line()).unwrap_or(1).max(1) - 1;
    let column = usize::try_from(location.column()).unwrap_or(1).max(1) - 1;
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text[line_start..].lines().next().unwrap_or("");
    let start = line_start + rest.chars().take(column).map(char::len_utf8).sum::<usize>();
    Span {
        start,
        len: text[start..]
            .chars()
            .next()
            .filter(|c| *c != '\n')
            .map_or(0, char::len_utf8),
    }
}

/// [`Value`] as the YAML crate hands it over.
enum Raw {
    Leaf(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self) -> Node {
        let value = match self.value {
            Raw::Leaf(value) => value,
            Raw::List(items) => Value::List(items.into_iter().map(IntoNode::into_node).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| {
                        let key = Key {
                            name: key.value,
                            span: span_of(key.referenced),
                        };
                        (key, node.into_node())
                    })
                    .collect(),
            ),
        };
        Node {
            value,
            span: span_of(self.referenced),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Int(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Leaf(
                    i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int),
                ))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Text(value.to_string())))
            }

            fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Text(value.to_string())))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Float(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Text(value.to_owned())))
            }

            fn visit_string<E>(self, value: String) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Text(value)))
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Leaf(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Raw::Map(map))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_place() {
        let text = "näme: shop\nlist:\n  - a: 5s\n    a: 7\n  - true\n  - ~\n";
        let Value::Map(top) = parse(text).unwrap().value else {
            panic!("not a map")
        };
        let at = |span: Span| &text[span.start..span.start + span.len];
        assert_eq!(at(top[0].0.span), "näme");
        assert_eq!(at(top[0].1.span), "shop");
        let Value::List(items) = &top[1].1.value else {
            panic!("not a list")
        };
        let Value::Map(inner) = &items[0].value else {
            panic!("not a map")
        };
        assert_eq!((at(inner[0].1.span), at(inner[1].1.span)), ("5s", "7"));
        assert_eq!(inner[1].1.value, Value::Int(7));
        assert_eq!(
            (items[1].value.clone(), items[2].value.clone()),
            (Value::Bool(true), Value::Null)
        );
    }

    #[test]
    fn what_is_not_yaml_is_said_with_its_place() {
        let (span, words) = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(span.start > 0, "{span:?}");
        assert!(!words.contains("line"), "{words}");
    }
}
