//! Runs conformance scenarios against the core: one report for each file.

mod expect;
mod format;
mod frames;
mod site;
mod step;
mod world;

use std::path::{Path, PathBuf};

use serde_json::Value;

use format::Scenario;
use world::{Fault, World};

/// What became of one scenario.
pub struct Report {
    pub file: String,
    /// The scenario's name, if the file has one.
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Lines that say where and how.
    Failed(Vec<String>),
}

/// Which scenarios get a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directories {
    /// Those that persist.
    Persistent,
    /// All: a directory changes nothing that a scenario can see.
    All,
}

/// The scenario files among these files and folders, each folder's sorted by name.
///
/// # Errors
/// A path that cannot be read.
pub fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        let told = |e: std::io::Error| format!("{}: {e}", path.display());
        if !std::fs::metadata(path).map_err(told)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(told)? {
            let file = entry.map_err(told)?.path();
            if file.extension().is_some_and(|e| e == "json") {
                inside.push(file);
            }
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// Runs the scenario in one file.
pub fn run_file(path: &Path, directories: Directories) -> Report {
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let json = std::fs::read(path)
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|e| e.to_string()));
    match json {
        Ok(json) => run(file, json, directories),
        Err(e) => Report { file, name: "(not JSON)".into(), verdict: Verdict::Failed(vec![e]) },
    }
}

/// Runs one scenario.
pub fn run(file: String, json: Value, directories: Directories) -> Report {
    let name = json.get("name").and_then(Value::as_str).unwrap_or("(no name)").to_string();
    let verdict = match Scenario::parse(json) {
        Err(e) => Verdict::Failed(vec![format!("not a scenario: {e}")]),
        Ok(scenario) => match steps(&scenario, directories) {
            Ok(()) => Verdict::Passed,
            Err(fault) => Verdict::Failed(fault),
        },
    };
    Report { file, name, verdict }
}

fn steps(scenario: &Scenario, directories: Directories) -> Result<(), Fault> {
    let mut world = World::open(scenario, directories == Directories::All)?;
    let total = scenario.steps.len();
    let result = scenario.steps.iter().enumerate().try_for_each(|(i, step)| {
        world.run(&step.action, scenario).map_err(|differences| {
            let mut lines = vec![format!("step {} of {total}: {}", i + 1, step.text)];
            lines.extend(differences.into_iter().map(|d| format!("  {d}")));
            lines
        })
    });
    result.and(world.close())
}
