//! The site that all benches look at: `/blog/0`, `/blog/1`, ..., with the tag `blog`.

use std::path::Path;
use std::sync::Arc;

use isr_core::{Cache, CacheWord, Options, PageResult, RenderJob, Request, RouteOptions};

/// The paths of so many pages.
pub fn paths(pages: usize) -> Vec<String> {
    (0..pages).map(|n| format!("/blog/{n}")).collect()
}

/// A cache with one route and no pages; a render gives a body of `body` bytes.
pub fn cache(directory: Option<&Path>, max_bytes: u64, body: usize) -> Cache {
    let options = Options {
        directory: directory.map(Path::to_path_buf),
        max_bytes,
        max_disk_bytes: 1 << 40,
        threads: 1,
        ..Options::default()
    };
    let cache = Cache::open(options).expect("a cache opens");
    let options = RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() };
    let render = move |job: RenderJob| drop(job.complete(page(body)));
    cache.add_route("/blog/[id]", options, Arc::new(render)).expect("a route is added");
    cache
}

/// Stores all of them.
pub fn fill(cache: &Cache, paths: &[String], body: usize) {
    paths.iter().for_each(|p| put(cache, p, body));
}

/// Stores one page.
pub fn put(cache: &Cache, path: &str, body: usize) {
    cache.put(path, None, page(body), cache.started()).expect("a page is stored");
}

/// Not zeros, which the allocator would give without memory behind them.
fn page(body: usize) -> PageResult {
    PageResult::new(vec![b'x'; body])
}

/// Asks for a page that must be there in this state; the length of its body.
#[inline]
pub fn get(cache: &Cache, path: &str, expected: CacheWord) -> usize {
    let answer = cache.get(&Request::new(path)).expect("a stored page");
    assert_eq!(answer.cache(), expected, "{path}");
    answer.page().body().len()
}

/// Indices in Zipf order with exponent 0.99, the same on every run.
pub fn zipf(n: usize, count: usize) -> Vec<u32> {
    let mut cumulated: Vec<f64> = Vec::with_capacity(n);
    let mut sum = 0.0;
    for rank in 1..=n {
        sum += (rank as f64).powf(-0.99);
        cumulated.push(sum);
    }
    let mut random = fastrand::Rng::with_seed(7);
    // Ranks are spread over the keys, so that hot pages are not neighbours.
    let mut keys: Vec<u32> = (0..n as u32).collect();
    random.shuffle(&mut keys);
    (0..count)
        .map(|_| {
            let at = random.f64() * sum;
            keys[cumulated.partition_point(|c| *c < at).min(n - 1)]
        })
        .collect()
}

/// Bytes that this process has in memory.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Bytes that the machine could still give.
pub fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("MemAvailable:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}
