//! Two caches on one directory: what one stores or invalidates, the other sees.

use std::sync::{Arc, Mutex};

use super::ground::*;
use super::support::*;
use isr_core::*;

#[test]
fn what_one_renders_is_a_hit_for_the_other() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let rendered = get(&a, "/p").unwrap();
    ground.advance(7.0);
    let answer = get(&b, "/p").unwrap();
    assert_eq!(answer.cache(), CacheWord::Hit);
    assert_eq!(answer.page().body(), rendered.page().body());
    assert_eq!(answer.page().etag(), rendered.page().etag());
    assert_eq!((value(&count), b.stats().disk_reads, a.stats().disk_writes), (1, 1, 1));
    get(&b, "/p").unwrap();
    assert_eq!(b.stats().disk_reads, 1, "now it is in memory");
    assert_eq!((b.stats().hits, b.stats().misses), (2, 0));
    ground.is_quiet();
}

#[test]
fn an_invalidation_holds_at_the_very_next_request_of_the_other() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let soft = TagOptions { soft: true, expire: None };
    type Call = Box<dyn Fn(&Cache)>;
    let calls: [(Call, CacheWord); 5] = [
        (
            Box::new(|c| c.revalidate_tag(&["all"], TagOptions::default()).unwrap()),
            CacheWord::Revalidated,
        ),
        (Box::new(|c| assert!(c.revalidate_path(&["/p"], None).unwrap())), CacheWord::Revalidated),
        (
            Box::new(|c| assert!(c.revalidate_path(&["/"], Some(PathType::Layout)).unwrap())),
            CacheWord::Revalidated,
        ),
        (Box::new(|c| c.remove(&["/p"]).unwrap()), CacheWord::Miss),
        (Box::new(move |c| c.revalidate_tag(&["all"], soft).unwrap()), CacheWord::Stale),
    ];
    for (call, expected) in &calls {
        for (one, other) in [(&a, &b), (&b, &a)] {
            get(one, "/p").unwrap();
            assert_eq!(get(other, "/p").unwrap().cache(), CacheWord::Hit);
            let before = value(&count);
            call(one);
            assert_eq!(get(other, "/p").unwrap().cache(), *expected);
            eventually("it was rendered once", || value(&count) == before + 1);
            settle(one);
            settle(other);
            assert_eq!(get(one, "/p").unwrap().cache(), CacheWord::Hit);
        }
    }
    ground.is_quiet();
}

#[test]
fn drafts_stay_alone_and_their_tokens_hold_for_all() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let previous: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = previous.clone();
    let renderer = page(move |job| {
        seen.lock().unwrap().push(job.previous().is_some());
        PageResult::new("x")
    });
    both(&a, &b, revalidate(60.0), renderer);
    let draft = |cache: &Cache| told(cache.get(&Request { draft: true, ..Request::new("/p") }));
    assert_eq!(draft(&a), word(CacheWord::Bypass, "x"));
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
    get(&a, "/p").unwrap();
    draft(&b);
    a.remove(&["/p"]).unwrap();
    draft(&b);
    assert_eq!(*previous.lock().unwrap(), [false, false, true, false]);
    let token = a.draft_token(secs(60.0)).unwrap();
    assert!(b.verify_draft(&token));
}

#[test]
fn what_is_put_is_seen_and_what_is_older_is_not_stored() {
    let ground = Ground::new();
    let (a, b, _) = ground.pair();
    let put = |cache: &Cache, body: &str, started| {
        cache.put("/p", None, PageResult::new(body), started).unwrap()
    };
    let (old, new) = (a.started(), b.started());
    assert!(old < new, "one order for all");
    assert_eq!(put(&b, "new", new), Put::Stored);
    assert_eq!(put(&a, "old", old), Put::NotStored);
    assert_eq!(told(get(&a, "/p")), hit("new"));
    a.remove(&["/p"]).unwrap();
    assert_eq!(put(&b, "new", new), Put::NotStored);
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
    let now = b.started();
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(put(&b, "begun before", now), Put::Stored);
    assert_eq!(a.peek("/p", None).unwrap().state(), State::Expired);
}

#[test]
fn data_entries_are_shared_outside_of_renders() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    assert_eq!(data(&a, "k", "one"), word(CacheWord::Miss, "one"));
    assert_eq!(data(&b, "k", "two"), hit("one"));
    a.revalidate_tag(&["d"], TagOptions::default()).unwrap();
    assert_eq!(data(&b, "k", "two"), word(CacheWord::Revalidated, "two"));
    assert_eq!(data(&a, "k", "three"), hit("two"));
    ground.advance(61.0);
    assert_eq!(data(&a, "k", "three"), word(CacheWord::Stale, "two"));
    settle(&a);
    assert_eq!(data(&b, "k", "four"), hit("three"));
    ground.is_quiet();
}

#[test]
fn max_variants_are_those_of_both() {
    let ground = Ground::new();
    let (a, b) =
        (ground.open_with(|o| o.max_variants = 2), ground.open_with(|o| o.max_variants = 2));
    both(&a, &b, RouteOptions { query: vec!["q".into()], ..revalidate(60.0) }, echo());
    assert_eq!(told(get(&a, "/p?q=1")).0, CacheWord::Miss);
    assert_eq!(told(get(&b, "/p?q=2")).0, CacheWord::Miss);
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p?q=3")).0, CacheWord::Bypass);
        assert_eq!(told(get(cache, "/p?q=1")).0, CacheWord::Hit);
        assert_eq!(told(get(cache, "/p?q=2")).0, CacheWord::Hit);
    }
    assert_eq!(told(get(&b, "/p")).0, CacheWord::Miss, "the plain page is none");
    a.remove(&["/p"]).unwrap();
    assert_eq!(told(get(&b, "/p?q=3")).0, CacheWord::Miss);
}

#[test]
fn deployments_do_not_see_one_another() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open_with(|o| o.deployment = "next".into()));
    let (one, two) = (counter(), counter());
    a.add_route("/[id]", revalidate(60.0), versions(&one)).unwrap();
    b.add_route("/[id]", revalidate(60.0), versions(&two)).unwrap();
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), word(CacheWord::Miss, "v1"));
        assert_eq!(told(get(cache, "/p")), hit("v1"));
    }
    assert_eq!((data(&a, "k", "one"), data(&b, "k", "two")).1, word(CacheWord::Miss, "two"));
    ground.is_quiet();
}

#[test]
fn without_memory_the_directory_serves_alone() {
    let ground = Ground::new();
    let a = ground.open_with(|o| o.max_bytes = 0);
    let count = counter();
    a.add_route("/[id]", revalidate(60.0), versions(&count)).unwrap();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Miss, "v1"));
    assert_eq!(told(get(&a, "/p")), hit("v1"));
    ground.advance(61.0);
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Stale, "v1"));
    settle(&a);
    assert_eq!(told(get(&a, "/p")), hit("v2"));
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Revalidated, "v3"));
    let stats = a.stats();
    assert_eq!((stats.entries_stored, stats.too_large, stats.disk_writes), (0, 0, 3));
}

#[test]
fn a_result_that_removes_does_so_for_all() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, RouteOptions { query: vec!["q".into()], ..revalidate(60.0) }, desk.renderer());
    for path in ["/p", "/p?q=1"] {
        let task = start_get(&a, path);
        desk.take().complete(PageResult::new("x")).unwrap();
        task.join().unwrap();
        assert_eq!(told(get(&b, path)), hit("x"));
    }
    let cache = a.clone();
    let task = spawn(move || cache.regenerate(&Request::new("/p"), false));
    desk.take().complete(PageResult { remove: true, ..PageResult::new("gone") }).unwrap();
    task.join().unwrap();
    for cache in [&a, &b] {
        assert_eq!(cache.peek("/p", None).unwrap().state(), State::Missing);
        assert_eq!(cache.try_get(&Request::new("/p?q=1")).unwrap().map(|a| a.cache()), None);
    }
    assert_eq!(a.stats().disk_bytes, b.stats().disk_bytes);
}

#[test]
fn the_same_process_counts_as_two() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let tasks: Vec<_> = (0..400)
        .map(|n| start_get(if n % 2 == 0 { &a } else { &b }, &format!("/{}", n % 20)))
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!(value(&count), 20);
    assert_eq!(a.stats().disk_writes + b.stats().disk_writes, 20);
    assert_eq!(a.stats().disk_bytes, 20 * 4096);
    ground.is_quiet();
}
