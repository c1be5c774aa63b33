//! The shared library exports what the header declares, guards all of it, and the tests call all of it.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use support::{built, read, root, run, soname};

/// The functions that the header declares, without those of the feature `testing` unless it is on.
fn declared() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut testing = false;
    let header = read("include/isr.h");
    let code = header.lines().filter(|line| {
        testing |= line.starts_with("#if defined(ISR_TESTING)");
        let skip = testing && !cfg!(feature = "testing");
        testing &= !line.starts_with("#endif");
        !skip && !line.trim_start().starts_with(['*', '/', '#']) && !line.contains("typedef")
    });
    for line in code {
        for (at, _) in line.match_indices("isr_") {
            let name: String =
                line[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let before = line[..at].chars().next_back();
            if line[at + name.len()..].starts_with('(') && before.is_none_or(|c| " *".contains(c)) {
                names.insert(name);
            }
        }
    }
    names
}

#[test]
fn exactly_the_declared_functions_are_exported() {
    let library = built().join("libisr.so");
    let listing =
        run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library));
    let exported: BTreeSet<String> =
        listing.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect();
    let declared = declared();
    assert!(declared.len() > 100, "{declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn the_soname_has_the_minor_version() {
    let dynamic = run(Command::new("readelf").arg("-d").arg(built().join("libisr.so")));
    assert!(dynamic.contains(&format!("[{}]", soname())), "{dynamic}");
}

#[test]
fn the_abi_test_calls_every_function() {
    let calls = read("tests/c/abi.c");
    let left_out: Vec<String> = declared()
        .into_iter()
        .filter(|name| !calls.contains(&format!("{name}(")) && name != "isr_test_panic")
        .filter(|name| {
            !["isr_last_error", "isr_last_status", "isr_clear_error"].contains(&name.as_str())
        })
        .collect();
    assert!(left_out.is_empty(), "tests/c/abi.c leaves out {left_out:?}");
}

/// A panic that leaves an `extern "C"` function ends the process.
#[test]
fn every_function_is_guarded() {
    // These touch nothing that can panic.
    let plain = [
        "isr_version",
        "isr_version_string",
        "isr_abi_version",
        "isr_last_error",
        "isr_last_status",
        "isr_clear_error",
        "isr_status_name",
        "isr_status_http",
        "isr_cache_word_name",
        "isr_state_name",
        "isr_reason_name",
        "isr_test_panic",
    ];
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("ffi")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for function in source.split("#[unsafe(no_mangle)]").skip(1) {
            let name = function.split_once("fn ").unwrap().1.split('(').next().unwrap();
            let body = function.split_once("\n}\n").map_or(function, |(body, _)| body);
            let helpers = ["guard::status(", "guard::value(", " set(", "change(", " one(", " all("];
            assert!(
                plain.contains(&name) || helpers.iter().any(|helper| body.contains(helper)),
                "{name} in {} is not guarded",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen >= declared().len(), "only {seen} functions were found");
}
