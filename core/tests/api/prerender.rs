//! Rendering ahead: every listed path once, with progress, whatever fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

fn listed(ids: impl IntoIterator<Item = String>) -> RouteOptions {
    let params = |id| Params::from([("id".to_string(), ParamValue::One(id))]);
    RouteOptions { static_params: ids.into_iter().map(params).collect(), ..revalidate(60.0) }
}

fn numbers(n: usize) -> RouteOptions {
    listed((0..n).map(|i| i.to_string()))
}

#[test]
fn progress_is_told_one_call_at_a_time() {
    let (cache, _) = open(|o| o.threads = 4);
    let renderer = |job: RenderJob| {
        let _ = match job.path() {
            "/p/3" | "/p/7" => job.fail(Error::render("cannot", None)),
            path => {
                let page = PageResult::new(path);
                job.complete(page)
            }
        };
    };
    cache.add_route("/p/[id]", numbers(20), Arc::new(renderer)).unwrap();
    cache.put("/p/5", None, PageResult::new("there"), cache.started()).unwrap();

    let calls: Arc<Mutex<Vec<PrerenderProgress>>> = Arc::default();
    let (log, busy) = (calls.clone(), AtomicBool::new(false));
    let on_progress: OnProgress = Arc::new(move |p| {
        assert!(!busy.swap(true, Ordering::SeqCst), "two calls at once");
        log.lock().unwrap().push(p.clone());
        busy.store(false, Ordering::SeqCst);
    });
    let report = cache.prerender(Some(on_progress)).unwrap();
    assert_eq!((report.rendered, report.skipped), (17, 1));
    let mut failed: Vec<_> =
        report.failed.iter().map(|(path, e)| (path.as_str(), e.kind())).collect();
    failed.sort_unstable_by_key(|f| f.0);
    assert_eq!(failed, [("/p/3", Render), ("/p/7", Render)]);
    assert!(report.failed[0].1.message().contains("cannot"));

    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 20, "one call for each path");
    for (n, call) in calls.iter().enumerate() {
        assert_eq!(call.total, 20);
        assert_eq!(call.done + call.failed + call.skipped, n + 1);
    }
    let mut paths: Vec<_> = calls.iter().map(|c| c.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 20);
    // 17 that succeed at once, and two with three more attempts each.
    assert_eq!(cache.stats().renders, 17 + 2 * 4);
    assert_eq!(told(get(&cache, "/p/5")), (CacheWord::Hit, "there".into()));
}

#[test]
fn what_is_fresh_is_skipped_and_what_is_not_is_rendered() {
    let (cache, clock) = open(|_| ());
    cache.add_route("/p/[id]", numbers(5), echo()).unwrap();
    cache.add_route("/static", revalidate(60.0), echo()).unwrap();
    let run = || {
        let report = cache.prerender(None).unwrap();
        (report.rendered, report.skipped, report.failed.len())
    };
    assert_eq!(run(), (6, 0, 0));
    assert_eq!(run(), (0, 6, 0));
    cache.revalidate_path(&["/p/2"], None).unwrap();
    assert_eq!(run(), (1, 5, 0));
    clock.advance(secs(61.0));
    assert_eq!(run(), (6, 0, 0));
}

#[test]
fn it_waits_for_room_in_the_queue() {
    let (cache, _) = open(|o| {
        o.threads = 1;
        o.max_queue = 1;
    });
    cache.add_route("/p/[id]", numbers(50), echo()).unwrap();
    let report = cache.prerender(None).unwrap();
    assert_eq!((report.rendered, report.failed.len()), (50, 0));
}

#[test]
fn a_second_attempt_may_succeed() {
    let (cache, _) = open(|_| ());
    let attempts = counter();
    let count = attempts.clone();
    let renderer = move |job: RenderJob| {
        let _ = match count.fetch_add(1, Ordering::SeqCst) {
            0..=2 => job.fail(Error::render("not yet", None)),
            _ => job.complete(PageResult::new("at last")),
        };
    };
    cache.add_route("/p/[id]", numbers(1), Arc::new(renderer)).unwrap();
    let report = cache.prerender(None).unwrap();
    assert_eq!((report.rendered, report.failed.len(), value(&attempts)), (1, 0, 4));
    assert_eq!(told(get(&cache, "/p/0")), (CacheWord::Hit, "at last".into()));
}

#[test]
fn nothing_to_do() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let report = cache.prerender(None).unwrap();
    assert_eq!((report.rendered, report.skipped, report.failed.len()), (0, 0, 0));
    let (done, report) = outcome();
    cache.prerender_then(None, done);
    assert_eq!(report.join().unwrap().rendered, 0);
}

#[test]
fn it_does_not_block_and_requests_come_first() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, at) = (order.clone(), gate.clone());
    let renderer = page(move |job| {
        log.lock().unwrap().push(job.path().to_string());
        at.pass();
        PageResult::new("x")
    });
    cache.add_route("/p/[id]", numbers(10), renderer).unwrap();
    let (done, report) = outcome();
    cache.prerender_then(None, done);
    gate.wait_for(1);
    let before = cache.activity().queued;
    let waiter = start_get(&cache, "/p/asked");
    eventually("the request is queued", || cache.activity().queued > before);
    gate.open();
    waiter.join().unwrap();
    assert_eq!(report.join().unwrap().rendered, 10);
    assert_eq!(order.lock().unwrap()[1], "/p/asked");
}

#[test]
fn a_progress_callback_that_panics_stops_nothing() {
    let (cache, _) = open(|o| o.threads = 2);
    cache.add_route("/p/[id]", numbers(5), echo()).unwrap();
    let on_progress: OnProgress = Arc::new(|_| panic!("no more news"));
    let prerendering = cache.clone();
    let report = spawn(move || prerendering.prerender(Some(on_progress))).join().unwrap();
    assert_eq!(report.rendered, 5);
    assert_eq!(told(get(&cache, "/p/1")).0, CacheWord::Hit);
}

#[test]
fn inside_a_render_it_does_not_dead_lock() {
    let (cache, _) = open(|o| o.threads = 1);
    let inner = cache.downgrade();
    let renderer = page(move |_| {
        let report = inner.upgrade().unwrap().prerender(None);
        PageResult::new(report.map_or_else(|e| e.kind().name().into(), |r| r.rendered.to_string()))
    });
    cache.add_route("/p/[id]", numbers(3), echo()).unwrap();
    cache.add_route("/all/[id]", revalidate(60.0), renderer).unwrap();
    assert_eq!(told(get(&cache, "/all/1")).1, "3");
}

#[test]
fn closing_in_the_wait_for_another_attempt_ends_it() {
    let cache = Cache::open(Options::default()).unwrap();
    let tried = counter();
    let trying = tried.clone();
    let renderer = move |job: RenderJob| {
        let _ = job.fail(Error::render("cannot", None));
        trying.fetch_add(1, Ordering::SeqCst);
    };
    cache.add_route("/p/[id]", numbers(2), Arc::new(renderer)).unwrap();
    let asking = cache.clone();
    let report = spawn(move || asking.prerender(None));
    eventually("both were tried", || value(&tried) == 2);
    cache.close(PATIENCE);
    let failed = report.join().unwrap().failed;
    assert_eq!(failed.len(), 2);
}
