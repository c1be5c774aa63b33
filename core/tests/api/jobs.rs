//! A job is finished exactly once: inside the callback, later, from any thread; or it is a failure.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

#[test]
fn completed_on_another_thread_after_the_callback_returned() {
    let (cache, _) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let answer = start_get(&cache, "/p/1");
    let job = desk.take();
    assert!(!job.is_cancelled());
    spawn(move || job.complete(PageResult::new("late"))).join().unwrap();
    assert_eq!(told(answer.join()), (CacheWord::Miss, "late".into()));
    assert_eq!(told(get(&cache, "/p/1")), (CacheWord::Hit, "late".into()));
}

#[test]
fn dropped_unfinished_is_a_failure() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    cache.add_route("/now", revalidate(60.0), Arc::new(|_: RenderJob| ())).unwrap();
    fails(get(&cache, "/now"), Render, &["without a result"]);

    let answer = start_get(&cache, "/p/1");
    drop(desk.take());
    fails(answer.join(), Render, &["without a result"]);

    // A stored page stays.
    cache.put("/p/2", None, PageResult::new("good"), cache.started()).unwrap();
    clock.advance(secs(61.0));
    assert_eq!(told(get(&cache, "/p/2")).0, CacheWord::Stale);
    let job = desk.take();
    assert_eq!(job.reason(), Reason::Stale);
    spawn(move || drop(job)).join();
    settle(&cache);
    assert_eq!(told(get(&cache, "/p/2")), (CacheWord::Stale, "good".into()));
    assert_eq!(cache.stats().render_failures, 3);
}

#[test]
fn failed_with_the_hosts_own_error_as_cause() {
    let (cache, _) = open(|_| ());
    let renderer = |job: RenderJob| {
        let _ = job.fail(Error::render("boom", Some(Arc::new(42_u32))));
    };
    cache.add_route("/p", revalidate(60.0), Arc::new(renderer)).unwrap();
    let first = fails(get(&cache, "/p"), Render, &["boom"]);
    assert_eq!(first.cause().and_then(|c| c.downcast_ref::<u32>()), Some(&42));
    let second = fails(get(&cache, "/p"), Render, &["boom"]);
    assert!(second.cause().is_none(), "a back-off does not keep what a callback attached alive");
    assert_eq!(cache.stats().renders, 1, "the second got the error of the first");
}

#[test]
fn a_panic_in_a_render_is_a_failure_and_the_thread_goes_on() {
    let (cache, _) = open(|o| o.threads = 1);
    let renderer = |job: RenderJob| match job.path() {
        "/p/str" => panic!("went wrong"),
        "/p/string" => panic!("went wrong with {}", 42),
        "/p/other" => std::panic::panic_any(42_u8),
        path => {
            let page = PageResult::new(path);
            let _ = job.complete(page);
        }
    };
    cache.add_route("/p/[id]", revalidate(60.0), Arc::new(renderer)).unwrap();
    fails(get(&cache, "/p/str"), Render, &["went wrong"]);
    fails(get(&cache, "/p/string"), Render, &["went wrong with 42"]);
    fails(get(&cache, "/p/other"), Render, &["panic"]);
    assert_eq!(told(get(&cache, "/p/good")), (CacheWord::Miss, "/p/good".into()));
    settle(&cache);
    assert_eq!(cache.activity().running, 0);
}

#[test]
fn a_panic_after_the_job_was_finished_changes_nothing() {
    let (cache, _) = open(|o| o.threads = 1);
    let renderer = |job: RenderJob| {
        let _ = job.complete(PageResult::new("done"));
        panic!("too late to matter");
    };
    cache.add_route("/p/[id]", revalidate(60.0), Arc::new(renderer)).unwrap();
    for path in ["/p/1", "/p/2"] {
        assert_eq!(told(get(&cache, path)), (CacheWord::Miss, "done".into()));
    }
    settle(&cache);
}

#[test]
fn loads_that_panic_or_are_dropped_are_failures() {
    let (cache, _) = open(|_| ());
    let panics: Arc<dyn Loader> = Arc::new(|_: LoadJob| panic!("no data"));
    let drops: Arc<dyn Loader> = Arc::new(|_: LoadJob| ());
    let read = |loader: &Arc<dyn Loader>| {
        let (cache, loader) = (cache.clone(), loader.clone());
        spawn(move || cache.data(None, &["k"], &DataOptions::default(), loader)).join()
    };
    fails(read(&panics), Render, &["no data"]);
    fails(read(&drops), Render, &["k"]);
    // Errors are not stored.
    assert_eq!(read(&loads("v")).unwrap().cache(), CacheWord::Miss);
    assert_eq!(read(&panics).unwrap().value(), b"v");

    // Inside a render the failure is the render's, unless it is handled.
    let loader = panics.clone();
    let renderer = move |job: RenderJob| {
        let read = job.data(&["inner"], &DataOptions::default(), loader.clone());
        let _ = match (read, job.path()) {
            (Err(error), "/p/fails") => job.fail(error),
            _ => job.complete(PageResult::new("handled")),
        };
    };
    cache.add_route("/p/[id]", revalidate(60.0), Arc::new(renderer)).unwrap();
    fails(get(&cache, "/p/fails"), Render, &["no data"]);
    assert_eq!(told(get(&cache, "/p/handles")), (CacheWord::Miss, "handled".into()));
}

#[test]
fn a_load_is_finished_later_from_another_thread() {
    let (cache, _) = open(|_| ());
    let slot: Arc<Mutex<Option<LoadJob>>> = Arc::default();
    let leave = slot.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| *leave.lock().unwrap() = Some(job));
    let (done, answer) = outcome();
    cache.data_then(None, &["a", "b"], &DataOptions::default(), loader, done);
    let job = slot.lock().unwrap().take().unwrap();
    assert_eq!(job.key(), ["a", "b"]);
    spawn(move || job.complete(b"late".to_vec())).join().unwrap();
    let got = answer.join().unwrap();
    assert_eq!((got.value(), got.cache()), (&b"late"[..], CacheWord::Miss));
}

#[test]
fn a_job_tells_what_is_asked_for() {
    let (cache, clock) = open(|_| ());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let renderer = page(move |job| {
        let previous = job.previous().map(|p| String::from_utf8_lossy(p.body()).into_owned());
        let variant: Vec<_> =
            job.variant().iter().map(|(n, v)| format!("{n}={}", v.join("+"))).collect();
        let mut log = log.lock().unwrap();
        log.push(format!(
            "{} {} {:?} {} {} {} {}",
            job.path(),
            job.pattern(),
            job.params().get("id"),
            variant.join("&"),
            job.reason().name(),
            previous.as_deref().unwrap_or("-"),
            job.is_draft(),
        ));
        PageResult::new(log.len().to_string())
    });
    let params = Params::from([("id".to_string(), ParamValue::One("s".into()))]);
    let options = RouteOptions {
        expire: Some(secs(100.0)),
        query: vec!["q".into()],
        static_params: vec![params],
        ..revalidate(60.0)
    };
    cache.add_route("/p/[id]", options, renderer).unwrap();
    let last = |cache: &Cache| {
        settle(cache);
        seen.lock().unwrap().last().cloned().unwrap_or_default()
    };

    let path = "/p/x%2Fy/?q=b&z=1&q=a";
    let mut variant = Variant::new();
    variant.set("lang", "de");
    let request = Request { variant: Some(&variant), ..Request::new(path) };
    let about = "/p/x%2Fy /p/[id] Some(One(\"x/y\")) lang=de&q=b+a";
    cache.get(&request).unwrap();
    assert_eq!(last(&cache), format!("{about} miss - false"));
    clock.advance(secs(61.0));
    cache.get(&request).unwrap();
    assert_eq!(last(&cache), format!("{about} stale 1 false"));
    clock.advance(secs(101.0));
    cache.get(&request).unwrap();
    assert_eq!(last(&cache), format!("{about} expired 2 false"));
    cache.regenerate(&request, true).unwrap().unwrap();
    assert_eq!(last(&cache), format!("{about} regenerate 3 false"));
    cache.get(&Request { draft: true, ..request }).unwrap();
    assert!(last(&cache).starts_with(&format!("{about} miss")), "{}", last(&cache));
    assert!(last(&cache).ends_with("true"));
    cache.prerender(None).unwrap();
    assert_eq!(last(&cache), "/p/s /p/[id] Some(One(\"s\"))  prerender - false");
}

#[test]
fn a_job_holds_its_place_until_it_is_finished() {
    let (cache, _) = open(|o| o.threads = 1);
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let first = start_get(&cache, "/p/1");
    let job = desk.take();
    let second = start_get(&cache, "/p/2");
    eventually("the second is queued", || cache.activity().queued == 1);
    assert_eq!((desk.len(), cache.stats().renders), (0, 1));
    job.complete(PageResult::new("1")).unwrap();
    first.join().unwrap();
    desk.take().complete(PageResult::new("2")).unwrap();
    second.join().unwrap();
}

#[test]
fn whoever_waits_comes_before_the_background() {
    let (cache, clock) = open(|o| o.threads = 1);
    let gate = Gate::new();
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, at) = (order.clone(), gate.clone());
    let renderer = page(move |job| {
        if job.path() == "/p/held" {
            at.pass();
        } else {
            log.lock().unwrap().push(job.path().to_string());
        }
        PageResult::new("x")
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    cache.put("/p/stale", None, PageResult::new("old"), cache.started()).unwrap();
    clock.advance(secs(61.0));
    let held = start_get(&cache, "/p/held");
    gate.wait_for(1);
    assert_eq!(told(get(&cache, "/p/stale")).0, CacheWord::Stale);
    eventually("one is queued", || cache.activity().queued == 1);
    let waiter = start_get(&cache, "/p/missing");
    eventually("two are queued", || cache.activity().queued == 2);
    gate.open();
    held.join().unwrap();
    waiter.join().unwrap();
    settle(&cache);
    assert_eq!(*order.lock().unwrap(), ["/p/missing", "/p/stale"]);
}

#[test]
fn callbacks_hold_no_lock() {
    // Everything that a callback may call, from inside one.
    let (cache, _) = open(|o| o.threads = 1);
    let calls = counter();
    let (inner, seen) = (cache.downgrade(), calls.clone());
    let renderer = page(move |job| {
        let cache = inner.upgrade().unwrap();
        cache.revalidate_tag(&["t"], TagOptions::default()).unwrap();
        cache.revalidate_path(&["/other"], None).unwrap();
        cache.remove(&["/other"]).unwrap();
        cache.peek(job.path(), None).unwrap();
        cache.put("/other", None, PageResult::new("put"), cache.started()).unwrap();
        cache.add_route(&format!("/added{}", job.path()), RouteOptions::default(), echo()).unwrap();
        cache.draft_token(secs(1.0)).unwrap();
        cache.stats();
        cache.activity();
        seen.fetch_add(1, Ordering::SeqCst);
        PageResult::new("done")
    });
    cache.add_route("/other", RouteOptions::default(), echo()).unwrap();
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    get(&cache, "/p/1").unwrap();
    assert_eq!(value(&calls), 1);
    assert_eq!(told(get(&cache, "/other")), (CacheWord::Hit, "put".into()));
    assert_eq!(told(get(&cache, "/added/p/1")).0, CacheWord::Miss);
}

#[test]
fn a_completion_callback_may_ask_again() {
    let (cache, _) = open(|o| o.threads = 1);
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let (done, answer) = outcome();
    let inner = cache.clone();
    cache.get_then(
        &Request::new("/p/1"),
        Box::new(move |first| {
            let first = told(first);
            // The page that it was told of is stored by now, and another one is rendered.
            let again = told(inner.get(&Request::new("/p/1")));
            done((first, again, told(inner.get(&Request::new("/p/2")))));
        }),
    );
    let told = |word, body: &str| (word, body.to_string());
    let (miss, hit) = (CacheWord::Miss, CacheWord::Hit);
    assert_eq!(answer.join(), (told(miss, "/p/1"), told(hit, "/p/1"), told(miss, "/p/2")));
}

#[test]
fn a_completion_callback_that_panics_is_nobody_elses_trouble() {
    let (cache, _) = open(|o| o.threads = 1);
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    cache.get_then(&Request::new("/p"), Box::new(|_| panic!("not my day")));
    let (done, answer) = outcome();
    cache.get_then(&Request::new("/p"), done);
    gate.open();
    assert_eq!(told(answer.join()), (CacheWord::Miss, "/p".into()));
    settle(&cache);
}

#[test]
fn a_job_that_is_finished_later_asks_for_another_page_without_blocking() {
    let (cache, _) = open(|o| o.threads = 1);
    let inner = cache.downgrade();
    let outer = move |job: RenderJob| {
        let context = job.context();
        let request = Request { within: Some(&context), ..Request::new("/inner") };
        inner.upgrade().unwrap().get_then(
            &request,
            Box::new(move |answer| {
                let page = PageResult::new(format!("outer with {}", told(answer).1));
                let _ = job.complete(page);
            }),
        );
    };
    cache.add_route("/outer", revalidate(60.0), Arc::new(outer)).unwrap();
    cache.add_route("/inner", revalidate(60.0), echo()).unwrap();
    assert_eq!(told(get(&cache, "/outer")), (CacheWord::Miss, "outer with /inner".into()));
    settle(&cache);
}
