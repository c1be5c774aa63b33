//! What the directory costs: a hit with and without it, the first hit after a restart, a stored page, an invalidation, opening.
//!
//! TMPDIR says where the directory is.

use std::hint::black_box;
use std::time::Duration;

use clap::Parser;
use isr_bench::{Rows, Stopwatch, cache, get, paths, put};
use isr_core::{Cache, CacheWord, TagOptions};

const LARGE: u64 = 1 << 36;

/// Microseconds of calls with and without a directory.
#[derive(Parser)]
struct Args {
    /// Stored pages.
    #[arg(long, default_value_t = 20_000)]
    pages: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 10_000)]
    body: usize,
    /// Rounds, of which the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A line of JSON for each result.
    #[arg(long)]
    json: bool,
}

fn main() {
    let args = Args::parse();
    let rows = Rows::new("directory", args.json);
    let (pages, body) = (args.pages, args.body);
    let paths = paths(pages);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = || cache(Some(dir.path()), LARGE, body);
    let memory = cache(None, LARGE, body);
    let stored = open();
    let case = format!("a directory, {pages} pages of {body} B");
    let report = |what: &str, round: &dyn Fn() -> f64| {
        let times: Vec<f64> = (0..args.rounds).map(|_| round()).collect();
        rows.median(&case, what, pages as f64, "us", &times);
    };

    let puts = |cache: &Cache| each(&paths, |p| put(cache, p, body));
    report("put, in memory", &|| puts(&memory));
    report("put, with a directory", &|| puts(&stored));
    let hits = |cache: &Cache| {
        let often: Vec<&String> = paths.iter().cycle().take(pages.max(1_000_000)).collect();
        each(&often, |p| assert_ne!(black_box(get(cache, p, CacheWord::Hit)), 0))
    };
    report("hit, in memory", &|| hits(&memory));
    report("hit, with a directory", &|| hits(&stored));
    report("hit, first one of another process", &|| {
        let other = open();
        each(&paths, |p| assert_ne!(black_box(get(&other, p, CacheWord::Hit)), 0))
    });

    let tag = |cache: &Cache| {
        each(&paths, |_| cache.revalidate_tag(&["other"], TagOptions::default()).expect("a tag"))
    };
    report("revalidate_tag, in memory", &|| tag(&memory));
    report("revalidate_tag, with a directory", &|| tag(&stored));
    let other = open();
    get(&other, &paths[0], CacheWord::Hit);
    report("revalidate_tag, then a hit elsewhere", &|| {
        each(&paths, |_| {
            stored.revalidate_tag(&["other"], TagOptions::default()).expect("a tag");
            get(&other, &paths[0], CacheWord::Hit);
        })
    });
    stored.close(Duration::ZERO);
    other.close(Duration::ZERO);
    let opens: Vec<()> = vec![(); 50];
    report("open and close, alone", &|| each(&opens, |()| drop(open())));
}

/// Does something with each; microseconds for one.
fn each<T>(all: &[T], mut f: impl FnMut(&T)) -> f64 {
    let watch = Stopwatch::start();
    all.iter().for_each(&mut f);
    watch.nanos() / 1e3 / all.len() as f64
}
