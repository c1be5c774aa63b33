//! Stampedes, storms and early refresh, in real time: who waits how long, how many render at once.
//!
//! `cargo bench -p libisr-core --bench storm [-- stampede|storm|early]`; all without a name. Nothing is asserted on times.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use isr_core::{
    Cache, CacheWord, Lifetime, Options, PageResult, RenderJob, Request, RouteOptions, TagOptions,
};

const WAITERS: usize = 10_000;
const RENDER: Duration = Duration::from_millis(300);
const BODY: usize = 10 * 1024;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let all: [(&str, fn()); 3] = [("stampede", stampede), ("storm", storm), ("early", early)];
    for (name, run) in all {
        if named.is_empty() || named.iter().any(|n| n == name) {
            run();
        }
    }
}

/// How many renders run, ran at once, and ran at all.
#[derive(Default)]
struct Renders {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

fn open(options: Options, route: RouteOptions, takes: Duration) -> (Cache, Arc<Renders>) {
    let renders: Arc<Renders> = Arc::default();
    let counted = renders.clone();
    let cache = Cache::open(options).expect("a cache");
    let render = move |job: RenderJob| {
        counted.all.fetch_add(1, Ordering::Relaxed);
        counted.most.fetch_max(counted.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        thread::sleep(takes);
        counted.now.fetch_sub(1, Ordering::Relaxed);
        let _ = job.complete(PageResult::new(vec![b'x'; BODY]));
    };
    cache.add_route("/p/[id]", route, Arc::new(render)).expect("a route");
    (cache, renders)
}

/// Quantiles of times, in milliseconds.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3}, p99 {:.3}, p100 {:.3} ms", at(0.5), at(0.99), at(1.0))
}

/// All who wait for one cold page are answered soon after its render.
fn stampede() {
    for by_thread in [false, true] {
        let (cache, renders) = open(Options::default(), RouteOptions::default(), RENDER);
        let (send, times) = channel();
        let start = Arc::new(Barrier::new(WAITERS + 1));
        let mut began = Instant::now();
        if by_thread {
            for _ in 0..WAITERS {
                let (cache, send, start) = (cache.clone(), send.clone(), start.clone());
                let wait = move || {
                    start.wait();
                    let asked = Instant::now();
                    cache.get(&Request::new("/p/1")).expect("a page");
                    send.send(asked.elapsed()).expect("a receiver");
                };
                thread::Builder::new().stack_size(64 << 10).spawn(wait).expect("a thread");
            }
            start.wait();
            began = Instant::now();
        } else {
            for _ in 0..WAITERS {
                let (send, asked) = (send.clone(), Instant::now());
                let done = move |answer: Result<_, _>| {
                    answer.map(drop).expect("a page");
                    send.send(asked.elapsed()).expect("a receiver");
                };
                cache.get_then(&Request::new("/p/1"), Box::new(done));
            }
        }
        drop(send);
        let times: Vec<_> = times.iter().collect();
        let all = began.elapsed();
        let how = if by_thread { "threads that block" } else { "callbacks" };
        println!(
            "stampede, {WAITERS} {how}: {} renders; {}; the last after {:.3} of the render's time",
            renders.all.load(Ordering::Relaxed),
            quantiles(times),
            all.as_secs_f64() / RENDER.as_secs_f64(),
        );
        cache.close(Duration::from_secs(5));
    }
}

/// 10,000 pages are stale together, under load: what hits of other pages notice, and how many render.
fn storm() {
    const PAGES: usize = 10_000;
    let route = RouteOptions { tags: vec!["all".into()], ..RouteOptions::default() };
    let (cache, renders) = open(Options::default(), route, Duration::from_millis(2));
    let put = |path: &str| {
        cache.put(path, None, PageResult::new(vec![b'x'; BODY]), cache.started()).expect("put")
    };
    (0..PAGES).for_each(|n| _ = put(&format!("/p/{n}")));
    let other = RouteOptions::default();
    let echo = |job: RenderJob| _ = job.complete(PageResult::new(vec![b'x'; BODY]));
    cache.add_route("/hot", other, Arc::new(echo)).expect("a route");
    cache.get(&Request::new("/hot")).expect("a page");
    let hits = |stop: &AtomicBool| {
        let mut times = Vec::with_capacity(1 << 22);
        while !stop.load(Ordering::Relaxed) && times.len() < times.capacity() {
            let asked = Instant::now();
            let answer = cache.get(&Request::new("/hot")).expect("a page");
            times.push(asked.elapsed());
            assert_eq!(answer.cache(), CacheWord::Hit);
        }
        quantiles(times)
    };
    let idle = AtomicBool::new(false);
    let before = thread::scope(|s| {
        let timer = s.spawn(|| hits(&idle));
        thread::sleep(Duration::from_millis(500));
        idle.store(true, Ordering::Relaxed);
        timer.join().expect("times")
    });
    cache.revalidate_tag(&["all"], TagOptions { soft: true, expire: None }).expect("a tag");
    let done = AtomicBool::new(false);
    let (mut queued, mut asked) = (0, 0);
    let began = Instant::now();
    let during = thread::scope(|s| {
        let timer = s.spawn(|| hits(&done));
        let mut left: Vec<_> = (0..PAGES).map(|n| format!("/p/{n}")).collect();
        while !left.is_empty() {
            left.retain(|path| {
                asked += 1;
                let answer = cache.get(&Request::new(path)).expect("a page");
                answer.cache() == CacheWord::Stale
            });
            queued = queued.max(cache.activity().queued);
            thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
        timer.join().expect("times")
    });
    println!(
        "storm, {PAGES} pages stale together: all fresh after {:.1} s and {asked} requests; {} renders, {} at once at most, {queued} \
         waited at most\n  hits before: {before}\n  hits during: {during}",
        began.elapsed().as_secs_f64(),
        renders.all.load(Ordering::Relaxed),
        renders.most.load(Ordering::Relaxed),
    );
    cache.close(Duration::from_secs(5));
}

/// A hot page that lives for a second and renders for 50 ms, asked for 500 times a second for 20 s.
fn early() {
    for beta in [0.0, 1.0] {
        let route = RouteOptions {
            revalidate: Some(Lifetime::from_secs(1)),
            early_refresh: Some(beta),
            ..RouteOptions::default()
        };
        let (cache, renders) = open(Options::default(), route, Duration::from_millis(50));
        cache.get(&Request::new("/p/1")).expect("a page");
        let (began, mut stale, mut asked) = (Instant::now(), 0, 0);
        while began.elapsed() < Duration::from_secs(20) {
            let answer = cache.get(&Request::new("/p/1")).expect("a page");
            asked += 1;
            stale += usize::from(answer.cache() != CacheWord::Hit);
            thread::sleep(Duration::from_millis(2));
        }
        println!(
            "early refresh, beta {beta}: {stale} of {asked} answers stale ({:.2} %), {} renders in 20 s",
            stale as f64 / asked as f64 * 100.0,
            renders.all.load(Ordering::Relaxed),
        );
        cache.close(Duration::from_secs(5));
    }
}
