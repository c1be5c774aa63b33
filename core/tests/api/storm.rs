//! Many pages that turn stale together, or are asked for at once: how many render, in which order, and who notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::*;
use isr_core::*;

const SOFT: TagOptions = TagOptions { soft: true, expire: None };

fn tagged(tags: &[&str]) -> RouteOptions {
    RouteOptions { tags: tags.iter().map(|t| t.to_string()).collect(), ..RouteOptions::default() }
}

/// Renders by handing jobs to a desk, of pages that are stored already.
fn stored_at_desk(cache: &Cache, pages: &[&str]) -> Arc<Desk> {
    let desk = Desk::new();
    cache.add_route("/p/[id]", tagged(&["all"]), desk.renderer()).unwrap();
    for path in pages {
        let get = start_get(cache, path);
        desk.take().complete(PageResult::new("v1")).unwrap();
        get.join().unwrap();
    }
    desk
}

/// The paths in the order in which they are rendered one after the other.
fn order(desk: &Desk, renders: usize) -> Vec<String> {
    let next = |_| {
        let job = desk.take();
        let path = job.path().to_string();
        job.complete(PageResult::new("v2")).unwrap();
        path
    };
    (0..renders).map(next).collect()
}

#[track_caller]
fn asked(cache: &Cache, path: &str, times: usize, word: CacheWord) {
    for _ in 0..times {
        assert_eq!(get(cache, path).unwrap().cache(), word, "{path}");
    }
}

#[test]
fn what_is_used_most_is_regenerated_first() {
    let (cache, _) = open(|o| o.threads = 1);
    let desk = stored_at_desk(&cache, &["/p/first", "/p/cold", "/p/hot"]);
    asked(&cache, "/p/hot", 9, CacheWord::Hit);
    cache.revalidate_tag(&["all"], SOFT).unwrap();
    for path in ["/p/first", "/p/cold", "/p/hot"] {
        asked(&cache, path, 1, CacheWord::Stale);
    }
    // The first had a free thread before the others came.
    assert_eq!(order(&desk, 3), ["/p/first", "/p/hot", "/p/cold"]);
}

#[test]
fn what_costs_most_is_regenerated_first() {
    let (cache, clock) = open(|o| o.threads = 1);
    let desk = Desk::new();
    cache.add_route("/p/[id]", tagged(&["all"]), desk.renderer()).unwrap();
    for (path, cost) in
        [("/p/first", 0.0), ("/p/cheap", 0.01), ("/p/dear", 2.0), ("/p/middle", 0.3)]
    {
        let get = start_get(&cache, path);
        let job = desk.take();
        clock.advance(secs(cost));
        job.complete(PageResult::new("v1")).unwrap();
        get.join().unwrap();
    }
    cache.revalidate_tag(&["all"], SOFT).unwrap();
    for path in ["/p/first", "/p/cheap", "/p/middle", "/p/dear"] {
        asked(&cache, path, 1, CacheWord::Stale);
    }
    assert_eq!(order(&desk, 4), ["/p/first", "/p/dear", "/p/middle", "/p/cheap"]);
}

#[test]
fn a_page_that_is_asked_for_while_it_waits_comes_sooner() {
    let (cache, _) = open(|o| o.threads = 1);
    let desk = stored_at_desk(&cache, &["/p/first", "/p/a", "/p/b"]);
    cache.revalidate_tag(&["all"], SOFT).unwrap();
    for path in ["/p/first", "/p/a", "/p/b"] {
        asked(&cache, path, 1, CacheWord::Stale);
    }
    asked(&cache, "/p/b", 40, CacheWord::Stale);
    assert_eq!(order(&desk, 3), ["/p/first", "/p/b", "/p/a"]);
    settle(&cache);
    assert_eq!(cache.stats().renders, 6, "asking often renders once");
}

#[test]
fn the_background_leaves_a_quarter_of_the_threads() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p/[id]", tagged(&["all"]), gated(&gate)).unwrap();
    let paths: Vec<_> = (0..20).map(|n| format!("/p/{n}")).collect();
    for path in &paths {
        cache.put(path, None, PageResult::new("v1"), cache.started()).unwrap();
    }
    cache.revalidate_tag(&["all"], SOFT).unwrap();
    for path in &paths {
        asked(&cache, path, 1, CacheWord::Stale);
    }
    gate.wait_for(6);
    let misses = [start_get(&cache, "/p/x"), start_get(&cache, "/p/y")];
    gate.wait_for(8);
    assert_eq!(cache.activity().queued, 14);
    // Whoever is waited for joins, goes first, and past the bound: but all threads are taken.
    cache.revalidate_path(&["/p/19"], None).unwrap();
    let (done, waited) = outcome();
    cache.get_then(&Request::new("/p/19"), done);
    assert_eq!(cache.activity().queued, 14);
    gate.open();
    misses.into_iter().for_each(|g| _ = g.join().unwrap());
    assert_eq!(waited.join().unwrap().cache(), CacheWord::Revalidated);
    settle(&cache);
    for path in &paths {
        asked(&cache, path, 1, CacheWord::Hit);
    }
}

#[test]
fn who_is_waited_for_takes_a_free_thread_that_the_background_may_not() {
    let (cache, _) = open(|o| {
        o.threads = 2;
        o.max_regenerations = Some(1);
    });
    let desk = stored_at_desk(&cache, &["/p/a", "/p/b"]);
    cache.revalidate_tag(&["all"], SOFT).unwrap();
    asked(&cache, "/p/a", 1, CacheWord::Stale);
    asked(&cache, "/p/b", 1, CacheWord::Stale);
    let a = desk.take();
    let activity = cache.activity();
    assert_eq!((a.path(), activity.queued, activity.running), ("/p/a", 1, 1));
    // It was queued for its kind alone: now that somebody waits it begins beside the other.
    cache.revalidate_path(&["/p/b"], None).unwrap();
    let waited = start_get(&cache, "/p/b");
    let b = desk.take();
    assert_eq!(b.path(), "/p/b");
    b.complete(PageResult::new("v2")).unwrap();
    assert_eq!(told(waited.join()), (CacheWord::Revalidated, "v2".into()));
    a.complete(PageResult::new("v2")).unwrap();
    settle(&cache);
    assert_eq!(cache.stats().renders, 4);
}

#[test]
fn regenerations_of_a_tag_are_capped_and_others_are_not_held_up() {
    let (cache, _) = open(|o| o.max_regenerations_per_tag = Some(2));
    let gate = Gate::new();
    let others = Gate::new();
    cache.add_route("/p/[id]", tagged(&["p", "all"]), gated(&gate)).unwrap();
    cache.add_route("/q/[id]", tagged(&["q"]), gated(&others)).unwrap();
    for n in 0..5 {
        for path in [format!("/p/{n}"), format!("/q/{n}")] {
            cache.put(&path, None, PageResult::new("v1"), cache.started()).unwrap();
        }
    }
    cache.revalidate_tag(&["p", "q"], SOFT).unwrap();
    for n in 0..5 {
        asked(&cache, &format!("/p/{n}"), 1, CacheWord::Stale);
    }
    for n in 0..5 {
        asked(&cache, &format!("/q/{n}"), 1, CacheWord::Stale);
    }
    gate.wait_for(2);
    others.wait_for(2);
    let activity = cache.activity();
    assert_eq!((activity.running, activity.queued), (4, 6));
    // A miss of the same tag is no regeneration.
    let miss = start_get(&cache, "/p/x");
    gate.wait_for(3);
    others.open();
    eventually("the others are done", || others.arrivals() == 5 && cache.activity().running == 3);
    assert_eq!(gate.arrivals(), 3);
    gate.open();
    miss.join().unwrap();
    settle(&cache);
    assert_eq!(cache.stats().renders, 11);
}

#[test]
fn a_routes_renders_are_capped_whatever_they_are_for() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    let slow = RouteOptions { max_concurrent: Some(2), ..tagged(&["slow"]) };
    cache.add_route("/slow/[id]", slow, gated(&gate)).unwrap();
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    cache.put("/slow/s", None, PageResult::new("v1"), cache.started()).unwrap();
    cache.revalidate_tag(&["slow"], SOFT).unwrap();
    asked(&cache, "/slow/s", 1, CacheWord::Stale);
    let gets: Vec<_> = (0..3).map(|n| start_get(&cache, &format!("/slow/{n}"))).collect();
    gate.wait_for(2);
    eventually("the others wait", || cache.activity().queued == 2);
    assert_eq!(cache.activity().running, 2);
    // There are threads for others.
    assert_eq!(told(get(&cache, "/p/1")).0, CacheWord::Miss);
    gate.open();
    gets.into_iter().for_each(|g| _ = g.join().unwrap());
    settle(&cache);
    assert_eq!(cache.stats().renders, 5);
}

#[test]
fn pages_of_a_capped_route_may_ask_for_one_another() {
    let (cache, _) = open(|o| o.threads = 4);
    let inner = cache.downgrade();
    let renderer = page(move |job| {
        let n: usize = job.path().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let next = |n| inner.upgrade().unwrap().get(&Request::new(&format!("/p/{n}"))).unwrap();
        let below = if n > 0 { body(&next(n - 1)) } else { String::new() };
        PageResult::new(format!("{n} {below}"))
    });
    let one = RouteOptions { max_concurrent: Some(1), ..RouteOptions::default() };
    cache.add_route("/p/[id]", one, renderer).unwrap();
    let gets: Vec<_> = (0..6).rev().map(|n| start_get(&cache, &format!("/p/{n}"))).collect();
    for (get, n) in gets.into_iter().zip((0..6).rev()) {
        assert!(body(&get.join().unwrap()).starts_with(&n.to_string()));
    }
    assert_eq!(cache.stats().renders, 6);
}

#[test]
fn ten_thousand_pages_that_turn_stale_together_render_no_more_at_once_than_may() {
    const PAGES: usize = 10_000;
    let (cache, clock) = open(|o| {
        o.threads = 8;
        o.max_queue = 400;
    });
    let (running, most) = (counter(), counter());
    let (now, top) = (running.clone(), most.clone());
    let renderer = page(move |job| {
        top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        PageResult::new(format!("new {}", job.path()))
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    let paths: Vec<_> = (0..PAGES).map(|n| format!("/p/{n}")).collect();
    for path in &paths {
        cache.put(path, None, PageResult::new("old"), cache.started()).unwrap();
    }
    clock.advance(secs(60.001));
    let mut left: Vec<_> = paths.iter().collect();
    let mut rounds = 0;
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds <= 2 * PAGES, "{} are still stale", left.len());
        left.retain(|path| {
            let answer = get_here(&cache, path);
            assert!(cache.activity().queued <= 400);
            // Nobody waits, and nobody gets an error, room in the queue or not.
            match answer.cache() {
                CacheWord::Stale => true,
                word => {
                    assert_eq!((word, body(&answer)), (CacheWord::Hit, format!("new {path}")));
                    false
                }
            }
        });
    }
    settle(&cache);
    assert_eq!(cache.stats().renders as usize, PAGES, "each of them once");
    let most = most.load(Ordering::SeqCst);
    assert!((1..=6).contains(&most), "{most} at once");
}

fn get_here(cache: &Cache, path: &str) -> Answer {
    cache.get(&Request::new(path)).unwrap()
}

#[test]
fn ten_thousand_who_wait_for_a_cold_page_share_one_render() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let told = told.clone();
        let done = move |answer: Result<Answer, Error>| {
            assert_eq!(answer.unwrap().cache(), CacheWord::Miss);
            told.fetch_add(1, Ordering::SeqCst);
        };
        cache.get_then(&Request::new("/p"), Box::new(done));
    }
    gate.wait_for(1);
    assert_eq!(value(&told), 0);
    gate.open();
    settle(&cache);
    assert_eq!((value(&told), cache.stats().renders), (10_000, 1));
}

fn early(beta: f64) -> RouteOptions {
    RouteOptions { early_refresh: Some(beta), ..revalidate(60.0) }
}

#[test]
fn a_page_near_its_end_is_refreshed_before_anybody_sees_it_stale() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/p", early(1.0), versions(&renders)).unwrap();
    get(&cache, "/p").unwrap();
    clock.advance(secs(50.0));
    asked(&cache, "/p", 20, CacheWord::Hit);
    settle(&cache);
    assert_eq!(value(&renders), 1, "long before its end nothing happens");
    // At exactly its last moment it is certain.
    clock.advance(secs(10.0));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v1".into()));
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v2".into()));
    clock.advance(secs(59.0));
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v2".into()), "and lives as long again");
    settle(&cache);
    assert_eq!(value(&renders), 2);
}

#[test]
fn an_early_refresh_runs_once_and_others_hit_meanwhile() {
    let (cache, clock) = open(|o| o.early_refresh = 1.0);
    let desk = Desk::new();
    cache.add_route("/p", revalidate(60.0), desk.renderer()).unwrap();
    let first = start_get(&cache, "/p");
    desk.take().complete(PageResult::new("v1")).unwrap();
    first.join().unwrap();
    clock.advance(secs(60.0));
    asked(&cache, "/p", 100, CacheWord::Hit);
    let job = desk.take();
    assert_eq!((job.reason(), job.previous().is_some()), (Reason::Stale, true));
    // It turns stale while it runs: no other begins.
    clock.advance(secs(0.001));
    asked(&cache, "/p", 100, CacheWord::Stale);
    assert_eq!(desk.len(), 0);
    job.complete(PageResult::new("v2")).unwrap();
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "v2".into()));
    assert_eq!(cache.stats().renders, 2);
}

#[test]
fn an_early_refresh_that_fails_leaves_the_page_fresh_and_backs_off() {
    let (cache, clock) = open(|_| ());
    let desk = Desk::new();
    cache.add_route("/p", early(1.0), desk.renderer()).unwrap();
    let first = start_get(&cache, "/p");
    desk.take().complete(PageResult::new("v1")).unwrap();
    first.join().unwrap();
    clock.advance(secs(60.0));
    asked(&cache, "/p", 1, CacheWord::Hit);
    desk.take().fail(Error::render("boom", None)).unwrap();
    settle(&cache);
    asked(&cache, "/p", 10, CacheWord::Hit);
    clock.advance(secs(29.0));
    asked(&cache, "/p", 10, CacheWord::Stale);
    settle(&cache);
    assert_eq!(cache.stats().renders, 2);
    clock.advance(secs(1.0));
    asked(&cache, "/p", 1, CacheWord::Stale);
    desk.take().complete(PageResult::new("v2")).unwrap();
    settle(&cache);
    asked(&cache, "/p", 1, CacheWord::Hit);
}

#[test]
fn an_early_refresh_loads_anew_what_would_be_stale_with_the_page() {
    let (cache, clock) = open(|_| ());
    let loaded = counter();
    let count = loaded.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = job.complete(n.to_string().into());
    });
    let renderer = page(move |job| {
        let minute = DataOptions { revalidate: secs(60.0), ..DataOptions::default() };
        PageResult::new(job.data(&["k"], &minute, loader.clone()).unwrap().value())
    });
    cache.add_route("/p", early(1.0), renderer).unwrap();
    get(&cache, "/p").unwrap();
    clock.advance(secs(60.0));
    asked(&cache, "/p", 1, CacheWord::Hit);
    settle(&cache);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "2".into()));
}

#[test]
fn a_prefetch_and_what_is_off_refresh_nothing_early() {
    let (cache, clock) = open(|_| ());
    let renders = counter();
    cache.add_route("/on", early(1.0), versions(&renders)).unwrap();
    cache.add_route("/off", revalidate(60.0), versions(&renders)).unwrap();
    cache.add_route("/zero", early(0.0), versions(&renders)).unwrap();
    for path in ["/on", "/off", "/zero"] {
        get(&cache, path).unwrap();
    }
    clock.advance(secs(60.0));
    let prefetch = Request { prefetch: true, ..Request::new("/on") };
    assert_eq!(cache.get(&prefetch).unwrap().cache(), CacheWord::Hit);
    asked(&cache, "/off", 10, CacheWord::Hit);
    asked(&cache, "/zero", 10, CacheWord::Hit);
    settle(&cache);
    assert_eq!(value(&renders), 3);
}
