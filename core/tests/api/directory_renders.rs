//! Two caches on one directory: one render or load for both, whatever becomes of it, and nobody waits for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ground::*;
use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

#[test]
fn one_render_for_both() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    both(&a, &b, revalidate(60.0), gated(&gate));
    let first = start_get(&a, "/p");
    gate.wait_for(1);
    // When the call is back, he waits.
    let others = [&a, &b, &b].map(|cache| {
        let (done, answer) = outcome();
        cache.get_then(&Request::new("/p"), done);
        answer
    });
    waits(&b);
    gate.open();
    for task in std::iter::once(first).chain(others) {
        assert_eq!(told(task.join()), word(CacheWord::Miss, "/p"));
    }
    assert_eq!((gate.arrivals(), b.stats().renders), (1, 0));
    assert_eq!((a.stats().misses, b.stats().misses, b.stats().hits), (2, 2, 0));
    // Of an expired page, too.
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Revalidated, "/p"));
    ground.is_quiet();
}

#[test]
fn who_waits_for_a_page_that_is_stale_at_once_is_told_his_own_word() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let first = start_get(&a, "/p");
    let job = desk.take();
    let second = start_get(&b, "/p");
    waits(&b);
    a.revalidate_tag(&["t"], TagOptions { soft: true, expire: None }).unwrap();
    job.complete(PageResult::new("x").tag("t")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "x"));
    assert_eq!(told(second.join()), word(CacheWord::Miss, "x"));
    // It regenerates in the background.
    desk.take().complete(PageResult::new("y").tag("t")).unwrap();
    settle(&b);
    assert_eq!(told(get(&a, "/p")), hit("y"));
}

#[test]
fn a_request_after_an_invalidation_does_not_wait_for_an_older_render_elsewhere() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let old = start_get(&a, "/p");
    let older = desk.take();
    a.revalidate_path(&["/p"], None).unwrap();
    let new = start_get(&b, "/p");
    desk.take().complete(PageResult::new("new")).unwrap();
    assert_eq!(told(new.join()), word(CacheWord::Miss, "new"));
    older.complete(PageResult::new("old")).unwrap();
    assert_eq!(told(old.join()), word(CacheWord::Miss, "old"), "he asked before");
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), hit("new"), "a later begin is never replaced");
    }
}

#[test]
fn a_failure_elsewhere_is_told_with_its_text_and_backs_off() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    job.fail(Error::new(Render, "no database é")).unwrap();
    fails(first.join(), Render, &["no database é"]);
    fails(second.join(), Render, &["no database é"]);
    fails(get(&b, "/p"), Render, &["no database é"]);
    assert_eq!((desk.len(), b.stats().renders), (0, 0), "not tried again during the back-off");
    ground.advance(1.1);
    let again = start_get(&b, "/p");
    desk.take().complete(PageResult::new("x")).unwrap();
    assert_eq!(told(again.join()).1, "x");
    assert_eq!(told(get(&a, "/p")), hit("x"));
}

#[test]
fn the_last_good_page_is_served_where_a_regeneration_elsewhere_fails() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let first = start_get(&a, "/p");
    desk.take().complete(PageResult::new("good")).unwrap();
    first.join().unwrap();
    a.revalidate_path(&["/p"], None).unwrap();
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    job.fail(Error::new(Render, "down")).unwrap();
    for task in [first, second] {
        assert_eq!(told(task.join()), word(CacheWord::StaleError, "good"));
    }
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), word(CacheWord::StaleError, "good"));
    }
    assert_eq!(desk.len(), 0, "both back off");
    // A success of one is the end of the other's back-off.
    ground.advance(31.0);
    let task = start_get(&a, "/p");
    desk.take().complete(PageResult::new("better")).unwrap();
    assert_eq!(told(task.join()).1, "better");
    a.revalidate_path(&["/p"], None).unwrap();
    let task = start_get(&b, "/p");
    desk.take().complete(PageResult::new("best")).unwrap();
    assert_eq!(told(task.join()).1, "best");
}

#[test]
fn a_time_out_elsewhere_is_one() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    ground.advance(61.0);
    fails(first.join(), Timeout, &["/p"]);
    fails(second.join(), Timeout, &["/p"]);
    fails(job.complete(PageResult::new("late")), Finished, &[]);
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
}

#[test]
fn a_personal_result_is_not_shared_with_the_other() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    let personal = |name: &str| PageResult::new(name).header("set-cookie", name);
    job.complete(personal("ann")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Bypass, "ann"));
    // He renders for himself, and so do those who follow.
    let own = desk.take();
    let third = start_get(&b, "/p");
    let other = desk.take();
    own.complete(personal("bob")).unwrap();
    other.complete(personal("bob")).unwrap();
    for task in [second, third] {
        assert_eq!(told(task.join()), word(CacheWord::Bypass, "bob"));
    }
    assert_eq!((a.stats().disk_writes, b.stats().disk_writes), (0, 0));
}

#[test]
fn regenerate_joins_no_render_that_began_before_and_is_seen_by_the_other() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let regenerate = |cache: &Cache| {
        let cache = cache.clone();
        spawn(move || cache.regenerate(&Request::new("/p"), false).map(Option::unwrap))
    };
    assert!(b.regenerate(&Request::new("/p"), true).unwrap().is_none(), "nothing is stored");
    let (first, one) = (regenerate(&a), desk.take());
    let (second, two) = (regenerate(&b), desk.take());
    two.complete(PageResult::new("two")).unwrap();
    assert_eq!(told(second.join()), word(CacheWord::Miss, "two"));
    one.complete(PageResult::new("one")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "one"), "his own render's");
    assert_eq!(told(get(&a, "/p")), hit("two"));
    let third = {
        let a = a.clone();
        spawn(move || a.regenerate(&Request::new("/p"), true).map(Option::unwrap))
    };
    desk.take().complete(PageResult::new("three")).unwrap();
    assert_eq!(told(third.join()), word(CacheWord::Revalidated, "three"));
    assert_eq!(told(get(&b, "/p")), hit("three"));
}

#[test]
fn who_waits_elsewhere_in_vain_again_and_again_renders_for_himself() {
    let g = Ground::new();
    let (a, b) = (g.open(), g.open());
    let desk = Desk::new();
    a.add_route("/[id]", revalidate(60.0), desk.renderer()).unwrap();
    b.add_route("/[id]", revalidate(60.0), page(|_| PageResult::new("own"))).unwrap();
    let regenerate = |n: usize| {
        a.regenerate_then(&Request::new("/1"), false, Box::new(|_| ()));
        eventually("the next one begins", || desk.len() == n);
    };
    regenerate(1);
    let (done, answer) = outcome();
    b.get_then(&Request::new("/1"), done);
    waits(&b);
    for _ in 0..10_000 {
        if b.stats().renders > 0 {
            break;
        }
        // The next one has the lease before this one ends with nothing to share.
        regenerate(2);
        desk.take().complete(PageResult { remove: true, ..PageResult::new("gone") }).unwrap();
    }
    assert_eq!(told(answer.join()), word(CacheWord::Miss, "own"));
    assert_eq!(desk.len(), 1, "the other one goes on");
    g.is_quiet();
}

#[test]
fn prefetch_regenerates_nothing_and_waits_for_what_the_other_renders() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    both(&a, &b, revalidate(60.0), gated(&gate));
    let prefetch = |cache: &Cache| {
        let cache = cache.clone();
        spawn(move || cache.get(&Request { prefetch: true, ..Request::new("/p") }))
    };
    let first = start_get(&a, "/p");
    gate.wait_for(1);
    let second = prefetch(&b);
    waits(&b);
    gate.open();
    first.join().unwrap();
    assert_eq!(told(second.join()), word(CacheWord::Miss, "/p"));
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(prefetch(&b).join()), word(CacheWord::Stale, "/p"));
    assert_eq!(gate.arrivals(), 1);
}

/// A loader that returns at once and leaves its jobs here.
#[derive(Default)]
struct Loads(Mutex<Vec<LoadJob>>);

impl Loads {
    #[track_caller]
    fn take(&self) -> LoadJob {
        let mut job = None;
        eventually("a load has begun", || {
            job = self.0.lock().unwrap().pop();
            job.is_some()
        });
        job.unwrap()
    }
}

#[test]
fn one_load_for_all_renders_of_both() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let jobs: Arc<Loads> = Arc::default();
    let renderer = |cache: &Cache| {
        let (cache, jobs) = (cache.downgrade(), jobs.clone());
        page(move |job| {
            let jobs = jobs.clone();
            let loader = Arc::new(move |job: LoadJob| jobs.0.lock().unwrap().push(job));
            let options = DataOptions { tags: vec!["d".into()], ..DataOptions::default() };
            let cache = cache.upgrade().unwrap();
            let read = cache.data(Some(&job.context()), &["k"], &options, loader);
            match read {
                Ok(answer) => PageResult::new(answer.value()),
                Err(error) => PageResult::new(error.message()),
            }
        })
    };
    a.add_route("/[id]", revalidate(60.0), renderer(&a)).unwrap();
    b.add_route("/[id]", revalidate(60.0), renderer(&b)).unwrap();
    let first = start_get(&a, "/a");
    let load = jobs.take();
    let second = start_get(&b, "/b");
    eventually("the other's render waits for the load", || b.activity().waiting == 1);
    load.complete(b"v".to_vec()).unwrap();
    assert_eq!(told(first.join()).1, "v");
    assert_eq!(told(second.join()).1, "v");
    assert_eq!((a.stats().loads, b.stats().loads), (1, 0));
    // Its tags are those of the pages that read it, whoever loaded it.
    a.revalidate_tag(&["d"], TagOptions::default()).unwrap();
    assert_eq!(b.peek("/b", None).unwrap().state(), State::Expired);
    assert_eq!(a.peek("/b", None).unwrap().state(), State::Expired);
}

#[test]
fn a_prerender_in_both_renders_each_path_once() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let count = counter();
    let params =
        |n: usize| [("id".to_string(), ParamValue::One(n.to_string()))].into_iter().collect();
    let route = RouteOptions { static_params: (0..40).map(params).collect(), ..revalidate(60.0) };
    both(&a, &b, route, versions(&count));
    let reports = [&a, &b].map(|cache| {
        let cache = cache.clone();
        spawn(move || cache.prerender(None).unwrap())
    });
    for report in reports.map(Task::join) {
        assert_eq!((report.rendered + report.skipped, report.failed.len()), (40, 0));
    }
    assert_eq!(value(&count), 40);
    ground.is_quiet();
}

#[test]
fn closing_frees_those_who_wait_elsewhere_and_those_for_whom_others_wait() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    assert!(!b.close(Duration::from_millis(10)), "somebody waits");
    fails(second.join(), Closed, &[]);
    job.complete(PageResult::new("x")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "x"));
    // The other way round: who waits renders himself, at once.
    let c = ground.open();
    c.add_route("/[id]", revalidate(60.0), echo()).unwrap();
    let (third, _job) = (start_get(&a, "/q"), desk.take());
    let fourth = start_get(&c, "/q");
    waits(&c);
    a.close(Duration::ZERO);
    fails(third.join(), Closed, &[]);
    assert_eq!(told(fourth.join()), word(CacheWord::Miss, "/q"));
}

#[test]
fn two_that_would_wait_for_one_another_do_not() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    // A page asks for the other one, once both renders have begun.
    let asking = |cache: &Cache| {
        let (cache, gate) = (cache.downgrade(), gate.clone());
        page(move |job| {
            gate.pass();
            let cache = cache.upgrade().unwrap();
            let other = if job.path() == "/a" { "/b" } else { "/a" };
            let context = job.context();
            let request = Request { within: Some(&context), ..Request::new(other) };
            match cache.get(&request) {
                Ok(answer) => PageResult::new(body(&answer)),
                Err(error) => PageResult::new(format!("{:?}", error.kind())),
            }
        })
    };
    a.add_route("/[id]", revalidate(60.0), asking(&a)).unwrap();
    b.add_route("/[id]", revalidate(60.0), asking(&b)).unwrap();
    let (first, second) = (start_get(&a, "/a"), start_get(&b, "/b"));
    gate.wait_for(2);
    gate.open();
    for task in [first, second] {
        let (_, text) = told(task.join());
        assert_eq!(text, "InvalidArgument");
    }
}

#[test]
fn a_render_that_asks_another_cache_of_the_directory_for_its_own_page_does_not_wait_for_itself() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let other = b.downgrade();
    let renderer = page(move |job| {
        let context = job.context();
        let request = Request { within: Some(&context), ..Request::new(job.path()) };
        let answer = other.upgrade().unwrap().get(&request).unwrap();
        PageResult::new(format!("outer of {}", body(&answer)))
    });
    a.add_route("/[id]", revalidate(60.0), renderer).unwrap();
    b.add_route("/[id]", revalidate(60.0), echo()).unwrap();
    assert_eq!(told(start_get(&a, "/p").join()).1, "outer of /p");
}

#[test]
fn an_answer_from_elsewhere_that_is_taken_slowly_holds_nobody_up() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, one) = (start_get(&a, "/1"), desk.take());
    let (second, two) = (start_get(&a, "/2"), desk.take());
    let gate = Gate::new();
    let (done, slow) = outcome();
    let (cache, at) = (b.clone(), gate.clone());
    let done = move |_: Result<Answer, Error>| {
        at.pass();
        // Waits for another page from elsewhere, on the thread that answers.
        done(get_here(&cache, "/2"));
    };
    b.get_then(&Request::new("/1"), Box::new(done));
    one.complete(PageResult::new("one")).unwrap();
    first.join().unwrap();
    gate.wait_for(1);
    let third = start_get(&b, "/2");
    eventually("two wait", || b.activity().running == 2);
    gate.open();
    two.complete(PageResult::new("two")).unwrap();
    for task in [second, third, slow] {
        assert_eq!(told(task.join()).1, "two");
    }
}

fn get_here(cache: &Cache, path: &str) -> Result<Answer, Error> {
    cache.get(&Request::new(path))
}
