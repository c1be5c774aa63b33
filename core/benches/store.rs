//! What the directory costs: a hit with and without it, the first hit after a restart, a stored page, an invalidation, opening.
//!
//! `make bench`, or `cargo bench -p libisr-core --bench store -- PAGES BODY ROUNDS` (20,000 pages of 10,000 bytes, medians of 7
//! rounds); TMPDIR says where.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use isr_core::{Cache, CacheWord, Clock, Options, PageResult, RenderJob, Request, RouteOptions};
use isr_core::{TagOptions, Time};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |n: usize, otherwise| numbers.get(n).copied().unwrap_or(otherwise);
    let (pages, body, rounds) = (number(0, 20_000), number(1, 10_000), number(2, 7));
    let paths: Vec<String> = (0..pages).map(|n| format!("/blog/{n}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let memory = open(None);
    let stored = open(Some(dir.path()));
    println!("{pages} pages of {body} bytes, medians of {rounds} rounds, us each");
    let report = |what: &str, round: &dyn Fn() -> f64| report(what, rounds, round);

    let put = |cache: &Cache| each(&paths, |p| put(cache, p, body));
    report("put, in memory", &|| put(&memory));
    report("put, with a directory", &|| put(&stored));
    let hits = |cache: &Cache| {
        let often: Vec<&String> = paths.iter().cycle().take(pages.max(1_000_000)).collect();
        each(&often, |p| assert_ne!(black_box(get(cache, p, CacheWord::Hit)), 0))
    };
    report("hit, in memory", &|| hits(&memory));
    report("hit, with a directory", &|| hits(&stored));
    report("hit, first one of another process", &|| {
        let other = open(Some(dir.path()));
        each(&paths, |p| assert_ne!(black_box(get(&other, p, CacheWord::Hit)), 0))
    });

    let tag = |cache: &Cache| {
        each(&paths, |_| cache.revalidate_tag(&["other"], TagOptions::default()).unwrap())
    };
    report("revalidate_tag, in memory", &|| tag(&memory));
    report("revalidate_tag, with a directory", &|| tag(&stored));
    let other = open(Some(dir.path()));
    get(&other, &paths[0], CacheWord::Hit);
    report("revalidate_tag, then a hit elsewhere", &|| {
        each(&paths, |_| {
            stored.revalidate_tag(&["other"], TagOptions::default()).unwrap();
            get(&other, &paths[0], CacheWord::Hit);
        })
    });
    stored.close(std::time::Duration::ZERO);
    other.close(std::time::Duration::ZERO);
    let opens: Vec<()> = vec![(); 50];
    report("open and close, alone", &|| each(&opens, |()| drop(open(Some(dir.path())))));
}

fn open(directory: Option<&Path>) -> Cache {
    let options = Options {
        directory: directory.map(Path::to_path_buf),
        max_bytes: 1 << 34,
        max_disk_bytes: 1 << 40,
        ..Options::default()
    };
    let cache = Cache::open(options).unwrap();
    let options = RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() };
    let render = |job: RenderJob| drop(job.complete(PageResult::new("rendered")));
    cache.add_route("/blog/[id]", options, Arc::new(render)).unwrap();
    cache
}

fn put(cache: &Cache, path: &str, body: usize) {
    let page = PageResult::new(vec![0; body]);
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

fn report(what: &str, rounds: usize, round: &dyn Fn() -> f64) {
    let mut times: Vec<f64> = (0..rounds).map(|_| round()).collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<40}{:>10.2}", times[rounds / 2]);
}
