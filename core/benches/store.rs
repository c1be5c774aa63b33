//! What the directory costs: a hit with and without it, the first hit after a restart, a stored page, an invalidation, opening.
//!
//! `make bench`, or `cargo bench -p libisr-core --bench store -- PAGES`. Medians of rounds; pages of 10 KB.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use isr_core::{Cache, CacheWord, Clock, Options, PageResult, RenderJob, Request, RouteOptions};
use isr_core::{TagOptions, Time};

const ROUNDS: usize = 7;
const BODY: usize = 10_000;

fn main() {
    let pages = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20_000);
    let paths: Vec<String> = (0..pages).map(|n| format!("/blog/{n}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let memory = open(None);
    let stored = open(Some(dir.path()));
    println!("{pages} pages of {BODY} bytes, medians of {ROUNDS} rounds, us each");

    let put = |cache: &Cache| each(&paths, |p| put(cache, p));
    report("put, in memory", || put(&memory));
    report("put, with a directory", || put(&stored));
    let hits = |cache: &Cache| {
        let often: Vec<&String> = paths.iter().cycle().take(50 * pages).collect();
        each(&often, |p| assert_ne!(black_box(get(cache, p, CacheWord::Hit)), 0))
    };
    report("hit, in memory", || hits(&memory));
    report("hit, with a directory", || hits(&stored));
    report("hit, first one of another process", || {
        let other = open(Some(dir.path()));
        each(&paths, |p| assert_ne!(black_box(get(&other, p, CacheWord::Hit)), 0))
    });

    let tag = |cache: &Cache| {
        each(&paths, |_| cache.revalidate_tag(&["other"], TagOptions::default()).unwrap())
    };
    report("revalidate_tag, in memory", || tag(&memory));
    report("revalidate_tag, with a directory", || tag(&stored));
    let other = open(Some(dir.path()));
    get(&other, &paths[0], CacheWord::Hit);
    report("revalidate_tag, then a hit elsewhere", || {
        each(&paths, |_| {
            stored.revalidate_tag(&["other"], TagOptions::default()).unwrap();
            get(&other, &paths[0], CacheWord::Hit);
        })
    });
    stored.close(std::time::Duration::ZERO);
    other.close(std::time::Duration::ZERO);
    let opens: Vec<()> = vec![(); 50];
    report("open and close, alone", || each(&opens, |()| drop(open(Some(dir.path())))));
}

fn open(directory: Option<&Path>) -> Cache {
    let options = Options {
        directory: directory.map(Path::to_path_buf),
        max_bytes: 1 << 34,
        ..Options::default()
    };
    let cache = Cache::open(options).unwrap();
    let options = RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() };
    let render = |job: RenderJob| drop(job.complete(PageResult::new(vec![0; BODY])));
    cache.add_route("/blog/[id]", options, Arc::new(render)).unwrap();
    cache
}

fn put(cache: &Cache, path: &str) {
    let page = PageResult::new(vec![0; BODY]);
    cache.put(path, None, page, cache.started()).unwrap();
}

fn get(cache: &Cache, path: &str, expected: CacheWord) -> usize {
    let answer = cache.get(&Request::new(path)).unwrap();
    assert_eq!(answer.cache(), expected, "{path}");
    answer.page().body().len()
}

/// Does something with each; microseconds for one.
fn each<T>(all: &[T], mut f: impl FnMut(&T)) -> f64 {
    let clock = Clock::system();
    let begin: Time = clock.now();
    all.iter().for_each(&mut f);
    clock.now().since(begin).nanos().unwrap_or(0) as f64 / 1e3 / all.len() as f64
}

fn report(what: &str, round: impl Fn() -> f64) {
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<40}{:>10.2}", times[ROUNDS / 2]);
}
