//! Runs conformance scenarios against the Rust core and prints TAP.

mod runner;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use runner::{Directories, Report, Verdict, run_file, scenario_files};

/// Runs conformance scenarios against the Rust core and prints TAP; exits with 1 if one failed or there was none.
///
/// With ISR_SCENARIO_DIRECTORY=1 in the environment every scenario gets a fresh directory, not only those that persist.
#[derive(Parser)]
#[command(name = "scenarios")]
struct Arguments {
    /// Scenario files, and folders whose *.json files are taken, sorted by name.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let files = match scenario_files(&Arguments::parse().paths) {
        Ok(files) if files.is_empty() => {
            eprintln!("no scenario: none of the folders has a *.json file");
            return ExitCode::FAILURE;
        }
        Ok(files) => files,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let directories = match std::env::var_os("ISR_SCENARIO_DIRECTORY") {
        Some(value) if value == "1" => Directories::All,
        _ => Directories::Persistent,
    };
    println!("1..{}", files.len());
    let mut failed = false;
    for (i, file) in files.iter().enumerate() {
        let report = run_file(file, directories);
        failed |= matches!(report.verdict, Verdict::Failed(_));
        print(i + 1, &report);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print(number: usize, report: &Report) {
    // A `#` in a name would begin a directive.
    let title =
        format!("{number} - rust {}: {}", report.file, one_line(&report.name).replace('#', "\\#"));
    match &report.verdict {
        Verdict::Passed => println!("ok {title}"),
        Verdict::Failed(lines) => {
            println!("not ok {title}");
            for line in lines {
                println!("# {}", one_line(line));
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}
