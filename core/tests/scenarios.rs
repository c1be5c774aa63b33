//! The shared conformance scenarios pass, and the runner that says so can fail.

#[path = "../examples/scenarios/runner/mod.rs"]
mod runner;

use std::path::Path;

use runner::{Directories, Verdict, run, run_file, scenario_files};
use serde_json::{Value, json};

#[test]
fn all_scenarios_pass() {
    all_pass(Directories::Persistent);
}

#[test]
fn all_scenarios_pass_with_a_directory() {
    all_pass(Directories::All);
}

fn all_pass(directories: Directories) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let files = scenario_files(&[folder]).unwrap();
    assert!(files.len() > 50, "{} files", files.len());
    let mut failed = Vec::new();
    for file in files {
        let report = run_file(&file, directories);
        if let Verdict::Failed(lines) = report.verdict {
            failed.push(format!("{}: {}\n  {}", report.file, report.name, lines.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

/// A scenario that passes, to be spoilt.
fn good() -> Value {
    json!({
        "name": "n",
        "spec": "3",
        "routes": [{"pattern": "/p/[id]", "revalidate": 60, "tags": ["t"]}],
        "renders": {"/p/1": [{"body": "{data:k}{param:id}{param:x}", "reads": [{"data": "k"}]}]},
        "data": {"k": [{"value": "A"}]},
        "steps": [
            {"get": "/p/1", "expect": {"cache": "miss", "status": 200, "body": "A1{param:x}", "headers": {"etag": "$E"}}},
            {"get": "/p/1", "headers": {"if-none-match": "\"x\", $E"}, "expect": {"status": 304}},
            {"inspect": "/p/1", "expect": {"state": "fresh", "tags": ["t"], "revalidate": 60, "age": 0}},
            {"counts": {"/p/1": 1}},
            {"get": "no", "expect": {"error": "invalid_path", "message": "no"}},
            {"hold": "/p/2"},
            {"start": "A", "get": "/p/2"},
            {"pending": "A"},
            {"release": "/p/2"},
            {"join": "A", "expect": {"cache": "miss"}},
            {"data_get": ["a", "b"], "expect": {"value": "[\"a\",\"b\"]"}}
        ]
    })
}

fn verdict(scenario: Value) -> Verdict {
    run("test.json".into(), scenario, Directories::Persistent).verdict
}

#[test]
fn the_good_scenario_passes() {
    assert_eq!(verdict(good()), Verdict::Passed);
}

/// Sets what stands at a JSON pointer; its parent must be there.
fn spoilt(pointer: &str, value: Value) -> Value {
    let mut scenario = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match scenario.pointer_mut(parent).unwrap() {
        Value::Object(map) => {
            map.insert(key.to_string(), value);
        }
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer}: {other}"),
    }
    scenario
}

#[test]
fn what_is_not_so_fails() {
    for (pointer, value, says) in [
        ("/steps/0/expect/cache", json!("hit"), "step 1 of 11"),
        ("/steps/0/expect/cache", json!("hit"), "cache: expected \"hit\", got \"miss\""),
        ("/steps/0/expect/status", json!(404), "status: expected 404, got 200"),
        ("/steps/0/expect/body", json!("B"), "body: expected"),
        ("/steps/0/expect/body_base64", json!("QQ=="), "body_base64: expected"),
        ("/steps/0/expect/headers", json!({"etag": null}), "header etag: expected it to be absent"),
        ("/steps/0/expect/headers", json!({"x-none": "$N"}), "header x-none: expected any value"),
        ("/steps/0/expect/headers", json!({"Age": "1"}), "header age: expected \"1\", got \"0\""),
        ("/steps/0/expect/error", json!("render"), "error: expected \"render\", got null"),
        ("/steps/1/headers/if-none-match", json!("$NEVER"), "nothing is stored as $NEVER"),
        ("/steps/1/headers/if-none-match", json!("\"x\""), "expected 304, got 200"),
        ("/steps/2/expect/state", json!("stale"), "state: expected"),
        ("/steps/2/expect/tags", json!([]), "tags: expected [], got [\"t\"]"),
        ("/steps/2/expect/revalidate", json!(false), "revalidate: expected false"),
        ("/steps/2/expect/age", json!(1), "age: expected 1"),
        ("/steps/3/counts", json!({"/p/1": 2}), "/p/1: expected 2, got 1"),
        ("/steps/3", json!({"data_counts": {"k": 2}}), "k: expected 2, got 1"),
        (
            "/steps/4/expect",
            json!({"cache": "hit"}),
            "error that was not expected: \"invalid_path\"",
        ),
        ("/steps/4/expect/message", json!("yes"), "message: expected \"yes\""),
        ("/steps/5", json!({"settle": true}), "was answered"),
        ("/steps/9/expect/cache", json!("hit"), "cache: expected"),
        ("/steps/10/expect/value", json!("a"), "value: expected"),
    ] {
        match verdict(spoilt(pointer, value.clone())) {
            Verdict::Failed(lines) => {
                assert!(lines.iter().any(|l| l.contains(says)), "{pointer} {value}: {lines:?}");
            }
            other => panic!("{pointer} {value}: {other:?}"),
        }
    }
}

#[test]
fn what_the_format_does_not_know_fails() {
    for (pointer, value) in [
        ("/x", json!(1)),
        ("/cache", json!({"x": 1})),
        ("/routes/0/x", json!(1)),
        ("/renders", json!({"/p/1": []})),
        ("/renders", json!({"/p/1": [{"x": 1}]})),
        ("/renders", json!({"/p/1": [{"panic": true}]})),
        ("/renders", json!({"/p/1": [{"redirect": {"to": "/", "status": 308, "x": 1}}]})),
        ("/renders", json!({"/p/1": [{"reads": [{"data": "k", "x": 1}]}]})),
        ("/data", json!({"k": [{"x": 1}]})),
        ("/data", json!({"k": [{"value": "a", "error": "b"}]})),
        ("/steps/0/x", json!(1)),
        ("/steps/0/expect/x", json!(1)),
        ("/steps/0/expect/status", json!("200")),
        ("/steps/0/settle", json!(true)),
        ("/steps/0", json!({})),
        ("/steps/0", json!({"x": 1})),
        ("/steps/0", json!({"settle": false})),
        ("/steps/0", json!({"settle": true, "expect": {}})),
        ("/steps/0", json!({"get": "/", "method": "POST"})),
        ("/steps/0", json!({"start": "A", "advance": 1})),
        ("/steps/0", json!({"start": "A", "get": "/", "expect": {}})),
        ("/steps/0", json!({"join": "Z"})),
        ("/steps/0", json!({"inspect": "/p/1", "expect": {"error": "no_route"}})),
        ("/steps/0", json!({"revalidate_path": "/", "type": "all"})),
        ("/steps/9", json!({"join": "A", "expect": {"value": "x"}})),
    ] {
        match verdict(spoilt(pointer, value.clone())) {
            Verdict::Failed(lines) => {
                assert!(lines[0].starts_with("not a scenario"), "{pointer} {value}: {lines:?}");
            }
            other => panic!("{pointer} {value}: {other:?}"),
        }
    }
}
