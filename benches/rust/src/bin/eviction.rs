//! The eviction order on request traces, beside what a user would pick instead: hit ratio, and render time spent against LRU.
//!
//! `make bench-eviction`, or `cargo run --release -p libisr-bench --features peers --bin bench-eviction -- --help`.

use std::path::PathBuf;

use clap::Parser;
use isr_core::Options;

#[path = "../eviction/memory.rs"]
mod memory;
#[path = "../eviction/policies.rs"]
mod policies;
// The engine's own, not a copy. What it does not need here is for the engine.
#[allow(dead_code)]
#[path = "../../../../core/src/memory/queues/mod.rs"]
mod queues;
#[path = "../eviction/traces.rs"]
mod traces;

use policies::{Lru, Moka, Own, Policy, Quick, S3Fifo, Sieve};
use traces::Trace;

/// Hit ratio and render time of eviction orders on request traces made from fixed seeds.
#[derive(Parser)]
struct Args {
    /// Size of the traces: 1 is a million visits to 100,000 pages each
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Capacities, in percent of the bytes of all pages asked for
    #[arg(long, value_delimiter = ',', default_values_t = [5, 10, 20])]
    percent: Vec<u64>,
    /// Only traces whose name has this
    #[arg(long, default_value = "")]
    trace: String,
    /// A trace of your own instead: a line is a request, with a page's name and, if known, its bytes and render time in microseconds
    #[arg(long)]
    file: Option<PathBuf>,
    /// Instead: what a process takes with a cache of so many MiB while pages come and go
    #[arg(long)]
    memory: Option<u64>,
    /// With --memory: threads that render
    #[arg(long, default_value_t = Options::default().threads)]
    threads: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const NAMES: [&str; 6] = ["LRU", "S3-FIFO", "SIEVE", "quick_cache", "moka", "libisr"];

struct Score {
    hits: f64,
    micros: u64,
}

fn main() {
    let args = Args::parse();
    if let Some(megabytes) = args.memory {
        return memory::churn(megabytes, args.threads, 20);
    }
    let traces = match &args.file {
        Some(path) => vec![traces::read(path).unwrap_or_else(|e| {
            eprintln!("{}: {e}", path.display());
            std::process::exit(2);
        })],
        None => traces::all(args.scale),
    };
    println!("hit ratio in percent, and render time spent against LRU; moka is W-TinyLFU");
    println!(
        "floor: renders that no order avoids, for it is the first time that they are asked for"
    );
    print!("{:<22}{:>3}{:>7}", "trace", "%", "floor");
    for name in NAMES {
        print!("{name:>14}");
    }
    println!("{:>13}", "to best peer");
    for trace in traces.iter().filter(|t| t.name.contains(&args.trace)) {
        for &percent in &args.percent {
            line(trace, percent);
        }
    }
}

fn line(trace: &Trace, percent: u64) {
    let (bytes, first) = trace.footprint();
    let score = |name: &&str| run(&mut *policy(name, bytes * percent / 100, trace), trace);
    let scores: Vec<Score> = NAMES.iter().map(score).collect();
    let to = |micros: u64, other: u64| 100.0 * (micros as f64 / other as f64 - 1.0);
    let lru = scores[0].micros;
    print!("{:<22}{percent:>3}{:>6.0}%", trace.name, to(first, lru));
    for score in &scores {
        print!("{:>7.1}{:>+6.1}%", 100.0 * score.hits, to(score.micros, lru));
    }
    let (own, peers) = scores.split_last().expect("there are several");
    let best = peers.iter().map(|s| s.micros).min().unwrap_or(lru);
    println!("{:>+12.1}%", to(own.micros, best));
}

fn policy(name: &str, capacity: u64, trace: &Trace) -> Box<dyn Policy> {
    match name {
        "LRU" => Box::new(Lru::new(capacity)),
        "S3-FIFO" => Box::new(S3Fifo::new(capacity)),
        "SIEVE" => Box::new(Sieve::new(capacity)),
        "quick_cache" => Box::new(Quick::new(capacity, trace.pages.len() / 10)),
        "moka" => Box::new(Moka::new(capacity)),
        _ => Box::new(Own::new(capacity)),
    }
}

fn run(policy: &mut dyn Policy, trace: &Trace) -> Score {
    let (mut hits, mut micros) = (0u64, 0u64);
    for &id in &trace.requests {
        let page = trace.pages[id as usize];
        if policy.request(id, page) {
            hits += 1;
        } else {
            micros += u64::from(page.micros);
        }
    }
    Score { hits: hits as f64 / trace.requests.len() as f64, micros }
}
