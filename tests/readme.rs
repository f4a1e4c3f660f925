//! README and the code agree.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    let table = bleen::cli::exit::markdown_table();
    assert!(
        readme().contains(&table),
        "README's table of exit codes should be:\n{table}"
    );
}

#[test]
fn the_two_commands_come_first() {
    let text = readme();
    let (sandbox, test) = (
        text.find("cargo run --release -- sandbox"),
        text.find("    cargo test "),
    );
    assert!(sandbox.is_some() && test > sandbox && test < Some(600));
}

#[test]
fn every_file_that_readme_names_is_there() {
    let text = readme();
    let named =
        text.split('`').skip(1).step_by(2).filter(|word| {
            !word.contains(' ') && word.contains('/') && !word.starts_with(['-', '/', '$', '{'])
        });
    for name in named {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        assert!(path.exists(), "README names `{name}`");
    }
}
