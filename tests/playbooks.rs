//! Playbooks as files: those that are shipped, those that are right, and a picture of each that is wrong.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use bleen::playbook;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(dir: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn picture(wrong: &playbook::Diagnostics) -> String {
    bleen::cli::picture::picture(wrong, 100, false)
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = root().join("playbooks/playbook.schema.json");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == playbook::schema::text(),
        "playbooks/playbook.schema.json is stale; run `cargo run -- schema > playbooks/playbook.schema.json`"
    );
}

#[test]
fn every_shipped_playbook_loads_and_names_the_schema() {
    let files = yaml_files("playbooks");
    let shipped: Vec<_> = playbook::builtin::SHIPPED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(files.iter().map(|path| name(path)).collect::<Vec<_>>(), shipped);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next(),
            Some("# yaml-language-server: $schema=playbook.schema.json")
        );
        if let Err(wrong) = playbook::load(&text, &name(&path)) {
            panic!("{}", picture(&wrong));
        }
    }
}

#[test]
fn every_valid_playbook_loads() {
    let files = yaml_files("tests/playbooks/valid");
    assert!(files.len() > 2);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        if let Err(wrong) = playbook::load(&text, &name(&path)) {
            panic!("{}", picture(&wrong));
        }
    }
}

#[test]
fn every_invalid_playbook_is_drawn() {
    let files = yaml_files("tests/playbooks/invalid");
    assert!(files.len() > 10);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let Err(wrong) = playbook::load(&text, &name(&path)) else {
            panic!("{} loads", path.display());
        };
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/playbooks/invalid/pictures"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name(&path), picture(&wrong)));
    }
}

#[test]
fn the_full_playbook_has_every_key_of_the_schema() {
    let text = fs::read_to_string(root().join("playbooks/full.yaml")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&playbook::schema::text()).unwrap();
    let mut missing = Vec::new();
    let sections = schema["definitions"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, section)| (name.as_str(), section));
    for (section, definition) in sections.chain([("the top", &schema)]) {
        for key in definition["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            if !text.contains(&format!("{key}:")) {
                missing.push(format!("{key} (of {section})"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_hash_follows_the_meaning_and_not_the_writing() {
    let minimal = fs::read_to_string(root().join("playbooks/minimal.yaml")).unwrap();
    let hash = |text: &str| playbook::load(text, "x").unwrap().hash();
    let base = hash(&minimal);
    assert_eq!(base.len(), 64);
    assert_eq!(
        base,
        hash(&format!(
            "{minimal}\n# a comment\nswitch: {{ deadline: 10000ms }}\n"
        ))
    );
    assert_ne!(base, hash(&format!("{minimal}switch: {{ deadline: 11s }}\n")));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let minimal = fs::read_to_string(root().join("playbooks/minimal.yaml")).unwrap();
    insta::assert_debug_snapshot!(playbook::load(&minimal, "x").unwrap());
}
