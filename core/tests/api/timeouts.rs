//! Renders that hang: their waiters are answered, their threads replaced, their late results thrown away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

fn timeout(s: f64) -> RouteOptions {
    RouteOptions { timeout: Some(secs(s)), ..revalidate(60.0) }
}

#[test]
fn hung_renders_do_not_use_up_the_pool() {
    let (cache, clock) = open(|o| o.threads = 1);
    let gate = Gate::new();
    cache.add_route("/hung/[id]", timeout(5.0), gated(&gate)).unwrap();
    cache.add_route("/good/[id]", timeout(5.0), echo()).unwrap();
    for n in 1..=5 {
        let waiter = start_get(&cache, &format!("/hung/{n}"));
        gate.wait_for(n);
        clock.advance(secs(5.0));
        clock.advance(secs(0.001));
        fails(waiter.join(), Timeout, &[&format!("/hung/{n}"), "5"]);
        assert_eq!(told(get(&cache, &format!("/good/{n}"))).0, CacheWord::Miss);
    }
    assert_eq!(cache.stats().render_timeouts, 5);
    // Their results come now, and are thrown away.
    gate.open();
    settle(&cache);
    assert_eq!(cache.peek("/hung/1", None).unwrap().state(), State::Missing);
    assert_eq!(cache.activity().running, 0);
}

#[test]
fn it_takes_more_than_the_timeout() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", timeout(5.0), desk.renderer()).unwrap();
    let waiter = start_get(&cache, "/p");
    let job = desk.take();
    clock.advance(secs(5.0));
    assert!(!job.is_cancelled(), "at exactly 5 s it is in time");
    job.complete(PageResult::new("in time")).unwrap();
    assert_eq!(told(waiter.join()), (CacheWord::Miss, "in time".into()));
}

#[test]
fn the_job_learns_that_it_is_over() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p/[id]", timeout(5.0), desk.renderer()).unwrap();
    for finish in [
        (|job| job.complete(PageResult::new("late"))) as fn(RenderJob) -> Result<(), Error>,
        |job| job.fail(Error::render("late", None)),
    ] {
        let waiter = start_get(&cache, "/p/1");
        let job = desk.take();
        clock.advance(secs(5.001));
        fails(waiter.join(), Timeout, &[]);
        assert!(job.is_cancelled() && job.context().is_cancelled());
        fails(finish(job), Finished, &[]);
        clock.advance(secs(100.0));
    }
    assert_eq!(cache.peek("/p/1", None).unwrap().state(), State::Missing);
    assert_eq!(cache.stats().render_failures, 2);
}

#[test]
fn the_time_in_the_queue_does_not_count() {
    let (cache, clock) = open(|o| o.threads = 1);
    let gate = Gate::new();
    let patient = RouteOptions { timeout: Some(Lifetime::NEVER), ..revalidate(60.0) };
    cache.add_route("/held", patient, gated(&gate)).unwrap();
    cache.add_route("/queued", timeout(5.0), echo()).unwrap();
    let held = start_get(&cache, "/held");
    gate.wait_for(1);
    let queued = start_get(&cache, "/queued");
    eventually("one is queued", || cache.activity().queued == 1);
    clock.advance(secs(1000.0));
    gate.open();
    held.join().unwrap();
    assert_eq!(told(queued.join()).0, CacheWord::Miss);
}

#[test]
fn a_stale_page_stays_when_its_regeneration_hangs() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", timeout(5.0), desk.renderer()).unwrap();
    cache.put("/p", None, PageResult::new("good"), cache.started()).unwrap();
    clock.advance(secs(61.0));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Stale, "good".into()));
    let hung = desk.take();
    clock.advance(secs(5.001));
    fails(hung.complete(PageResult::new("late")), Finished, &[]);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Stale, "good".into()));
    assert_eq!(desk.len(), 0, "the back-off has not ended");
    // Expired, those who wait get the last good page when the time is over.
    clock.advance(secs(400.0));
    cache.revalidate_path(&["/p"], None).unwrap();
    let waiter = start_get(&cache, "/p");
    let hung = desk.take();
    clock.advance(secs(5.001));
    assert_eq!(told(waiter.join()), (CacheWord::StaleError, "good".into()));
    drop(hung);
    settle(&cache);
}

#[test]
fn finished_loads_of_a_hung_render_are_kept() {
    let (cache, clock) = open(|_| ());
    let (gate, loads_begun) = (Gate::new(), counter());
    let (at, begun) = (gate.clone(), loads_begun.clone());
    let renderer = page(move |job| {
        let begun = begun.clone();
        let loader: Arc<dyn Loader> = Arc::new(move |load: LoadJob| {
            begun.fetch_add(1, Ordering::SeqCst);
            let _ = load.complete(b"data".to_vec());
        });
        let read = job.data(&["k"], &DataOptions::default(), loader).unwrap();
        at.pass();
        PageResult::new(read.value())
    });
    cache.add_route("/p", timeout(5.0), renderer).unwrap();
    let waiter = start_get(&cache, "/p");
    gate.wait_for(1);
    clock.advance(secs(5.001));
    fails(waiter.join(), Timeout, &[]);
    gate.open();
    clock.advance(secs(100.0));
    assert_eq!(told(get(&cache, "/p")).1, "data");
    assert_eq!(value(&loads_begun), 1);
}

#[test]
fn a_render_that_waits_for_a_hung_one_gets_its_timeout() {
    let (cache, clock) = open(|o| o.threads = 1);
    let gate = Gate::new();
    let inner = cache.downgrade();
    let outer = Arc::new(move |job: RenderJob| {
        let _ = match inner.upgrade().unwrap().get(&Request::new("/inner")) {
            Ok(_) => job.complete(PageResult::new("impossible")),
            Err(error) => job.complete(PageResult::new(error.kind().name())),
        };
    });
    cache.add_route("/outer", timeout(50.0), outer).unwrap();
    cache.add_route("/inner", timeout(5.0), gated(&gate)).unwrap();
    let waiter = start_get(&cache, "/outer");
    gate.wait_for(1);
    clock.advance(secs(5.001));
    assert_eq!(told(waiter.join()), (CacheWord::Miss, "timeout".into()));
    gate.open();
    settle(&cache);
}

#[test]
fn regenerate_that_hangs_is_an_error_and_the_page_stays() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", timeout(5.0), desk.renderer()).unwrap();
    cache.put("/p", None, PageResult::new("good"), cache.started()).unwrap();
    let (done, outcome) = outcome();
    cache.regenerate_then(&Request::new("/p"), false, done);
    let hung = desk.take();
    clock.advance(secs(5.001));
    fails(outcome.join(), Timeout, &["/p"]);
    drop(hung);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "good".into()));
}

#[test]
fn time_runs_by_itself_on_the_systems_clock() {
    let cache = Cache::open(Options { threads: 1, ..Options::default() }).unwrap();
    let gate = Gate::new();
    cache.add_route("/hung", timeout(0.02), gated(&gate)).unwrap();
    cache.add_route("/good", timeout(60.0), echo()).unwrap();
    fails(get(&cache, "/hung"), Timeout, &["/hung"]);
    assert_eq!(told(get(&cache, "/good")).0, CacheWord::Miss);
    gate.open();
    settle(&cache);
}

/// How many renders run at once, found by holding as many as come.
fn seats(cache: &Cache, name: &str, asked: usize) -> usize {
    let gate = Gate::new();
    cache.add_route(&format!("/{name}/[id]"), timeout(1e6), gated(&gate)).unwrap();
    let gets: Vec<_> = (0..asked).map(|n| start_get(cache, &format!("/{name}/{n}"))).collect();
    eventually("the others are queued", || cache.activity().queued + gate.arrivals() == asked);
    let seats = gate.arrivals();
    gate.open();
    gets.into_iter().for_each(|g| _ = g.join().unwrap());
    seats
}

#[test]
fn seats_are_neither_lost_nor_doubled() {
    let (cache, clock) = open(|o| o.threads = 2);
    let gate = Gate::new();
    let inner = cache.downgrade();
    let outer = Arc::new(move |job: RenderJob| {
        let path = job.path().replace("outer", "inner");
        let _ = inner.upgrade().unwrap().get(&Request::new(&path));
        let _ = job.complete(PageResult::new("x"));
    });
    cache.add_route("/outer/[id]", timeout(5.0), outer).unwrap();
    cache.add_route("/inner/[id]", timeout(50.0), gated(&gate)).unwrap();
    cache.add_route("/short/[id]", timeout(5.0), gated(&gate)).unwrap();
    assert_eq!(seats(&cache, "before", 5), 2);

    // The outer ones are over while they wait for the inner ones, which hold both seats.
    let outers = [start_get(&cache, "/outer/1"), start_get(&cache, "/outer/2")];
    gate.wait_for(2);
    clock.advance(secs(5.001));
    for outer in outers {
        fails(outer.join(), Timeout, &[]);
    }
    // Then the inner ones, with none that wait any more.
    clock.advance(secs(50.0));
    assert_eq!(seats(&cache, "between", 5), 2);

    // An outer one that goes on after its inner one hung.
    let outer = start_get(&cache, "/outer/3");
    gate.wait_for(3);
    let short = start_get(&cache, "/short/1");
    gate.wait_for(4);
    gate.open();
    outer.join().unwrap();
    short.join().unwrap();
    settle(&cache);
    assert_eq!(seats(&cache, "after", 5), 2);
}
