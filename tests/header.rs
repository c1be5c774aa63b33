//! The header: current, and clean in every standard that it promises.

mod support;

use std::process::Command;

use support::{compiler, read, root, run, scratch};

#[test]
fn is_what_the_sources_give() {
    let generated = include_str!(concat!(env!("OUT_DIR"), "/isr.h"));
    assert!(
        read("include/isr.h") == generated,
        "include/isr.h is out of date and could not be written; build once in a tree that can be"
    );
}

/// The build has just rewritten a header that was out of date: then the tree differs from what is committed (or staged).
#[test]
fn is_committed() {
    if !root().join(".git").exists() {
        eprintln!("no git here: nothing to compare with");
        return;
    }
    let mut git = Command::new("git");
    git.current_dir(root()).args(["diff", "--exit-code", "--stat", "--", "include/isr.h"]);
    let output = git.output().unwrap();
    assert!(
        output.status.success(),
        "include/isr.h was out of date and has been written anew; commit it\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn compiles_in_every_standard() {
    let dir = scratch("header");
    let c = dir.join("alone.c");
    std::fs::write(&c, "#include <isr.h>\nint main(void) { return 0; }\n").unwrap();
    for standard in ["c99", "c11", "c17", "c2x"] {
        run(compiler(standard).args(["-fsyntax-only", "-Wshadow", "-Wconversion"]).arg(&c));
    }
    let cpp = dir.join("alone.cpp");
    for header in ["isr.h", "isr.hpp", "isr/values.hpp", "isr/jobs.hpp", "isr/options.hpp"] {
        std::fs::write(&cpp, format!("#include <{header}>\nint main() {{ return 0; }}\n")).unwrap();
        for standard in ["c++17", "c++20"] {
            run(compiler(standard).args(["-fsyntax-only", "-Wshadow", "-Wconversion"]).arg(&cpp));
        }
    }
}

#[test]
fn every_function_says_its_threads() {
    let header = read("include/isr.h");
    let mut checked = 0;
    for (before, _) in header.match_indices("ISR_API").map(|(at, _)| header.split_at(at)) {
        // The macro's own definition stands in no comment's shadow.
        let Some((_, comment)) = before.trim_end().rsplit_once("/**") else { continue };
        if !before.trim_end().ends_with("*/") {
            continue;
        }
        assert!(comment.to_lowercase().contains("threads"), "no line on threads in:\n{comment}");
        checked += 1;
    }
    assert!(checked > 100, "only {checked} functions were found");
}
