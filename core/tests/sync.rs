//! The core takes locks, atomics, threads and channels from `sync` alone: what comes from elsewhere is not model-checked.

use std::fs;
use std::path::{Path, PathBuf};

/// Breaks the rule wherever it stands.
const ELSEWHERE: [&str; 6] = [
    "parking_lot",
    "crossbeam",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    " thread_local!",
];
/// All that may come from `std::sync`.
const SHARED: [&str; 3] = ["Arc", "Weak", "PoisonError"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("src/sync") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

fn breaks_the_rule(line: &str) -> bool {
    let code = format!(" {}", line.split("//").next().unwrap_or_default().trim());
    if ELSEWHERE.iter().any(|e| code.contains(e)) {
        return true;
    }
    code.match_indices("std::sync::").any(|(at, head)| {
        let rest = &code[at + head.len()..];
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap());
        names
            .split(',')
            .map(|n| n.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap())
            .any(|n| !SHARED.contains(&n))
    })
}

#[test]
fn the_rule_knows_what_breaks_it() {
    for wrong in [
        "use parking_lot::Mutex;",
        "use std::sync::{Arc, Mutex};",
        "static ONCE: std::sync::OnceLock<u8> = std::sync::OnceLock::new();",
        "flag.store(true, std::sync::atomic::Ordering::SeqCst);",
        "    std::thread::spawn(f);",
        "thread_local! {",
    ] {
        assert!(breaks_the_rule(wrong), "{wrong}");
    }
    for right in [
        "use std::sync::{Arc, Weak};",
        "use std::sync::Arc;",
        "use crate::sync::atomic::AtomicU64;",
        "crate::sync::thread_local! {",
        "// as std::thread does",
    ] {
        assert!(!breaks_the_rule(right), "{right}");
    }
}

#[test]
fn nothing_is_locked_or_counted_past_the_model() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 30, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        for (n, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if line == "mod tests {" {
                break;
            }
            if breaks_the_rule(line) {
                wrong.push(format!("{}:{}: {}", file.display(), n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "to be taken from crate::sync:\n{}", wrong.join("\n"));
}
