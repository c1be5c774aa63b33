//! A fixed number of calls of one kind in a function of its own, for callgrind to count its instructions: `benches/guard.py`.

use std::hint::black_box;

use clap::{Parser, ValueEnum};
use isr_bench::{cache, fill, get, paths, put};
use isr_core::{Cache, CacheWord, Request, TagOptions};

/// Runs a case once, for `valgrind --tool=callgrind --toggle-collect=*counted*`.
#[derive(Parser)]
struct Args {
    /// What is counted.
    case: Case,
    /// Calls that are counted.
    #[arg(long, default_value_t = 2000)]
    calls: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Case {
    /// A stored page of a cache that nothing was invalidated in.
    Hit,
    /// The first hit of a page after something else was invalidated.
    HitAfterInvalidation,
    /// The same by `try_get`, which hosts with an event loop call.
    TryHit,
    /// A page is stored over another one.
    Put,
    /// A tag is invalidated.
    RevalidateTag,
}

fn main() {
    let args = Args::parse();
    let paths = paths(args.calls);
    let cache = cache(None, 1 << 30, 64);
    fill(&cache, &paths, 64);
    // What is made once is made before.
    run(args.case, &cache, &paths);
    paths.iter().for_each(|p| put(&cache, p, 64));
    if matches!(args.case, Case::HitAfterInvalidation) {
        cache.revalidate_tag(&["other"], TagOptions::default()).expect("a valid tag");
    }
    counted(args.case, &cache, &paths);
}

/// Callgrind counts while this is on the stack.
#[inline(never)]
fn counted(case: Case, cache: &Cache, paths: &[String]) {
    run(black_box(case), cache, paths);
}

#[inline(never)]
fn run(case: Case, cache: &Cache, paths: &[String]) {
    for path in paths {
        match case {
            Case::Hit | Case::HitAfterInvalidation => {
                _ = black_box(get(cache, path, CacheWord::Hit))
            }
            Case::TryHit => {
                let hit = cache.try_get(&Request::new(path)).expect("a stored page");
                _ = black_box(hit.map(|a| a.page().body().len()));
            }
            Case::Put => put(cache, path, 64),
            Case::RevalidateTag => {
                cache.revalidate_tag(&["other"], TagOptions::default()).expect("a valid tag");
            }
        }
    }
}
