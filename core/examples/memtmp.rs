use isr_core::*;
use std::sync::Arc;
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap();
    s.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let body: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let cache = Cache::open(Options { max_bytes: 1 << 34, ..Options::default() }).unwrap();
    cache
        .add_route(
            "/blog/[id]",
            RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() },
            Arc::new(|job: RenderJob| drop(job.complete(PageResult::new("x")))),
        )
        .unwrap();
    let before = rss();
    let mut payload = 0;
    for i in 0..n {
        let p = format!("/blog/{i}");
        payload += p.len() + body + 12 + 24;
        cache
            .put(
                &p,
                None,
                PageResult::new(vec![1; body]).header("content-type", "text/html; charset=utf"),
                cache.started(),
            )
            .unwrap();
    }
    let after = rss();
    println!(
        "per page: rss {} stored {} payload {}",
        (after - before) / n as u64,
        cache.stats().bytes_stored / n as u64,
        payload / n
    );
    println!(
        "own cost: rss {} stored {}",
        ((after - before) as i64 - payload as i64) / n as i64,
        (cache.stats().bytes_stored as i64 - payload as i64) / n as i64
    );
}
