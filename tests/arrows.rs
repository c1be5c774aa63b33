//! Who may depend on whom: every door on the core, the core on nobody here, no door on another.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{root, run};

/// The packages of this repository, and the one arrow that each door has.
const HOUSE: [(&str, &[&str]); 5] = [
    ("libisr-core", &[]),
    ("libisr", &["libisr-core"]),
    ("libisr-python", &["libisr-core"]),
    ("libisr-node", &["libisr-core"]),
    ("libisr-bench", &["libisr-core"]),
];

#[test]
fn manifests_keep_the_arrows() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--no-deps", "--format-version=1", "--offline"]);
    let metadata: Value = serde_json::from_str(&run(&mut cargo)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), HOUSE.len(), "a new package wants its arrows here");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let may = HOUSE.iter().find(|(n, _)| *n == name).map(|(_, may)| *may);
        let may = may.unwrap_or_else(|| panic!("{name} has no arrows here"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let ours = HOUSE.iter().any(|(n, _)| *n == on);
            assert!(!ours || may.contains(&on), "{name} must not depend on {on}");
        }
    }
}

#[test]
fn sources_keep_the_arrows() {
    // The crates' names in Rust, and what else a door could be reached by.
    let doors =
        [("ffi", "isr::"), ("bindings/python", "_libisr"), ("bindings/node", "libisr_node")];
    let mut seen = 0;
    for folder in ["core", "ffi", "bindings/python/src", "bindings/node/src"] {
        for file in sources(&root().join(folder)) {
            seen += 1;
            let text = std::fs::read_to_string(&file).unwrap();
            for line in text
                .lines()
                .map(str::trim_start)
                .filter(|l| l.starts_with("use ") || l.starts_with("extern "))
            {
                for (door, name) in doors {
                    let own = folder.starts_with(door);
                    let path = line.trim_start_matches("use ").trim_start_matches("extern crate ");
                    assert!(own || !path.starts_with(name), "{}: {line}", file.display());
                }
                assert!(
                    folder != "core"
                        || !["pyo3", "napi", "cbindgen"].iter().any(|host| line.contains(host)),
                    "the core knows no host: {}: {line}",
                    file.display()
                );
            }
        }
    }
    assert!(seen > 40, "only {seen} sources were found");
}

#[test]
fn the_cpp_headers_use_the_c_header_and_one_another_alone() {
    let parts = [
        ("isr.hpp", vec!["isr.h", "isr/jobs.hpp", "isr/options.hpp", "isr/values.hpp"]),
        ("isr/options.hpp", vec!["jobs.hpp"]),
        ("isr/jobs.hpp", vec!["values.hpp"]),
        ("isr/values.hpp", vec!["../isr.h"]),
    ];
    for (part, wanted) in parts {
        let header = support::read(format!("include/{part}"));
        let quoted = header.lines().filter_map(|l| l.strip_prefix("#include \""));
        let used: Vec<&str> = quoted.map(|l| l.trim_end_matches('"')).collect();
        assert_eq!(used, wanted, "{part}");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}
