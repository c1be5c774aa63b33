//! A clock that jumps makes no page immortal, and ends no back-off and no time-out early.

use super::support::*;
use isr_core::*;

fn at(seconds: i64) -> Time {
    Time::from_nanos(START.nanos().checked_add_signed(seconds * 1_000_000_000).unwrap())
}

#[test]
fn a_page_from_the_future_is_stale() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/p", revalidate(60.0), versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.set_wall(at(-100_000));
    let answer = get(&cache, "/p").unwrap();
    assert_eq!((answer.cache(), answer.age_secs()), (CacheWord::Stale, 0));
    let head = answer.head(&http::Conditions::default());
    let status = head.headers.iter().find(|(n, _)| n == "cache-status").unwrap();
    assert_eq!(status.1, "libisr; hit; ttl=0; detail=stale");
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v2".into()));
    // Its life is measured from the new time on.
    clock.advance(secs(60.0));
    assert_eq!(told(get(&cache, "/p")).0, CacheWord::Hit);
    clock.advance(secs(0.001));
    assert_eq!(told(get(&cache, "/p")).0, CacheWord::Stale);
}

#[test]
fn a_page_that_never_goes_stale_is_from_the_future_too() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/p", RouteOptions::default(), versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.set_wall(at(-1));
    assert_eq!(told(get(&cache, "/p")).0, CacheWord::Stale);
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v2".into()));
}

#[test]
fn a_jump_ahead_and_back_is_survived() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    let options = RouteOptions { expire: Some(secs(100.0)), ..revalidate(60.0) };
    cache.add_route("/p", options, versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.set_wall(at(1_000_000));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Revalidated, "v2".into()));
    clock.set_wall(at(10));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Stale, "v2".into()));
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v3".into()));
    clock.set_wall(Time::from_nanos(0));
    assert_eq!(told(get(&cache, "/p")).0, CacheWord::Stale);
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v4".into()));
}

#[test]
fn invalidations_are_ordered_by_epochs_whatever_the_clock_says() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/p", revalidate(60.0), versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.set_wall(at(-1000));
    cache.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Revalidated, "v2".into()));
    clock.set_wall(at(-2000));
    cache.revalidate_path(&["/p"], None).unwrap();
    clock.set_wall(at(-1000));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Revalidated, "v3".into()));
}

#[test]
fn a_back_off_does_not_follow_the_wall_clock() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    let count = renders.clone();
    let renderer = move |job: RenderJob| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _ = job.fail(Error::render("boom", None));
    };
    cache.add_route("/p", revalidate(60.0), std::sync::Arc::new(renderer)).unwrap();
    let ask = || fails(get(&cache, "/p"), ErrorKind::Render, &["boom"]);
    ask();
    clock.set_wall(at(1_000_000));
    ask();
    clock.set_wall(at(-1_000_000));
    ask();
    assert_eq!(value(&renders), 1);
    clock.advance(secs(1.001));
    ask();
    assert_eq!(value(&renders), 2);
}

#[test]
fn a_timeout_does_not_follow_the_wall_clock() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    let options = RouteOptions { timeout: Some(secs(5.0)), ..revalidate(60.0) };
    cache.add_route("/p", options, desk.renderer()).unwrap();
    let waiter = start_get(&cache, "/p");
    let job = desk.take();
    clock.set_wall(at(1_000_000));
    clock.advance(secs(5.0));
    assert!(!job.is_cancelled());
    clock.set_wall(at(-1_000_000));
    clock.advance(secs(0.001));
    fails(waiter.join(), ErrorKind::Timeout, &[]);
    assert!(job.is_cancelled());
}

#[test]
fn the_end_of_time_is_survived() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/p", revalidate(60.0), versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.advance(Lifetime::NEVER);
    clock.advance(Lifetime::NEVER);
    let answer = get(&cache, "/p").unwrap();
    assert_eq!(answer.cache(), CacheWord::Revalidated);
    answer.head(&http::Conditions::default());
    assert_eq!(told(get(&cache, "/p")).0, CacheWord::Hit);
}
