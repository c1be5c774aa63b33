//! The C scenario runner: it passes where it should, and it can fail.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{program, root, scratch};

/// The runner, compiled once.
fn runner() -> &'static Path {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| program(&scratch("runner"), "c++17", &["tests/c/runner.cpp"], "runner"))
}

fn run(path: &Path) -> (bool, String) {
    run_command(Command::new(runner()).arg(path))
}

fn run_command(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

fn run_text(name: &str, scenario: &str) -> (bool, String) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, scenario).unwrap();
    run(&file)
}

#[test]
fn all_scenarios_pass() {
    all_pass(Command::new(runner()).arg(root().join("tests/scenarios")));
}

#[test]
fn all_scenarios_pass_with_a_directory() {
    let mut command = Command::new(runner());
    all_pass(command.arg(root().join("tests/scenarios")).env("ISR_SCENARIO_DIRECTORY", "1"));
}

fn all_pass(command: &mut Command) {
    let (passed, text) = run_command(command);
    assert!(passed, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().filter(|l| l.starts_with("ok ")).count() > 60, "{text}");
    assert!(lines.iter().all(|l| !l.starts_with("not ok ")), "{text}");
    assert_eq!(lines[0], format!("1..{}", lines.len() - 1), "{text}");
}

#[test]
fn a_difference_is_a_failure_with_its_step() {
    let scenario = r#"{"name": "wrong", "spec": "1", "routes": [{"pattern": "/p"}],
        "steps": [{"get": "/p"}, {"get": "/p", "expect": {"cache": "miss", "headers": {"age": null}}}]}"#;
    let (passed, text) = run_text("runner-wrong.json", scenario);
    assert!(!passed);
    assert!(text.contains("not ok 1 - c runner-wrong.json: wrong"), "{text}");
    assert!(text.contains("# step 2 of 2: "), "{text}");
    assert!(text.contains(r#"#   cache: expected "miss", got "hit""#), "{text}");
    assert!(text.contains(r#"#   header age: expected it to be absent, got "0""#), "{text}");
}

#[test]
fn what_the_format_does_not_know_is_a_failure() {
    let step = |step: &str| {
        format!(
            r#"{{"name": "n", "spec": "1", "routes": [{{"pattern": "/p"}}], "steps": [{step}]}}"#
        )
    };
    let cases = [
        (r#"{"name": "n", "steps": [], "extra": 1}"#.to_string(), "extra"),
        (r#"{"name": "n", "steps": [], "cache": {"colour": 1}}"#.to_string(), "colour"),
        (
            r#"{"name": "n", "steps": [], "routes": [{"pattern": "/", "x": 1}]}"#.to_string(),
            "\"x\"",
        ),
        (r#"{"name": "n", "steps": [], "renders": {"/p": [{"bdy": ""}]}}"#.to_string(), "bdy"),
        (
            r#"{"name": "n", "steps": [], "data": {"k": [{"value": "", "error": ""}]}}"#
                .to_string(),
            "either",
        ),
        (r#"{"name": "n"}"#.to_string(), "steps"),
        ("{".to_string(), "parse"),
        (step(r#"{"fetch": "/p"}"#), "no key says what to do"),
        (step(r#"{"get": "/p", "remove": "/p"}"#), "both"),
        (step(r#"{"get": "/p", "draft": 1}"#), "draft"),
        (step(r#"{"get": "/p", "expect": {"colour": "red"}}"#), "colour"),
        (step(r#"{"get": "/p", "expect": {"status": "200"}}"#), "wrong type"),
        (step(r#"{"settle": false}"#), "settle"),
        (step(r#"{"join": "A"}"#), "nothing was started"),
        (step(r#"{"get": "/nowhere"}"#), "no_route"),
    ];
    for (i, (scenario, part)) in cases.iter().enumerate() {
        let (passed, text) = run_text(&format!("runner-strict-{i}.json"), scenario);
        assert!(!passed, "{scenario}\n{text}");
        assert!(text.contains("not ok 1 - c "), "{scenario}\n{text}");
        assert!(text.contains(part), "{scenario}\n{text}");
    }
}

#[test]
fn nothing_to_run_is_a_failure() {
    let (passed, text) = run(&root().join("include"));
    assert!(!passed && text.contains("no *.json file"), "{text}");
    let (passed, text) = run(Path::new("/nowhere.json"));
    assert!(!passed && text.contains("cannot be read"), "{text}");
}
