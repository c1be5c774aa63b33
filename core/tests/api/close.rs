//! Closing: new calls are refused, queued renders fail, running ones may finish in time, hung ones are given up.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

/// A deadline that no passing test comes near.
const LONG: Duration = PATIENCE;
/// For what will not end anyhow.
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn an_idle_cache_closes_at_once_and_again() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    get(&cache, "/p").unwrap();
    assert!(!cache.is_closed());
    assert!(cache.close(LONG));
    assert!(cache.is_closed());
    assert!(cache.close(LONG));
    assert!(cache.close(Duration::ZERO));
}

#[test]
fn a_cache_that_never_rendered_closes() {
    let (cache, _) = open(|_| ());
    assert!(cache.close(Duration::ZERO));
}

#[test]
fn every_call_is_refused_afterwards() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    get(&cache, "/p").unwrap();
    let clone = cache.clone();
    cache.close(LONG);
    assert!(clone.is_closed());
    let request = Request::new("/p");
    fails(clone.get(&request), Closed, &["closed"]);
    fails(clone.try_get(&request), Closed, &[]);
    fails(clone.peek("/p", None), Closed, &[]);
    fails(clone.put("/p", None, PageResult::new("x"), clone.started()), Closed, &[]);
    fails(clone.regenerate(&request, false), Closed, &[]);
    fails(clone.prerender(None), Closed, &[]);
    fails(clone.add_route("/q", RouteOptions::default(), echo()), Closed, &[]);
    fails(clone.data(None, &["k"], &DataOptions::default(), loads("v")), Closed, &[]);
    let (done, got) = outcome();
    clone.get_then(&request, done);
    fails(got.join(), Closed, &[]);
    let (done, got) = outcome();
    clone.regenerate_then(&request, true, done);
    fails(got.join(), Closed, &[]);
    let (done, got) = outcome();
    clone.prerender_then(None, done);
    fails(got.join(), Closed, &[]);
    let (done, got) = outcome();
    clone.data_then(None, &["k"], &DataOptions::default(), loads("v"), done);
    fails(got.join(), Closed, &[]);
    // What only tells still tells.
    assert_eq!(clone.stats().renders, 1);
    assert_eq!(clone.activity().running, 0);
}

#[test]
fn queued_renders_fail_and_running_ones_finish() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    cache.add_route("/p/[id]", revalidate(60.0), gated(&gate)).unwrap();
    let running = start_get(&cache, "/p/running");
    gate.wait_for(1);
    let queued = start_get(&cache, "/p/queued");
    eventually("one is queued", || cache.activity().queued == 1);
    let (done, by_callback) = outcome();
    cache.get_then(&Request::new("/p/queued2"), done);

    let closing = cache.clone();
    let closed = spawn(move || closing.close(LONG));
    fails(queued.join(), Closed, &[]);
    fails(by_callback.join(), Closed, &[]);
    fails(get(&cache, "/p/new"), Closed, &[]);
    gate.open();
    assert_eq!(told(running.join()), (CacheWord::Miss, "/p/running".into()));
    assert!(closed.join(), "all ended in time");
    assert_eq!(gate.arrivals(), 1);
}

#[test]
fn what_hangs_is_given_up() {
    let (cache, _) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let waiter = start_get(&cache, "/p/1");
    let job = desk.take();
    let context = job.context();
    assert!(!cache.close(SHORT), "it did not end in time");
    fails(waiter.join(), Closed, &[]);
    assert!(job.is_cancelled() && context.is_cancelled());
    fails(job.complete(PageResult::new("late")), Finished, &[]);
    cache.close(SHORT);
}

#[test]
fn a_blocked_thread_does_not_hold_up_closing_or_the_last_drop() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    cache.add_route("/p/[id]", revalidate(60.0), gated(&gate)).unwrap();
    let waiter = start_get(&cache, "/p/1");
    gate.wait_for(1);
    let closing = cache.clone();
    assert!(!spawn(move || closing.close(SHORT)).join());
    fails(waiter.join(), Closed, &[]);
    spawn(move || drop(cache)).join();
    // The thread is still there, and ends in peace.
    gate.open();
}

#[test]
fn two_may_close_at_once() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let waiter = start_get(&cache, "/p");
    gate.wait_for(1);
    let closing: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            spawn(move || cache.close(LONG))
        })
        .collect();
    eventually("it is closed", || cache.is_closed());
    gate.open();
    waiter.join().unwrap();
    for closed in closing {
        assert!(closed.join());
    }
}

#[test]
fn the_last_handle_closes() {
    let (cache, _) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", revalidate(60.0), desk.renderer()).unwrap();
    let (done, answer) = outcome();
    cache.get_then(&Request::new("/p"), done);
    let job = desk.take();
    let clone = cache.clone();
    drop(cache);
    assert!(!job.is_cancelled(), "one handle is left");
    spawn(move || drop(clone)).join();
    fails(answer.join(), Closed, &[]);
    assert!(job.is_cancelled());
    fails(job.complete(PageResult::new("x")), Finished, &[]);
}

#[test]
fn a_weak_cache_does_not_keep_it_open() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    let weak = cache.downgrade();
    assert_eq!(told(get(&weak.upgrade().unwrap(), "/p")).0, CacheWord::Miss);
    drop(cache);
    assert!(weak.upgrade().is_none());
    assert!(weak.clone().upgrade().is_none());
}

#[test]
fn a_weak_cache_gives_a_closed_one_while_a_handle_is_left() {
    let (cache, _) = open(|_| ());
    let weak = cache.downgrade();
    cache.close(LONG);
    assert!(weak.upgrade().is_some_and(|c| c.is_closed()));
}

#[test]
fn the_last_handle_may_go_inside_a_render() {
    let (cache, _) = open(|o| o.threads = 1);
    let held: Arc<Mutex<Option<Cache>>> = Arc::new(Mutex::new(Some(cache.clone())));
    let gate = Gate::new();
    let (mine, at) = (held.clone(), gate.clone());
    let renderer = move |job: RenderJob| {
        at.pass();
        drop(mine.lock().unwrap().take());
        let _ = job.complete(PageResult::new("x"));
    };
    cache.add_route("/p", revalidate(60.0), Arc::new(renderer)).unwrap();
    let weak = cache.downgrade();
    let (done, answer) = outcome();
    cache.get_then(&Request::new("/p"), done);
    gate.wait_for(1);
    drop(cache);
    gate.open();
    // Whichever it is, the waiter is told, and the thread ends.
    let _ = answer.join();
    assert!(weak.upgrade().is_none());
}

#[test]
fn the_last_handle_may_go_inside_a_completion_callback() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let weak = cache.downgrade();
    let (told, ended) = outcome::<bool>();
    let last = cache.clone();
    cache.get_then(
        &Request::new("/p"),
        Box::new(move |answer| {
            drop(last);
            told(answer.is_ok());
        }),
    );
    gate.wait_for(1);
    drop(cache);
    gate.open();
    assert!(ended.join());
    assert!(weak.upgrade().is_none());
}

/// Lets a test see when the callback's own data is freed.
struct Witness(Arc<()>);

impl Renderer for Witness {
    fn render(&self, job: RenderJob) {
        let _alive = &self.0;
        let _ = job.complete(PageResult::new("x"));
    }
}

#[test]
fn renderers_are_freed_with_the_cache() {
    let (cache, _) = open(|_| ());
    let data = Arc::new(());
    let freed: Weak<()> = Arc::downgrade(&data);
    cache.add_route("/p", revalidate(60.0), Arc::new(Witness(data.clone()))).unwrap();
    // Also that of a route that was refused.
    fails(cache.add_route("/p", revalidate(60.0), Arc::new(Witness(data))), Conflict, &[]);
    let answer = get(&cache, "/p").unwrap();
    drop(cache);
    eventually("the renderers are freed", || freed.upgrade().is_none());
    assert_eq!(answer.page().body(), b"x", "an answer outlives its cache");
}

#[test]
fn a_pending_prerender_ends() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    let ids = ["a", "b", "c"].map(|id| Params::from([("id".into(), ParamValue::One(id.into()))]));
    let options = RouteOptions { static_params: ids.to_vec(), ..revalidate(60.0) };
    cache.add_route("/p/[id]", options, gated(&gate)).unwrap();
    let (done, report) = outcome();
    cache.prerender_then(None, done);
    gate.wait_for(1);
    let closing = cache.clone();
    let closed = spawn(move || closing.close(LONG));
    eventually("it is closed", || cache.is_closed());
    gate.open();
    assert!(closed.join());
    // Told exactly once: refused, or with the paths that failed.
    match report.join() {
        Ok(report) => assert_eq!(report.rendered + report.failed.len(), 3),
        Err(error) => assert_eq!(error.kind(), Closed),
    }
    assert_eq!(gate.arrivals(), 1);
}

#[test]
fn a_pending_load_ends() {
    let (cache, _) = open(|_| ());
    let slot: Arc<Mutex<Option<LoadJob>>> = Arc::default();
    let leave = slot.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| *leave.lock().unwrap() = Some(job));
    let (done, first) = outcome();
    cache.data_then(None, &["k"], &DataOptions::default(), loader.clone(), done);
    let (done, second) = outcome();
    cache.data_then(None, &["k"], &DataOptions::default(), loader, done);
    cache.close(SHORT);
    fails(first.join(), Closed, &[]);
    fails(second.join(), Closed, &[]);
    let job = slot.lock().unwrap().take().unwrap();
    fails(job.complete(b"late".to_vec()), Finished, &[]);
}

#[test]
fn inside_a_callback_it_waits_for_nothing() {
    let (cache, _) = open(|_| ());
    let inner = cache.downgrade();
    let renderer = page(move |_| {
        let ended = inner.upgrade().unwrap().close(LONG);
        PageResult::new(ended.to_string())
    });
    cache.add_route("/p", revalidate(60.0), renderer).unwrap();
    fails(get(&cache, "/p"), Closed, &[]);
    assert!(cache.is_closed());

    let (cache, _) = open(|_| ());
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    let (done, got) = outcome();
    let inner = cache.clone();
    let close_first = Box::new(move |answer: Result<Answer, Error>| {
        inner.close(LONG);
        done(answer);
    });
    cache.get_then(&Request::new("/p"), close_first);
    assert_eq!(told(got.join()).1, "/p");
}

#[test]
fn what_is_stored_goes_and_what_is_held_stays() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let held = get(&cache, "/p/1").unwrap();
    get(&cache, "/p/2").unwrap();
    assert_eq!(cache.stats().entries_stored, 2);
    cache.close(LONG);
    let stats = cache.stats();
    assert_eq!((stats.entries_stored, stats.bytes_stored), (0, 0));
    assert_eq!(held.page().body(), b"/p/1");
}
