//! The JSON Schema of a playbook, for editors. Generated from the same types that read the file.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::limits::{COUNTS, DURATIONS, MAX_SLOWDOWN, written};
use super::syntax;

/// Where each section of `limits.rs` lives in the schema.
const SECTIONS: &[(&str, &str)] = &[
    ("switch", "SwitchKeys"),
    ("lag", "LagKeys"),
    ("soak", "SoakKeys"),
    ("routing", "RoutingKeys"),
    ("hooks", "HookExec"),
    ("validate.queries", "QueryKeys"),
    ("validate.data", "DataKeys"),
    ("validate.digests", "DigestKeys"),
    ("warm", "WarmKeys"),
];

/// Returns the schema (JSON Schema draft 7) as text, with a line end at its end.
#[must_use]
pub fn text() -> String {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut schema = <syntax::File as JsonSchema>::json_schema(&mut generator);
    let definitions = generator.take_definitions(true);
    schema.insert("definitions".to_owned(), Value::Object(definitions));
    schema.insert("title".to_owned(), json!("bleen playbook"));
    let mut transform = RecursiveTransform(|schema: &mut Schema| drop_null(schema));
    transform.transform(&mut schema);
    let mut value = Value::from(schema);
    name_limits(&mut value);
    one_line_descriptions(&mut value);
    let Value::Object(fields) = value else {
        return String::new();
    };
    let mut ordered = Map::new();
    ordered.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    ordered.extend(fields);
    let mut text = serde_json::to_string_pretty(&ordered).unwrap_or_default();
    text.push('\n');
    text
}

/// A key that may be left out is not a key that may be `null`.
fn drop_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            // In draft 7 whatever stands beside a reference is ignored; `allOf` keeps the description.
            object.insert("allOf".to_owned(), json!([only]));
        }
    }
}

/// Writes defaults and ranges into the descriptions and, where JSON Schema can say them, beside them.
fn name_limits(schema: &mut Value) {
    for limits in DURATIONS {
        // The limit of a query under the hold is another range of the same key; its text is appended to that key.
        let (key, when) = match limits.key.split_once(" (") {
            Some((key, when)) => (key, format!(" with {}", when.trim_end_matches(')'))),
            None => (limits.key, String::new()),
        };
        let Some(property) = property(schema, key) else {
            continue;
        };
        let sentence = format!(
            "Default{when} {}; from {} to {}.",
            written(limits.default),
            written(limits.least),
            written(limits.most)
        );
        append(property, &sentence);
        if when.is_empty() {
            property["default"] = json!(written(limits.default));
        }
    }
    for limits in COUNTS {
        let numbers = (json!(limits.default), json!(limits.least), json!(limits.most));
        name_numbers(schema, limits.key, numbers);
    }
    let ratio = MAX_SLOWDOWN;
    let numbers = (json!(ratio.default), json!(ratio.least), json!(ratio.most));
    name_numbers(schema, ratio.key, numbers);
}

fn name_numbers(schema: &mut Value, key: &str, (default, least, most): (Value, Value, Value)) {
    let Some(property) = property(schema, key) else {
        return;
    };
    append(property, &format!("Default {default}; from {least} to {most}."));
    property["default"] = default;
    property["minimum"] = least;
    property["maximum"] = most;
}

fn property<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let (section, key) = key.rsplit_once('.')?;
    let (_, definition) = SECTIONS.iter().find(|(name, _)| *name == section)?;
    schema
        .get_mut("definitions")?
        .get_mut(*definition)?
        .get_mut("properties")?
        .get_mut(key)
}

fn append(property: &mut Value, sentence: &str) {
    let before = property["description"].as_str().unwrap_or_default();
    property["description"] = json!(format!("{before} {sentence}"));
}

/// Joins the lines of doc comments: an editor wraps by itself.
fn one_line_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    _ => one_line_descriptions(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(one_line_descriptions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_named_in_the_schema() {
        let mut schema: Value = serde_json::from_str(&text()).unwrap();
        for limits in DURATIONS {
            let key = limits.key.split(" (").next().unwrap();
            let found = property(&mut schema, key).unwrap_or_else(|| panic!("{key} is not in the schema"));
            let description = found["description"].as_str().unwrap();
            assert!(
                description.contains(&written(limits.most)),
                "{key}: {description}"
            );
        }
        for key in COUNTS.iter().map(|limits| limits.key).chain([MAX_SLOWDOWN.key]) {
            let found = property(&mut schema, key).unwrap_or_else(|| panic!("{key} is not in the schema"));
            assert!(found["maximum"].is_number(), "{key}: {found}");
        }
    }

    #[test]
    fn nothing_may_be_null_and_no_key_is_unknown() {
        let text = text();
        assert!(!text.contains("\"null\""));
        assert!(!text.contains("\"additionalProperties\": true"));
        let schema: Value = serde_json::from_str(&text).unwrap();
        for (name, definition) in schema["definitions"].as_object().unwrap() {
            if definition.get("properties").is_some() {
                assert_eq!(definition["additionalProperties"], json!(false), "{name}");
            }
        }
    }
}
