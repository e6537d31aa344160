//! The house in order: who may import whom, module docs, the length of files.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by level: a module imports only from lower levels, or its own children.
const LEVELS: &[&[&str]] = &[
    &["time", "record", "key", "verify", "preset"],
    &["clock"],
    &["config"],
    &["telemetry"],
    &["store"],
    &["reply"],
    &["claim", "deliver"],
    &["gate"],
    &["ingress", "queue", "upkeep", "admin", "service"],
    &["server"],
    &["demo"],
];

/// The pure core: time and bytes come in as arguments.
const PURE: &[&str] = &["time", "record", "key", "verify", "preset"];
const IMPURE: &[&str] =
    &["tokio", "axum", "hyper", "redb", "SystemTime", "Instant::now", "std::fs", "std::env"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The top module a file of `src` belongs to.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_str().unwrap().starts_with("tests"))
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// The modules named after `crate::` in `text`, braces at the top included.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap(),
            None => rest.split([';', ' ', '\n', '(', ')', ',']).next().unwrap(),
        };
        for name in names.split(',') {
            found.push(name.trim().split("::").next().unwrap().trim_end_matches(';').to_owned());
        }
    }
    found
}

#[test]
fn modules_import_only_from_below() {
    for path in sources(&root().join("src")).iter().filter(|path| !is_test(path)) {
        let module = module(path);
        let Some(own) = level(&module) else {
            assert!(
                ["lib", "main", "command"].contains(&module.as_str()),
                "{module} has no level here"
            );
            continue;
        };
        for import in imports(&fs::read_to_string(path).unwrap()) {
            let Some(imported) = level(&import) else { continue };
            let core = PURE.contains(&module.as_str()) && PURE.contains(&import.as_str());
            assert!(
                imported < own || import == module || core,
                "{} imports {import}, which is not below {module}",
                path.display()
            );
        }
    }
}

#[test]
fn the_core_is_pure() {
    for path in sources(&root().join("src")).iter().filter(|path| !is_test(path)) {
        if !PURE.contains(&module(path).as_str()) {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let code = line.split("//").next().unwrap();
            for word in IMPURE {
                let named = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                let named = named.flat_map(|path| [path, path.split("::").next().unwrap()]);
                assert!(!named.into_iter().any(|it| it == *word), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn every_module_says_why_and_none_is_too_long() {
    let mut all = sources(&root().join("src"));
    all.extend(sources(&root().join("tests")));
    all.extend(sources(&root().join("benches")));
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} has no module doc", path.display());
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines: split it", path.display());
    }
}
