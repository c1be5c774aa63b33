//! Embedders that render by themselves: look up, and store under the rules of invalidation.

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

fn site() -> (Cache, ManualClock) {
    let (cache, clock) = open(|_| ());
    let never = page(|job| panic!("nobody asked to render {}", job.path()));
    let options =
        RouteOptions { tags: vec!["t".into()], expire: Some(secs(100.0)), ..revalidate(60.0) };
    cache.add_route("/p/[id]", options, never).unwrap();
    (cache, clock)
}

fn state(cache: &Cache, path: &str) -> State {
    cache.peek(path, None).unwrap().state()
}

fn put(cache: &Cache, path: &str, started: Started) -> Put {
    cache.put(path, None, PageResult::new("put"), started).unwrap()
}

#[test]
fn looked_up_stored_and_served() {
    let (cache, clock) = site();
    let peek = cache.peek("/p/1", None).unwrap();
    assert_eq!((peek.state(), peek.page().is_none(), peek.age_secs()), (State::Missing, true, 0));
    let started = cache.started();
    let page = PageResult::new("body").tag("own").header("X-A", "1");
    assert_eq!(cache.put("/p/1/", None, page, started).unwrap(), Put::Stored);
    assert_eq!(told(cache.get(&Request::new("/p/1"))), (CacheWord::Hit, "body".into()));

    clock.advance(secs(12.5));
    let peek = cache.peek("/p/1", None).unwrap();
    assert_eq!((peek.state(), peek.age_secs()), (State::Fresh, 12));
    let page = peek.page().unwrap();
    assert_eq!((page.path(), page.status(), page.body()), ("/p/1", 200, &b"body"[..]));
    assert_eq!(page.header("x-a"), Some("1"));
    assert_eq!(page.headers().collect::<Vec<_>>(), [("x-a", "1")]);
    assert_eq!(
        (page.revalidate(), page.expire(), page.generated()),
        (secs(60.0), secs(100.0), START)
    );
    let mut tags: Vec<_> = page.tags().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["own", "t"]);
}

#[test]
fn looking_starts_nothing() {
    let (cache, clock) = site();
    put(&cache, "/p/1", cache.started());
    for (advance, expected) in [(61.0, State::Stale), (50.0, State::Expired)] {
        clock.advance(secs(advance));
        assert_eq!(state(&cache, "/p/1"), expected);
    }
    assert_eq!(state(&cache, "/p/2"), State::Missing);
    settle(&cache);
    assert_eq!(cache.stats().renders, 0);
}

#[test]
fn invalidated_in_between() {
    let (cache, _) = site();
    let soft = TagOptions { soft: true, expire: None };
    let during = |path: &str, invalidate: &dyn Fn()| {
        let started = cache.started();
        invalidate();
        (put(&cache, path, started), state(&cache, path))
    };
    let nothing = during("/p/0", &|| ());
    assert_eq!(nothing, (Put::Stored, State::Fresh));
    let by_path = during("/p/1", &|| _ = cache.revalidate_path(&["/p/1"], None).unwrap());
    assert_eq!(by_path, (Put::Stored, State::Expired));
    let pattern = ["/p/[id]"];
    let by_pattern =
        during("/p/2", &|| _ = cache.revalidate_path(&pattern, Some(PathType::Page)).unwrap());
    assert_eq!(by_pattern, (Put::Stored, State::Expired));
    let by_layout =
        during("/p/3", &|| _ = cache.revalidate_path(&["/"], Some(PathType::Layout)).unwrap());
    assert_eq!(by_layout, (Put::Stored, State::Expired));
    let by_tag = during("/p/4", &|| cache.revalidate_tag(&["t"], TagOptions::default()).unwrap());
    assert_eq!(by_tag, (Put::Stored, State::Expired));
    let by_soft_tag = during("/p/5", &|| cache.revalidate_tag(&["t"], soft).unwrap());
    assert_eq!(by_soft_tag, (Put::Stored, State::Stale));
    let by_another =
        during("/p/6", &|| cache.revalidate_tag(&["other"], TagOptions::default()).unwrap());
    assert_eq!(by_another, (Put::Stored, State::Fresh));
    let removed = during("/p/7", &|| cache.remove(&["/p/7"]).unwrap());
    assert_eq!(removed, (Put::NotStored, State::Missing));
    assert_eq!(put(&cache, "/p/7", cache.started()), Put::Stored);
}

#[test]
fn an_older_page_never_replaces_a_newer_one() {
    let (cache, _) = site();
    let first = cache.started();
    cache.revalidate_tag(&["other"], TagOptions::default()).unwrap();
    let second = cache.started();
    assert!(first < second);
    let page = |text: &str| PageResult::new(text);
    assert_eq!(cache.put("/p/1", None, page("second"), second).unwrap(), Put::Stored);
    assert_eq!(cache.put("/p/1", None, page("first"), first).unwrap(), Put::NotStored);
    assert_eq!(told(cache.get(&Request::new("/p/1"))).1, "second");
    // A number that crossed a language is the same epoch; one from the future counts as now.
    assert_eq!(Started::from_u64(second.as_u64()), second);
    let future = Started::from_u64(u64::MAX);
    assert_eq!(cache.put("/p/1", None, page("future"), future).unwrap(), Put::Stored);
    cache.revalidate_path(&["/p/1"], None).unwrap();
    assert_eq!(state(&cache, "/p/1"), State::Expired, "the future is not immortal");
    assert_eq!(cache.put("/p/1", None, page("after"), cache.started()).unwrap(), Put::Stored);
}

#[test]
fn what_may_not_be_stored_is_not() {
    let (cache, _) = open(|o| o.max_entry_bytes = 10);
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let pages = [
        PageResult::new("x").header("Set-Cookie", "s=1"),
        PageResult::new("x").header("cache-control", "private"),
        PageResult::new("x").header("vary", "cookie"),
        PageResult { no_store: true, ..PageResult::new("x") },
        PageResult { revalidate: Some(Lifetime::ZERO), ..PageResult::new("x") },
        PageResult { status: 201, ..PageResult::new("x") },
        PageResult::new("more than ten"),
    ];
    for page in pages {
        let text = format!("{page:?}");
        assert_eq!(
            cache.put("/p/1", None, page, cache.started()).unwrap(),
            Put::NotStored,
            "{text}"
        );
        assert_eq!(state(&cache, "/p/1"), State::Missing);
    }
    assert_eq!(cache.stats().too_large, 1);
}

#[test]
fn variants_are_pages_of_their_own() {
    let (cache, _) = site();
    let mut german = Variant::new();
    german.set("lang", "de");
    cache.put("/p/1", Some(&german), PageResult::new("deutsch"), cache.started()).unwrap();
    assert_eq!(state(&cache, "/p/1"), State::Missing);
    let request = Request { variant: Some(&german), ..Request::new("/p/1") };
    assert_eq!(told(cache.get(&request)), (CacheWord::Hit, "deutsch".into()));
    cache.remove(&["/p/1"]).unwrap();
    assert_eq!(cache.peek("/p/1", Some(&german)).unwrap().state(), State::Missing);
}

#[test]
fn try_get_never_waits() {
    let (cache, clock) = open(|_| ());
    let gate = Gate::new();
    let options = RouteOptions { expire: Some(secs(100.0)), ..revalidate(60.0) };
    cache.add_route("/p/[id]", options, gated(&gate)).unwrap();
    let try_get = |path: &str| cache.try_get(&Request::new(path)).unwrap().map(|a| a.cache());
    assert_eq!(try_get("/p/1"), None);
    assert_eq!((cache.activity().running, cache.stats().renders), (0, 0), "nothing is started");
    put(&cache, "/p/1", cache.started());
    assert_eq!(try_get("/p/1"), Some(CacheWord::Hit));
    clock.advance(secs(61.0));
    // As `get` would: at once, and it regenerates in the background.
    assert_eq!(try_get("/p/1"), Some(CacheWord::Stale));
    gate.wait_for(1);
    clock.advance(secs(50.0));
    assert_eq!(try_get("/p/1"), None, "expired");
    gate.open();
    settle(&cache);
    assert_eq!(gate.arrivals(), 1);
}

#[test]
fn those_who_wait_for_a_render_are_not_disturbed() {
    let (cache, _) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", revalidate(60.0), desk.renderer()).unwrap();
    let waiter = start_get(&cache, "/p");
    let job = desk.take();
    assert_eq!(
        cache.put("/p", None, PageResult::new("put"), cache.started()).unwrap(),
        Put::Stored
    );
    job.complete(PageResult::new("rendered")).unwrap();
    assert_eq!(told(waiter.join()).0, CacheWord::Miss);
    fails(cache.put("/q", None, PageResult::new("x"), cache.started()), NoRoute, &["/q"]);
}
