//! Reads `src/` and refuses what goes against the direction of the rooms, which stands in `src/lib.rs`.
//!
//! The checker works on tokens, so comments and strings do not count, and it follows grouped imports, paths written
//! out in the middle of an expression, and `super`. Its own tests plant one of each.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// For each room: the paths of this crate that it may use besides itself. A path allows everything below it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("playbook", &["domain"]),
    ("engine", &["domain", "playbook"]),
    ("adapters", &["domain", "playbook", "engine"]),
    ("report", &["domain", "engine::event", "engine::view"]),
    ("sandbox", &["domain", "playbook", "engine", "adapters", "report"]),
    (
        "cli",
        &["domain", "playbook", "engine", "adapters", "report", "sandbox"],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Paths outside this crate that only some rooms may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("mysql_async", &["adapters", "sandbox"]),
    ("tokio", &["engine", "adapters", "sandbox", "cli"]),
    ("clap", &["cli"]),
    ("miette", &["cli"]),
    ("serde_saphyr", &["playbook"]),
    ("rpassword", &["adapters"]),
    ("std::fs", &["adapters", "sandbox", "cli"]),
    // The engine's fault points are chosen by the environment: they must work in the shipped binary, too.
    ("std::env", &["engine", "adapters", "sandbox", "cli"]),
    ("std::net", &["adapters", "sandbox", "cli"]),
    ("std::process", &["adapters", "sandbox", "cli", "main"]),
    ("std::time::SystemTime", &["engine", "adapters", "sandbox", "cli"]),
    ("std::time::Instant", &["adapters", "engine", "sandbox", "cli"]),
];

/// Files that may write to stdout or stderr: the printer, and the sandbox's progress lines, which run before there is
/// anything to report and also serve the tests and the benchmark, where there is no command line.
const MAY_PRINT: &[&str] = &["cli/printer.rs", "sandbox/talk.rs"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Other(char),
}

/// Cuts source into tokens and leaves out comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                let mut depth = 0;
                while at < chars.len() {
                    match &chars[at..] {
                        ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
                        ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            ['r', '"' | '#', ..] | ['b', 'r', '"' | '#', ..] if raw_string_length(rest).is_some() => {
                at += raw_string_length(rest).unwrap();
            }
            ['"', ..] => {
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
            }
            ['\'', '\\', ..] => {
                // An escaped character: `'\n'`, `'\u{1b}'`, `'\''`.
                at += 3 + rest[3..].iter().position(|c| *c == '\'').unwrap_or(0) + 1;
            }
            ['\'', _, '\'', ..] => at += 3,
            ['\'', ..] => at += 1,
            [':', ':', ..] => {
                out.push(Token::Path);
                at += 2;
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let length = rest
                    .iter()
                    .position(|c| !(c.is_alphanumeric() || *c == '_'))
                    .unwrap_or(rest.len());
                out.push(Token::Word(rest[..length].iter().collect()));
                at += length;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    out.push(Token::Other(*c));
                }
                at += 1;
            }
            [] => {}
        }
    }
    out
}

/// Returns the length of a raw string that begins here, or nothing when this is something else that begins with `r`.
fn raw_string_length(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().position(|c| !matches!(c, 'b' | 'r'))?;
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let body = prefix + hashes + 1;
    let end = (body..rest.len()).find(|at| {
        rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    })?;
    Some(end + 1 + hashes)
}

/// Finds every path that a file names, as it is resolved from the crate's root (`crate::…`) or from outside it.
fn paths(module: &[String], source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    let mut found = BTreeSet::new();
    // Inline modules, each with the brace depth at which it was opened.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let here: Vec<String> = module
            .iter()
            .cloned()
            .chain(inline.iter().map(|(name, _)| name.clone()))
            .collect();
        match &tokens[at..] {
            [Token::Word(word), Token::Word(name), Token::Other('{'), ..] if word == "mod" => {
                inline.push((name.clone(), depth));
                depth += 1;
                at += 3;
            }
            [Token::Other('{'), ..] => {
                depth += 1;
                at += 1;
            }
            [Token::Other('}'), ..] => {
                depth -= 1;
                if inline.last().is_some_and(|(_, opened)| *opened == depth) {
                    inline.pop();
                }
                at += 1;
            }
            [Token::Word(word), next, ..] if word == "use" && *next != Token::Other('<') => {
                at = import(&tokens, at + 1, &[], &here, &mut found);
            }
            [Token::Word(_), Token::Path, ..] if at == 0 || tokens[at - 1] != Token::Path => {
                let mut segments = Vec::new();
                while let [Token::Word(word), rest @ ..] = &tokens[at..] {
                    segments.push(word.clone());
                    at += 1;
                    if rest.first() != Some(&Token::Path) {
                        break;
                    }
                    at += 1;
                }
                found.insert(resolved(&segments, &here));
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads one import tree and returns the place after it.
fn import(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    here: &[String],
    found: &mut BTreeSet<String>,
) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::Word(word)) if word == "as" => at += 2,
            Some(Token::Word(word)) => {
                segments.push(word.clone());
                at += 1;
            }
            Some(Token::Path | Token::Other('*')) => at += 1,
            Some(Token::Other('{')) => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != Token::Other('}')) {
                    at = import(tokens, at, &segments, here, found);
                    if tokens.get(at) == Some(&Token::Other(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => {
                found.insert(resolved(&segments, here));
                return at;
            }
        }
    }
}

/// Resolves `crate`, `self` and `super`. Paths from the crate's root begin with `crate::`.
fn resolved(segments: &[String], here: &[String]) -> String {
    let mut base: Option<Vec<String>> = None;
    let mut rest = segments;
    while let [first, after @ ..] = rest {
        base = match (first.as_str(), base) {
            ("crate" | "bleen", None) => Some(Vec::new()),
            ("self", None) => Some(here.to_vec()),
            ("super", None) => Some(here[..here.len().saturating_sub(1)].to_vec()),
            ("super", Some(mut base)) => {
                base.pop();
                Some(base)
            }
            (_, base) => {
                let mut path: Vec<String> = base.map_or_else(Vec::new, |base| {
                    std::iter::once("crate".to_owned()).chain(base).collect()
                });
                path.extend(rest.iter().cloned());
                return path.join("::");
            }
        };
        rest = after;
    }
    std::iter::once("crate".to_owned())
        .chain(base.unwrap_or_default())
        .collect::<Vec<_>>()
        .join("::")
}

fn is_below(path: &str, top: &str) -> bool {
    path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with("::"))
}

/// The module of a file: `domain/position/mod.rs` is `domain::position`.
fn module_of(file: &str) -> Vec<String> {
    let plain = file.trim_end_matches(".rs");
    let plain = plain.strip_suffix("/mod").unwrap_or(plain);
    if plain == "lib" || plain == "main" {
        Vec::new()
    } else {
        plain.split('/').map(str::to_owned).collect()
    }
}

/// Returns what a file does against the rules. `file` is its path below `src/`.
fn objections(file: &str, source: &str) -> Vec<String> {
    let room = file.split(['/', '.']).next().unwrap();
    let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
        return vec![format!("src/{file}: `{room}` is no room; see src/lib.rs")];
    };
    let mut wrong = Vec::new();
    for path in paths(&module_of(file), source) {
        if let Some(inner) = path.strip_prefix("crate::")
            && MAY_USE.iter().any(|(name, _)| is_below(inner, name))
        {
            let is_allowed = is_below(inner, room) || may_use.iter().any(|allowed| is_below(inner, allowed));
            if !is_allowed {
                wrong.push(format!("src/{file}: `{room}` may not use `{path}`"));
            }
        }
        for (reserved, rooms) in RESERVED {
            if is_below(&path, reserved) && !rooms.contains(&room) {
                wrong.push(format!("src/{file}: `{room}` may not name `{path}`"));
            }
        }
    }
    if !MAY_PRINT.contains(&file) {
        wrong.extend(
            prints(source)
                .into_iter()
                .map(|what| format!("src/{file}: prints with `{what}`")),
        );
    }
    wrong
}

/// Finds macros and streams that print, outside the part of a file that is only compiled for tests.
fn prints(source: &str) -> Vec<String> {
    let product = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let tokens = tokens(product);
    let mut found = Vec::new();
    for window in tokens.windows(2) {
        if let [Token::Word(word), Token::Other('!')] = window
            && ["print", "println", "eprint", "eprintln", "dbg"].contains(&word.as_str())
        {
            found.push(format!("{word}!"));
        }
    }
    for window in tokens.windows(3) {
        if let [Token::Word(module), Token::Path, Token::Word(stream)] = window
            && module == "io"
            && ["stdout", "stderr", "Stdout", "Stderr"].contains(&stream.as_str())
        {
            found.push(format!("io::{stream}"));
        }
    }
    found
}

fn source_files() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Files that a `mod.rs` includes for tests only; they may print.
fn test_only(files: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (file, source) in files {
        for declared in source.split("#[cfg(test)]\nmod ").skip(1) {
            let name: String = declared
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if declared[name.len()..].starts_with(';') {
                let dir = module_of(file).join("/");
                found.insert(format!("{dir}/{name}.rs"));
                found.insert(format!("{dir}/{name}/"));
            }
        }
    }
    found
}

#[test]
fn the_rooms_keep_their_direction() {
    let files = source_files();
    assert!(files.len() > 30, "{} files", files.len());
    let for_tests = test_only(&files);
    let wrong: Vec<_> = files
        .iter()
        .flat_map(|(file, source)| objections(file, source))
        .filter(|wrong| !(wrong.contains("prints with") && for_tests.iter().any(|test| wrong.contains(test))))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_subject() {
    let long: Vec<_> = source_files()
        .into_iter()
        .map(|(file, source)| (file, source.lines().count()))
        .filter(|(_, lines)| *lines > 800)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn planted_imports_against_the_direction_are_found() {
    for (file, source, what) in [
        (
            "domain/x.rs",
            "use crate::engine::event::RunEvent;",
            "crate::engine::event::RunEvent",
        ),
        (
            "domain/x.rs",
            "use crate::{domain::ids, playbook::Playbook};",
            "crate::playbook::Playbook",
        ),
        (
            "domain/x.rs",
            "use crate::{domain::{ids, step}, engine::{self}};",
            "crate::engine",
        ),
        (
            "domain/x.rs",
            "fn f() -> crate::cli::exit::Ending { todo() }",
            "crate::cli::exit::Ending",
        ),
        (
            "domain/x.rs",
            "use super::super::adapters::mysql;",
            "crate::adapters::mysql",
        ),
        (
            "domain/mod.rs",
            "pub use super::sandbox as things;",
            "crate::sandbox",
        ),
        (
            "domain/a/b.rs",
            "fn f() { super::super::super::report::g() }",
            "crate::report::g",
        ),
        (
            "engine/x.rs",
            "mod tests { use super::super::super::adapters::mysql; }",
            "crate::adapters::mysql",
        ),
        (
            "report/json.rs",
            "use crate::engine::executor::Executor;",
            "crate::engine::executor::Executor",
        ),
        (
            "engine/x.rs",
            "use {std::fmt, mysql_async::Conn};",
            "mysql_async::Conn",
        ),
        (
            "engine/x.rs",
            "fn f(c: mysql_async::Conn) {}",
            "mysql_async::Conn",
        ),
        (
            "domain/x.rs",
            "let t = std::time::Instant::now();",
            "std::time::Instant::now",
        ),
        (
            "sandbox/x.rs",
            "use crate::cli::printer::Printer;",
            "crate::cli::printer::Printer",
        ),
        (
            "main.rs",
            "fn main() { bleen::engine::run() }",
            "crate::engine::run",
        ),
        ("playbook/x.rs", "use std::fs;", "std::fs"),
        ("cellar/x.rs", "", "no room"),
    ] {
        let found = objections(file, source);
        assert!(
            found.iter().any(|wrong| wrong.contains(what)),
            "{file}: {source}: {found:?}"
        );
    }
}

#[test]
fn planted_prints_are_found() {
    for source in [
        "fn f() { println!(\"x\") }",
        "fn f() { eprint!(\"x\") }",
        "use std::io; fn f() { io::stdout().write_all(b\"x\") }",
        "fn f() { std::io::stderr() }",
    ] {
        assert_eq!(objections("engine/x.rs", source).len(), 1, "{source}");
        assert!(objections("cli/printer.rs", source).is_empty(), "{source}");
    }
    assert!(
        objections(
            "engine/x.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { println!(\"x\") } }"
        )
        .is_empty()
    );
}

#[test]
fn what_is_allowed_is_not_objected_to() {
    for (file, source) in [
        (
            "domain/a/b.rs",
            "use super::super::ids::Side; use super::c; use self::d::E; use crate::domain::step;",
        ),
        (
            "adapters/x.rs",
            "use crate::engine::ports::{Database, Router}; fn f(c: mysql_async::Conn) {}",
        ),
        (
            "report/x.rs",
            "use crate::engine::event::{RunEvent, Kind}; use crate::domain::ids;",
        ),
        (
            "domain/x.rs",
            "// use crate::engine;\n/* crate::cli */ const S: &str = \"crate::cli::x\";",
        ),
        (
            "domain/x.rs",
            "const S: &str = r#\"use crate::cli; \" println!()\"#; const C: char = '\"'; const D: char = '\\'';",
        ),
        (
            "domain/x.rs",
            "mod tests { use super::*; use super::super::ids; }",
        ),
        (
            "domain/x.rs",
            "fn f<'a>() -> impl Iterator + use<'a> { engine::x() }",
        ),
        (
            "cli/x.rs",
            "use crate::{adapters, engine, report, sandbox}; use crate::domain::*;",
        ),
        ("main.rs", "fn main() { bleen::cli::main() }"),
    ] {
        assert_eq!(objections(file, source), Vec::<String>::new(), "{file}: {source}");
    }
}
