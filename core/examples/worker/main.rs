//! A process that opens a cache, for the tests with real processes (`tests/machine`).
//!
//! `serve` does as it is told, line by line; `storm` does everything at random and checks every answer; `fill` stores very
//! many pages, and `probe` opens them.

mod fill;
mod probe;
mod serve;
mod storm;

use clap::{Parser, Subcommand};

/// One process of the tests with real processes.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes commands as lines of JSON on stdin, answers and tells of callbacks as lines of JSON on stdout.
    Serve,
    /// Reads, renders and invalidates at random against a file that knows the truth.
    Storm(storm::Args),
    /// Stores very many small pages.
    Fill(fill::Args),
    /// Opens what `fill` filled, and says what that costs.
    Probe(probe::Args),
}

fn main() {
    // A test that dies takes its processes with it, also those that are stopped.
    let kill =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if let Err(error) = kill {
        eprintln!("worker: cannot ask for the parent's death signal: {error}");
    }
    match Args::parse().command {
        Command::Serve => serve::run(),
        Command::Storm(args) => storm::run(args),
        Command::Fill(args) => fill::run(&args),
        Command::Probe(args) => probe::run(&args),
    }
}
