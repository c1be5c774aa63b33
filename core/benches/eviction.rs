//! The eviction order on request traces, beside what a user would pick instead: hit ratio, and render time spent against LRU.
//!
//! `make bench-eviction`, or `cargo bench -p libisr-core --bench eviction -- --help`.

use clap::Parser;

#[path = "eviction/policies.rs"]
mod policies;
#[allow(dead_code)]
#[path = "../src/memory/queues/mod.rs"]
mod queues;
#[path = "eviction/traces.rs"]
mod traces;

use policies::{Lru, Moka, Own, Policy, Quick, S3Fifo, Sieve};
use traces::Trace;

/// Hit ratio and render time of eviction orders on traces made from fixed seeds.
#[derive(Parser)]
struct Args {
    /// Size of the traces: 1 is a million requests each
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Capacities, in percent of the bytes of all pages asked for
    #[arg(long, value_delimiter = ',', default_values_t = [5, 10, 20])]
    percent: Vec<u64>,
    /// Only traces whose name has this
    #[arg(long, default_value = "")]
    trace: String,
    /// Without moka, which is slow
    #[arg(long)]
    quick: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const NAMES: [&str; 6] = ["LRU", "S3-FIFO", "SIEVE", "quick_cache", "moka", "libisr"];

struct Score {
    hits: f64,
    millis: f64,
}

fn main() {
    let args = Args::parse();
    print!("{:<24}{:>4}", "trace", "%");
    for name in NAMES {
        print!("{name:>18}");
    }
    println!("{:>10}", "to best");
    for trace in traces::all(args.scale).iter().filter(|t| t.name.contains(&args.trace)) {
        for &percent in &args.percent {
            let capacity = trace.footprint() * percent / 100;
            let scores: Vec<Score> = NAMES
                .iter()
                .filter(|n| !args.quick || **n != "moka")
                .map(|name| run(&mut *policy(name, capacity, trace), trace))
                .collect();
            print!("{:<24}{percent:>4}", trace.name);
            for score in &scores {
                print!(
                    "{:>10.1} {:>+6.1}%",
                    100.0 * score.hits,
                    100.0 * (score.millis / scores[0].millis - 1.0)
                );
            }
            let own = &scores[scores.len() - 1];
            let best =
                scores[..scores.len() - 1].iter().map(|s| s.millis).fold(f64::INFINITY, f64::min);
            println!("{:>+9.1}%  {}", 100.0 * (own.millis / best - 1.0), trace.uneven);
        }
    }
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
    Score { hits: hits as f64 / trace.requests.len() as f64, millis: micros as f64 / 1000.0 }
}
