//! One of several owners closes: what was its own ends with it, the others go on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ground::Ground;
use super::owners::{Shared, says};
use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

const SHORT: Duration = Duration::from_millis(50);

/// An owner whose renders lie on a desk, and one whose renders say `b`.
fn desk_and_b(shared: &Shared) -> (Cache, Arc<Desk>, Cache) {
    let (a, b, desk) = (shared.open(), shared.open(), Desk::new());
    a.add_route("/[id]", revalidate(60.0), desk.renderer()).unwrap();
    b.add_route("/[id]", revalidate(60.0), says("b")).unwrap();
    (a, desk, b)
}

/// Asks without a thread that waits.
fn ask(cache: &Cache, path: &str) -> Task<Result<Answer, Error>> {
    let (done, answer) = outcome();
    cache.get_then(&Request::new(path), done);
    answer
}

#[test]
fn in_mid_render_the_others_get_their_own() {
    let (a, desk, b) = desk_and_b(&Shared::new());
    let (of_a, job) = (ask(&a, "/p"), desk.take());
    let of_b = ask(&b, "/p");
    assert_eq!(b.stats().renders, 1);
    assert!(!a.close(Duration::ZERO));
    fails(of_a.join(), Closed, &["closed"]);
    assert_eq!(told(of_b.join()), (CacheWord::Miss, "b".into()));
    assert!(job.is_cancelled());
    fails(job.complete(PageResult::new("late")), Finished, &[]);
    assert_eq!(told(get(&b, "/p")), (CacheWord::Hit, "b".into()));
    assert!(a.close(Duration::ZERO) && !a.is_busy(), "nothing of it is left");
}

#[test]
fn a_render_that_fails_while_its_owner_closes_fails_for_that_one_alone() {
    let (a, desk, b) = desk_and_b(&Shared::new());
    let (of_a, job) = (ask(&a, "/p"), desk.take());
    let of_b = ask(&b, "/p");
    let closing = a.clone();
    let closed = spawn(move || closing.close(PATIENCE));
    eventually("it closes", || a.is_closed());
    job.fail(Error::render("its other calls are refused", None)).unwrap();
    assert!(closed.join());
    fails(of_a.join(), Render, &["refused"]);
    assert_eq!(told(of_b.join()), (CacheWord::Miss, "b".into()));
}

#[test]
fn what_it_waits_for_goes_on_without_it() {
    let (a, desk, b) = desk_and_b(&Shared::new());
    let (of_a, job) = (ask(&a, "/p"), desk.take());
    let of_b = ask(&b, "/p");
    assert!(!b.close(Duration::ZERO), "its request did not end by itself");
    fails(of_b.join(), Closed, &[]);
    job.complete(PageResult::new("a")).unwrap();
    assert_eq!(told(of_a.join()), (CacheWord::Miss, "a".into()));
    assert_eq!(told(get(&a, "/p")), (CacheWord::Hit, "a".into()));
}

#[test]
fn it_waits_for_its_own_renders_and_requests_alone() {
    let (a, desk, b) = desk_and_b(&Shared::new());
    let (of_a, job) = (ask(&a, "/p"), desk.take());
    let of_b = ask(&b, "/p");
    let closing = b.clone();
    let closed = spawn(move || closing.close(PATIENCE));
    eventually("it closes", || b.is_closed());
    job.complete(PageResult::new("a")).unwrap();
    assert!(closed.join(), "all ended in time");
    assert_eq!(told(of_a.join()).1, "a");
    assert_eq!(told(of_b.join()).1, "a");
    let c_waits = ask(&a, "/q");
    let held = desk.take();
    assert!(b.close(PATIENCE), "the other's render is not waited for");
    held.complete(PageResult::new("a")).unwrap();
    assert_eq!(told(c_waits.join()).1, "a");
}

#[test]
fn a_callback_that_has_not_returned_is_waited_for() {
    let (shared, gate) = (Shared::new(), Gate::new());
    let (a, b) = (shared.open(), shared.open());
    a.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let answer = ask(&a, "/p");
    gate.wait_for(1);
    assert!(!a.close(SHORT), "it hangs");
    fails(answer.join(), Closed, &[]);
    assert!(!a.close(SHORT), "it hangs still");
    gate.open();
    assert!(a.close(PATIENCE));
    assert!(b.close(PATIENCE));
}

#[test]
fn queued_renders_are_begun_again_by_the_others_or_fail() {
    let shared = Shared::new();
    let open = || shared.open_with(|o| o.threads = 1);
    let (a, b, desk) = (open(), open(), Desk::new());
    a.add_route("/[id]", revalidate(60.0), says("a")).unwrap();
    b.add_route("/[id]", revalidate(60.0), says("b")).unwrap();
    b.add_route("/held/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let held = ask(&b, "/held/x");
    let job = desk.take();
    let (of_a, alone) = (ask(&a, "/p"), ask(&a, "/q"));
    let of_b = ask(&b, "/p");
    eventually("two are queued", || a.activity().queued == 2);
    assert!(a.close(PATIENCE));
    fails(of_a.join(), Closed, &[]);
    fails(alone.join(), Closed, &[]);
    assert_eq!(b.activity().queued, 1, "the other's own");
    job.complete(PageResult::new("held")).unwrap();
    assert_eq!(told(held.join()).1, "held");
    assert_eq!(told(of_b.join()), (CacheWord::Miss, "b".into()));
    assert_eq!(b.peek("/q", None).unwrap().state(), State::Missing);
}

#[test]
fn loads_of_it_are_begun_again_by_the_others() {
    let shared = Shared::new();
    let (a, b) = (shared.open(), shared.open());
    let jobs: Arc<Mutex<Vec<LoadJob>>> = Arc::default();
    let kept = jobs.clone();
    let keeps: Arc<dyn Loader> = Arc::new(move |job| kept.lock().unwrap().push(job));
    let ask = |cache: &Cache, loader| {
        let (done, value) = outcome();
        cache.data_then(None, &["k"], &DataOptions::default(), loader, done);
        value
    };
    let of_a = ask(&a, keeps);
    let of_b = ask(&b, loads("b"));
    assert_eq!(b.stats().loads, 1);
    a.close(Duration::ZERO);
    fails(of_a.join().map(drop), Closed, &[]);
    let value = of_b.join().unwrap();
    assert_eq!((value.cache(), value.value()), (CacheWord::Miss, &b"b"[..]));
    let job = jobs.lock().unwrap().pop().unwrap();
    fails(job.complete("late".into()), Finished, &[]);
}

#[test]
fn who_waits_for_another_process_with_one_that_closes_goes_on_waiting() {
    let ground = Ground::new();
    let (elsewhere, desk) = (ground.open(), Desk::new());
    elsewhere.add_route("/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let open = || {
        let cache = ground.open_with(|o| o.name = Some("waits elsewhere".into()));
        cache.add_route("/[id]", revalidate(60.0), says("never")).unwrap();
        cache
    };
    let (a, b) = (open(), open());
    let its_own = ask(&elsewhere, "/p");
    let job = desk.take();
    let (of_a, of_b) = (ask(&a, "/p"), ask(&b, "/p"));
    a.close(Duration::ZERO);
    fails(of_a.join(), Closed, &[]);
    job.complete(PageResult::new("elsewhere")).unwrap();
    its_own.join().unwrap();
    assert_eq!(told(of_b.join()), (CacheWord::Miss, "elsewhere".into()));
    assert_eq!(b.stats().renders, 0);
}

#[test]
fn every_call_of_it_is_refused_and_none_of_the_others() {
    let (a, b) = Shared::new().pair();
    get(&a, "/p").unwrap();
    let kept = get(&a, "/p").unwrap().keep().unwrap();
    assert!(a.close(PATIENCE));
    assert!(a.is_closed() && !b.is_closed());
    let request = Request::new("/p");
    assert!(a.hit(&request).is_none() && a.hit_kept(&kept).is_none());
    assert!(b.hit(&request).is_some() && b.hit_kept(&kept).is_some());
    fails(a.get(&request), Closed, &["closed"]);
    fails(a.try_get(&request), Closed, &[]);
    fails(a.get(&Request { draft: true, ..request }), Closed, &[]);
    fails(a.peek("/p", None), Closed, &[]);
    fails(a.put("/p", None, PageResult::new("x"), a.started()), Closed, &[]);
    fails(a.regenerate(&request, false), Closed, &[]);
    fails(a.prerender(None), Closed, &[]);
    fails(a.revalidate_path(&["/p"], None), Closed, &[]);
    fails(a.revalidate_tag(&["t"], TagOptions::default()), Closed, &[]);
    fails(a.remove(&["/p"]), Closed, &[]);
    fails(a.add_route("/q", RouteOptions::default(), echo()), Closed, &[]);
    fails(a.data(None, &["k"], &DataOptions::default(), loads("v")), Closed, &[]);
    assert_eq!(told(get(&b, "/p")), (CacheWord::Hit, "a".into()));
    assert_eq!(told(get(&b, "/q")), (CacheWord::Miss, "b".into()));
}

#[test]
fn a_route_goes_with_the_last_that_has_it() {
    let shared = Shared::new();
    let (a, b) = shared.pair();
    let c = shared.open();
    get(&c, "/p").unwrap();
    drop(a);
    assert_eq!(told(get(&c, "/q")), (CacheWord::Miss, "b".into()));
    drop(b);
    fails(get(&c, "/p"), NoRoute, &["/p"]);
    fails(get(&c, "/new"), NoRoute, &[]);
    // Whoever comes next may have it otherwise; what is stored is stored.
    c.add_route("/[id]", revalidate(1.0), says("c")).unwrap();
    assert_eq!(told(get(&c, "/p")), (CacheWord::Hit, "a".into()));
    assert_eq!(told(get(&c, "/new")), (CacheWord::Miss, "c".into()));
}

#[test]
fn with_the_last_one_the_cache_ends_and_the_next_one_is_new() {
    let shared = Shared::new();
    let (a, b) = shared.pair();
    get(&a, "/p").unwrap();
    drop(a);
    assert_eq!(told(get(&b, "/p")), (CacheWord::Hit, "a".into()));
    let clone = b.clone();
    assert!(clone.close(PATIENCE) && clone.close(PATIENCE));
    let (a, b) = shared.pair();
    assert_eq!(a.stats().renders, 0);
    assert_eq!(told(get(&b, "/p")), (CacheWord::Miss, "b".into()));
}

#[test]
fn a_renderer_that_keeps_its_own_cache_is_let_go() {
    let shared = Shared::new();
    let (a, b) = (shared.open(), shared.open());
    let (kept, alive) = (a.clone(), Arc::new(()));
    let held = alive.clone();
    let renderer = page(move |_| {
        let _ = (&kept, &held);
        PageResult::new("x")
    });
    a.add_route("/p", revalidate(60.0), renderer).unwrap();
    get(&b, "/p").unwrap();
    assert!(a.close(PATIENCE));
    eventually("the renderer is let go", || Arc::strong_count(&alive) == 1);
    assert!(!b.is_closed());
}

#[test]
fn inside_of_its_own_render_it_does_not_wait() {
    let shared = Shared::new();
    let (a, b) = (shared.open(), shared.open());
    let own = a.downgrade();
    a.add_route(
        "/p",
        revalidate(60.0),
        page(move |_| {
            let closed = own.upgrade().is_some_and(|a| a.close(PATIENCE));
            PageResult::new(closed.to_string())
        }),
    )
    .unwrap();
    fails(get(&a, "/p"), Closed, &[]);
    fails(get(&b, "/p"), NoRoute, &[]);
}

#[test]
fn a_personal_page_and_a_draft_end_with_who_asked() {
    let (a, desk, b) = desk_and_b(&Shared::new());
    let (done, draft) = outcome();
    a.get_then(&Request { draft: true, ..Request::new("/p") }, done);
    let job = desk.take();
    assert!(job.is_draft());
    a.close(Duration::ZERO);
    fails(draft.join(), Closed, &[]);
    assert_eq!(told(get(&b, "/p")), (CacheWord::Miss, "b".into()));
}

#[test]
fn many_come_and_go_while_others_ask() {
    let shared = Shared::new();
    let stays = shared.open();
    stays.add_route("/[id]", RouteOptions::default(), says("x")).unwrap();
    let goes: Vec<Task<()>> = (0..4)
        .map(|n| {
            let options = shared.options();
            spawn(move || {
                for round in 0..50 {
                    let cache = Cache::open(options.clone()).unwrap();
                    cache.add_route("/[id]", RouteOptions::default(), says("x")).unwrap();
                    for path in ["/1", "/2", &format!("/{n}-{round}")] {
                        assert_eq!(body(&cache.get(&Request::new(path)).unwrap()), "x");
                    }
                    cache.revalidate_tag(&["t"], TagOptions::default()).unwrap();
                    let (done, _) = outcome();
                    cache.get_then(&Request::new("/1"), done);
                    cache.close(Duration::ZERO);
                }
            })
        })
        .collect();
    for round in 0..200 {
        let answer = stays.get(&Request::new(["/1", "/2"][round % 2]));
        assert_eq!(body(&answer.unwrap()), "x", "the others' closing is not its");
    }
    goes.into_iter().for_each(Task::join);
    settle(&stays);
    assert!(stays.close(PATIENCE));
}
