//! Callbacks that ask the cache again: never a dead-lock, whatever the number of threads.

use std::sync::{Arc, Mutex};

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

/// A renderer that asks for the page that `next` names, and has its body after its own path.
fn chained(
    cache: &Cache,
    next: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Arc<dyn Renderer> {
    let cache = cache.downgrade();
    Arc::new(move |job: RenderJob| {
        let Some(next) = next(job.path()) else {
            let page = PageResult::new(job.path());
            let _ = job.complete(page);
            return;
        };
        let inner = cache.upgrade().unwrap().get(&Request::new(&next));
        let _ = match inner {
            Ok(answer) => {
                let page = PageResult::new(format!("{} {}", job.path(), body(&answer)));
                job.complete(page)
            }
            Err(error) => job.fail(error),
        };
    })
}

#[test]
fn asking_for_the_own_page_is_an_error_at_once() {
    let (cache, clock) = open(|o| o.threads = 1);
    let seen: Arc<Mutex<Vec<Error>>> = Arc::default();
    let (log, inner) = (seen.clone(), cache.downgrade());
    let renderer = page(move |job| {
        let cache = inner.upgrade().unwrap();
        let request = Request::new(job.path());
        let mut log = log.lock().unwrap();
        log.extend(cache.get(&request).err());
        log.extend(cache.regenerate(&request, false).err());
        let (done, answer) = outcome();
        cache.get_then(&request, done);
        log.extend(answer.join().err());
        PageResult::new("v")
    });
    let options = RouteOptions { expire: Some(secs(60.0)), ..revalidate(60.0) };
    cache.add_route("/p/[id]", options, renderer).unwrap();
    let check = || {
        let errors = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(errors.len(), 3, "get, regenerate and get_then");
        for error in errors {
            assert_eq!(error.kind(), InvalidArgument, "{error}");
            assert!(error.message().contains("/p/1"), "{error}");
        }
    };
    assert_eq!(told(get(&cache, "/p/1")).0, CacheWord::Miss);
    check();
    clock.advance(secs(61.0));
    assert_eq!(told(get(&cache, "/p/1")).0, CacheWord::Revalidated);
    check();
}

#[test]
fn another_variant_of_the_own_path_is_another_page() {
    let (cache, _) = open(|o| o.threads = 1);
    let inner = cache.downgrade();
    let renderer = page(move |job| {
        if !job.variant().is_empty() {
            return PageResult::new("variant");
        }
        let mut variant = Variant::new();
        variant.set("lang", "de");
        let request = Request { variant: Some(&variant), ..Request::new(job.path()) };
        let answer = inner.upgrade().unwrap().get(&request).unwrap();
        PageResult::new(format!("plain with {}", body(&answer)))
    });
    cache.add_route("/p", revalidate(60.0), renderer).unwrap();
    assert_eq!(told(get(&cache, "/p")).1, "plain with variant");
}

#[test]
fn another_page_is_rendered_although_all_threads_are_taken() {
    let (cache, _) = open(|o| o.threads = 1);
    let next = |path: &str| {
        let n: u32 = path.strip_prefix("/p/").and_then(|n| n.parse().ok()).unwrap_or(0);
        (n > 0).then(|| format!("/p/{}", n - 1))
    };
    cache.add_route("/p/[id]", revalidate(60.0), chained(&cache, next)).unwrap();
    assert_eq!(told(get(&cache, "/p/1")), (CacheWord::Miss, "/p/1 /p/0".into()));
    assert_eq!(told(get(&cache, "/p/20")).0, CacheWord::Miss);
    assert_eq!(cache.stats().renders, 21);
}

#[test]
fn many_nested_renders_at_once_do_not_dead_lock() {
    // Every thread is taken by a render that needs a page from another one.
    let (cache, _) = open(|o| o.threads = 2);
    let next = |path: &str| path.strip_prefix("/outer").map(|rest| format!("/inner{rest}"));
    cache.add_route("/outer/[id]", revalidate(60.0), chained(&cache, next)).unwrap();
    cache.add_route("/inner/[id]", revalidate(60.0), echo()).unwrap();
    let gets: Vec<_> = (0..32).map(|n| start_get(&cache, &format!("/outer/{n}"))).collect();
    for (n, answer) in gets.into_iter().enumerate() {
        assert_eq!(told(answer.join()).1, format!("/outer/{n} /inner/{n}"));
    }
}

#[test]
fn a_circle_of_two_pages_fails() {
    for threads in [1, 4] {
        let (cache, _) = open(|o| o.threads = threads);
        let next = |path: &str| Some(if path == "/p/a" { "/p/b" } else { "/p/a" }.to_string());
        cache.add_route("/p/[id]", revalidate(60.0), chained(&cache, next)).unwrap();
        fails(get(&cache, "/p/a"), InvalidArgument, &["/p/a"]);
        settle(&cache);
    }
}

#[test]
fn a_circle_that_two_requests_close_fails() {
    // Each render has begun before the other's page is asked for.
    let (cache, _) = open(|o| o.threads = 2);
    let gate = Gate::new();
    let (inner, at) = (cache.downgrade(), gate.clone());
    let renderer = Arc::new(move |job: RenderJob| {
        at.pass();
        let other = if job.path() == "/p/a" { "/p/b" } else { "/p/a" };
        let _ = match inner.upgrade().unwrap().get(&Request::new(other)) {
            Ok(_) => job.complete(PageResult::new("got the other")),
            Err(error) => job.fail(error),
        };
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    let a = start_get(&cache, "/p/a");
    let b = start_get(&cache, "/p/b");
    gate.wait_for(2);
    gate.open();
    // The one that closes the circle is told so; the other gets its failure.
    fails(a.join(), InvalidArgument, &["/p/"]);
    fails(b.join(), InvalidArgument, &["/p/"]);
    settle(&cache);
}

#[test]
fn a_circle_through_data_fails() {
    let (cache, _) = open(|o| o.threads = 2);
    let inner = cache.downgrade();
    let renderer = Arc::new(move |job: RenderJob| {
        let inner = inner.clone();
        let loader: Arc<dyn Loader> = Arc::new(move |load: LoadJob| {
            let _ = match inner.upgrade().unwrap().get(&Request::new("/p")) {
                Ok(_) => load.complete(b"impossible".to_vec()),
                Err(error) => load.fail(error),
            };
        });
        let _ = match job.data(&["k"], &DataOptions::default(), loader) {
            Ok(_) => job.complete(PageResult::new("impossible")),
            Err(error) => job.fail(error),
        };
    });
    cache.add_route("/p", revalidate(60.0), renderer).unwrap();
    fails(get(&cache, "/p"), InvalidArgument, &["/p"]);
    settle(&cache);
}

#[test]
fn a_context_goes_to_another_thread() {
    let (cache, _) = open(|o| o.threads = 2);
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let answer = start_get(&cache, "/p/1");
    let job = desk.take();
    let context = job.context();
    let asking = cache.clone();
    let (given, entered) = spawn(move || {
        assert!(Context::current().is_none());
        let given = asking.get(&Request { within: Some(&context), ..Request::new("/p/1") });
        let guard = context.enter();
        assert!(Context::current().is_some());
        let entered = asking.get(&Request::new("/p/1"));
        drop(guard);
        assert!(Context::current().is_none());
        (given, entered)
    })
    .join();
    fails(given, InvalidArgument, &["/p/1"]);
    fails(entered, InvalidArgument, &["/p/1"]);
    job.complete(PageResult::new("v")).unwrap();
    answer.join().unwrap();
}

#[test]
fn data_read_through_a_context_counts_for_the_page() {
    let (cache, _) = open(|o| o.threads = 2);
    let desk = Desk::new();
    cache.add_route("/p", revalidate(60.0), desk.renderer()).unwrap();
    let answer = start_get(&cache, "/p");
    let job = desk.take();
    let (context, reading) = (job.context(), cache.clone());
    spawn(move || {
        let options = DataOptions { tags: vec!["inner".into()], revalidate: secs(5.0) };
        reading.data(Some(&context), &["k"], &options, loads("v")).unwrap();
    })
    .join();
    job.complete(PageResult::new("v").tag("own")).unwrap();
    let page = answer.join().unwrap().page().clone();
    assert_eq!(page.revalidate(), secs(5.0));
    let mut tags: Vec<_> = page.tags().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["inner", "own"]);
}

#[test]
fn a_context_that_outlives_its_job_is_harmless() {
    let (cache, _) = open(|_| ());
    let kept: Arc<Mutex<Option<Context>>> = Arc::default();
    let keep = kept.clone();
    let renderer = page(move |job| {
        keep.lock().unwrap().get_or_insert(job.context());
        PageResult::new(job.path())
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    get(&cache, "/p/1").unwrap();
    let context = kept.lock().unwrap().clone().unwrap();
    let within = |path| Request { within: Some(&context), ..Request::new(path) };
    assert_eq!(told(cache.get(&within("/p/1"))).0, CacheWord::Hit);
    assert_eq!(told(cache.get(&within("/p/2"))).0, CacheWord::Miss);
    let read = cache.data(Some(&context), &["k"], &DataOptions::default(), loads("v")).unwrap();
    assert_eq!(read.value(), b"v");
    cache.close(PATIENCE);
    let _entered = context.enter();
    fails(cache.get(&Request::new("/p/1")), Closed, &[]);
}

#[test]
fn contexts_nest() {
    let (cache, _) = open(|o| o.threads = 2);
    let desk = Desk::new();
    cache.add_route("/p/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let first = start_get(&cache, "/p/1");
    let one = desk.take();
    let second = start_get(&cache, "/p/2");
    let two = desk.take();
    let own_page = |path: &str| cache.get(&Request::new(path)).err().map(|e| e.kind());
    {
        let _one = one.context().enter();
        assert_eq!(own_page("/p/1"), Some(InvalidArgument));
        {
            let _two = two.context().enter();
            assert_eq!(own_page("/p/2"), Some(InvalidArgument));
        }
        assert_eq!(own_page("/p/1"), Some(InvalidArgument));
    }
    assert!(Context::current().is_none());
    one.complete(PageResult::new("1")).unwrap();
    two.complete(PageResult::new("2")).unwrap();
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn a_background_load_may_ask_for_a_page() {
    let (cache, clock) = open(|o| o.threads = 1);
    let (inner, loaded) = (cache.downgrade(), counter());
    let count = loaded.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| {
        let answer = inner.upgrade().unwrap().get(&Request::new("/p")).unwrap();
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _ = job.complete(body(&answer).into_bytes());
    });
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    let options = DataOptions { revalidate: secs(1.0), ..DataOptions::default() };
    let read = || cache.data(None, &["k"], &options, loader.clone()).unwrap();
    assert_eq!((read().value(), value(&loaded)), (&b"/p"[..], 1));
    clock.advance(secs(61.0));
    cache.remove(&["/p"]).unwrap();
    assert_eq!(read().cache(), CacheWord::Stale);
    settle(&cache);
    assert_eq!((read().cache(), value(&loaded)), (CacheWord::Hit, 2));
}

#[test]
fn another_page_is_regenerated_from_inside_a_render() {
    let (cache, _) = open(|o| o.threads = 1);
    let inner = cache.downgrade();
    let renders = counter();
    let renderer = page(move |_| {
        let cache = inner.upgrade().unwrap();
        let again = cache.regenerate(&Request::new("/other"), false).unwrap().unwrap();
        PageResult::new(body(&again))
    });
    cache.add_route("/other", revalidate(60.0), versions(&renders)).unwrap();
    cache.add_route("/p", revalidate(60.0), renderer).unwrap();
    get(&cache, "/other").unwrap();
    assert_eq!(told(get(&cache, "/p")).1, "v2");
}

#[test]
fn nested_renders_go_before_those_that_have_not_begun() {
    // Else all who are queued begin, and each keeps a thread while it waits for the end of the queue.
    let (cache, _) = open(|o| o.threads = 1);
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, inner, gate) = (order.clone(), cache.downgrade(), Gate::new());
    let at = gate.clone();
    let renderer = page(move |job| {
        log.lock().unwrap().push(job.path().to_string());
        if job.path() == "/p/held" {
            at.pass();
        } else if let Some(rest) = job.path().strip_prefix("/p/outer") {
            let path = format!("/p/inner{rest}");
            inner.upgrade().unwrap().get(&Request::new(&path)).unwrap();
        }
        PageResult::new(job.path())
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    let held = start_get(&cache, "/p/held");
    gate.wait_for(1);
    let outers: Vec<_> = (0..3)
        .map(|n| {
            let outer = start_get(&cache, &format!("/p/outer{n}"));
            eventually("it is queued", || cache.activity().queued == n + 1);
            outer
        })
        .collect();
    gate.open();
    held.join().unwrap();
    outers.into_iter().for_each(|o| _ = o.join().unwrap());
    let expected =
        ["/p/held", "/p/outer0", "/p/inner0", "/p/outer1", "/p/inner1", "/p/outer2", "/p/inner2"];
    assert_eq!(*order.lock().unwrap(), expected);
}

#[test]
fn a_render_may_ask_another_cache_for_the_same_path() {
    let (inner, _) = open(|o| o.threads = 1);
    let (outer, _) = open(|o| o.threads = 1);
    inner.add_route("/p/[id]", revalidate(60.0), versions(&counter())).unwrap();
    let asked = inner.clone();
    let renderer = page(move |job| {
        let page = asked.get(&Request::new(job.path())).unwrap();
        let options = DataOptions { tags: vec!["t".into()], revalidate: secs(5.0) };
        let data = asked.data(None, &["k"], &options, loads("K")).unwrap();
        PageResult::new(format!("{} {}", body(&page), String::from_utf8_lossy(data.value())))
    });
    outer.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    // Makes the epochs of the outer cache the later ones: to the data of the inner one they mean nothing.
    for _ in 0..100 {
        outer.revalidate_path(&["/p/1"], None).unwrap();
    }
    assert_eq!(told(get(&outer, "/p/1")), (CacheWord::Miss, "v1 K".to_string()));
    let peek = outer.peek("/p/1", None).unwrap();
    let peek = peek.page().unwrap();
    assert_eq!((peek.tags().count(), peek.revalidate()), (0, secs(60.0)));
}
