//! Stampedes, storms and early refresh, in real time: who waits how long, how many render at once.
//!
//! `make bench-storm [ARGS=stampede|storm|early]`; all without a name. Nothing is asserted on times.

#![allow(clippy::disallowed_methods, reason = "a bench times what users see")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Condvar, Mutex};
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

/// All who wait for one cold page are answered soon after its render: how long after it, and how long the system alone takes to
/// wake as many threads.
fn stampede() {
    let (cache, renders) = open(Options::default(), RouteOptions::default(), RENDER);
    let (send, times) = channel();
    for _ in 0..WAITERS {
        let (send, asked) = (send.clone(), Instant::now());
        let done = move |answer: Result<_, _>| {
            answer.map(drop).expect("a page");
            send.send(asked.elapsed()).expect("a receiver");
        };
        cache.get_then(&Request::new("/p/1"), Box::new(done));
    }
    drop(send);
    let times: Vec<_> = times.iter().collect();
    let renders_of = |renders: &Renders| renders.all.load(Ordering::Relaxed);
    told("callbacks", renders_of(&renders), times);
    cache.close(Duration::from_secs(5));

    let (cache, renders) = open(Options::default(), RouteOptions::default(), RENDER);
    let asks = cache.clone();
    let times = crowd(move |_| drop(asks.get(&Request::new("/p/1")).expect("a page")), || ());
    told("threads that block", renders_of(&renders), times);
    cache.close(Duration::from_secs(5));

    type Slot = (Mutex<bool>, Condvar);
    let slots: Arc<Vec<Slot>> = Arc::new((0..WAITERS).map(|_| Slot::default()).collect());
    let waits = slots.clone();
    let wait = move |n: usize| {
        let (woken, changed) = &waits[n];
        drop(changed.wait_while(woken.lock().expect("a lock"), |woken| !*woken).expect("a lock"));
    };
    let times = crowd(wait, move || {
        thread::sleep(RENDER);
        for (woken, changed) in slots.iter() {
            *woken.lock().expect("a lock") = true;
            changed.notify_one();
        }
    });
    told("threads that the system alone wakes", 0, times);
}

/// How long each of many threads takes for `each`, begun together; `meanwhile` runs beside them.
fn crowd(
    each: impl Fn(usize) + Send + Sync + 'static,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Vec<Duration> {
    let each = Arc::new(each);
    let (start, end) = (Arc::new(Barrier::new(WAITERS + 1)), Arc::new(Barrier::new(WAITERS + 1)));
    let (send, times) = channel();
    for n in 0..WAITERS {
        let (each, send) = (each.clone(), send.clone());
        let (start, end) = (start.clone(), end.clone());
        let ask = move || {
            start.wait();
            let asked = Instant::now();
            each(n);
            send.send(asked.elapsed()).expect("a receiver");
            // What a thread's end costs is not what is measured.
            end.wait();
        };
        thread::Builder::new().stack_size(64 << 10).spawn(ask).expect("a thread");
    }
    drop(send);
    start.wait();
    thread::spawn(meanwhile);
    let times = times.iter().take(WAITERS).collect();
    end.wait();
    times
}

fn told(how: &str, renders: usize, times: Vec<Duration>) {
    let last = times.iter().max().map_or(0.0, Duration::as_secs_f64) / RENDER.as_secs_f64();
    let times = quantiles(times);
    println!(
        "stampede, {WAITERS} {how}: {renders} renders; {times}, {last:.3} of the render's time"
    );
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
