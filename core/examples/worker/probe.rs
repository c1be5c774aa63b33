//! Opens a directory that `fill` filled, serves some pages for the first time, and says what that cost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use isr_core::{Cache, CacheWord, Options, RenderJob, Request, RouteOptions};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Args {
    /// The cache's directory.
    #[arg(long)]
    directory: PathBuf,
    /// How many pages there are.
    #[arg(long)]
    pages: u64,
    /// How many of them are asked for, at random.
    #[arg(long)]
    hits: u64,
    /// Seeds the choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a step took: time, and what the kernel counted.
struct Cost {
    began: Instant,
    io: [u64; 2],
}

impl Cost {
    #[allow(clippy::disallowed_methods, reason = "measures the cache from outside")]
    fn begin() -> Cost {
        Cost { io: io(), began: Instant::now() }
    }

    fn end(self) -> Value {
        let micros = self.began.elapsed().as_micros() as u64;
        let io = io();
        json!({"us": micros, "bytes_read": io[0] - self.io[0], "reads": io[1] - self.io[1]})
    }
}

/// Bytes read and calls that read, of this process so far; without those of the last look.
fn io() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/self/io").expect("/proc is mounted");
    let number = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).expect("the kernel counts");
        line.trim().parse().expect("a number")
    };
    [number("rchar:"), number("syscr:")]
}

pub fn run(args: &Args) {
    fastrand::seed(args.seed);
    // What looking costs, to be taken off.
    let look = Cost::begin().end();
    let cost = Cost::begin();
    let options = Options { directory: Some(args.directory.clone()), ..Options::default() };
    let cache = Cache::open(options).expect("the cache opens");
    let opened = cost.end();
    cache
        .add_route("/p/[id]", RouteOptions::default(), Arc::new(|job: RenderJob| drop(job)))
        .expect("the route is right");
    let hit = || {
        let path = format!("/p/{}", fastrand::u64(0..args.pages));
        let answer = cache.get(&Request::new(&path)).expect("it is stored");
        assert_eq!(answer.cache(), CacheWord::Hit, "{path}");
        assert!(answer.page().body().starts_with(path.as_bytes()), "{path}");
    };
    let mut hits = Vec::new();
    for _ in 0..args.hits {
        let cost = Cost::begin();
        hits.push({
            hit();
            cost.end()
        });
    }
    let stats = cache.stats();
    println!(
        "{}",
        json!({
            "look": look,
            "open": opened,
            "hits": hits,
            "disk_reads": stats.disk_reads,
            "disk_errors": stats.disk_errors,
        })
    );
}
