//! What a hit, a page in memory, an invalidation, opening and closing cost as the pages become more.

use std::hint::black_box;
use std::time::Duration;

use clap::Parser;
use isr_bench::{
    Rows, Stopwatch, available_bytes, cache, fill, get, paths, resident_bytes, thread_nanos, zipf,
};
use isr_core::{Cache, CacheWord, PageResult, PathType, Request, TagOptions};

const BODY: usize = 64;
/// What a page may take at most here, to judge whether memory suffices.
const PAGE_BYTES: usize = 800;
/// One page in so many has the tag that is invalidated.
const TAGGED: usize = 10;

/// Costs at 10^3 to 10^7 pages of 64 bytes.
#[derive(Parser)]
struct Args {
    /// Numbers of pages.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000,10000000")]
    pages: Vec<usize>,
    /// Numbers of pages in a directory that is opened.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    stored: Vec<usize>,
    /// Look-ups in a round.
    #[arg(long, default_value_t = 1_000_000)]
    lookups: usize,
    /// Rounds, of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A line of JSON for each result.
    #[arg(long)]
    json: bool,
}

fn main() {
    let args = Args::parse();
    let rows = Rows::new("scale", args.json);
    for &pages in &args.pages {
        if available_bytes() < (pages * PAGE_BYTES) as u64 {
            rows.skipped(&format!("{pages} pages"), "too little memory");
            continue;
        }
        in_memory(&args, &rows, pages);
    }
    for &pages in &args.stored {
        in_directory(&args, &rows, pages);
    }
}

fn in_memory(args: &Args, rows: &Rows, pages: usize) {
    let x = pages as f64;
    let paths = paths(pages);
    let order = zipf(pages, args.lookups);
    let before = resident_bytes();
    let cache = cache(None, 1 << 40, BODY);
    for (n, path) in paths.iter().enumerate() {
        let mut page = PageResult::new(vec![b'x'; BODY]);
        if n % TAGGED == 0 {
            page.tags.push("some".into());
        }
        cache.put(path, None, page, cache.started()).expect("a page is stored");
    }
    let payload = (paths.iter().map(String::len).sum::<usize>() + pages * BODY) as f64;
    let counted = cache.stats().bytes_stored as f64;
    let resident = resident_bytes().saturating_sub(before) as f64;
    let case = "memory beyond path and body";
    rows.value(case, "counted (bytes_stored)", x, "B/page", (counted - payload) / x);
    if pages >= 100_000 {
        rows.value(case, "resident (RSS)", x, "B/page", (resident - payload) / x); // else it is noise
    }

    let hits = samples(args, || {
        for n in &order {
            black_box(get(&cache, &paths[*n as usize], CacheWord::Hit));
        }
        order.len()
    });
    rows.median("cost as the pages become more", "hit", x, "ns", &hits);
    invalidations(args, rows, &cache, &paths);

    let before = thread_nanos();
    drop(cache);
    rows.value("closing", "close, in memory", x, "ms", (thread_nanos() - before) / 1e6);
}

fn invalidations(args: &Args, rows: &Rows, cache: &Cache, paths: &[String]) {
    let case = "cost as the pages become more";
    let x = paths.len() as f64;
    let first: Vec<&str> = paths.iter().take(1000).map(String::as_str).collect();
    let tag = samples(args, || {
        first
            .iter()
            .for_each(|_| cache.revalidate_tag(&["some"], TagOptions::default()).expect("a tag"));
        first.len()
    });
    rows.median(case, "revalidate_tag of a tenth", x, "ns", &tag);
    let path = samples(args, || {
        first.iter().for_each(|p| _ = cache.revalidate_path(&[p], None).expect("a path"));
        first.len()
    });
    rows.median(case, "revalidate_path of a page", x, "ns", &path);
    let layout = samples(args, || {
        first.iter().for_each(|_| {
            _ = cache.revalidate_path(&["/blog"], Some(PathType::Layout)).expect("a path");
        });
        first.len()
    });
    rows.median(case, "revalidate_path of the layout", x, "ns", &layout);
    // Readers see it: nothing is fresh any more.
    let peek = cache.hit(&Request::new(&paths[paths.len() - 1]));
    assert!(peek.is_none(), "a page is fresh after its layout was invalidated");
}

fn in_directory(args: &Args, rows: &Rows, pages: usize) {
    let x = pages as f64;
    let paths = paths(pages);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = || cache(Some(dir.path()), 1 << 36, BODY);
    let first = open();
    fill(&first, &paths, BODY);
    first.close(Duration::from_secs(10));
    drop(first);
    let (mut opening, mut closing) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let watch = Stopwatch::start();
        let cache = open();
        black_box(get(&cache, &paths[0], CacheWord::Hit));
        opening.push(watch.nanos() / 1e6);
        let watch = Stopwatch::start();
        drop(cache);
        closing.push(watch.nanos() / 1e6);
    }
    rows.median("opening", "open a directory, first hit", x, "ms", &opening);
    rows.median("closing", "close a directory", x, "ms", &closing);
}

/// Nanoseconds of processor time a call, of each round; a round gives the number of its calls.
fn samples(args: &Args, mut round: impl FnMut() -> usize) -> Vec<f64> {
    (0..args.rounds)
        .map(|_| {
            let before = thread_nanos();
            let calls = round();
            (thread_nanos() - before) / calls as f64
        })
        .collect()
}
