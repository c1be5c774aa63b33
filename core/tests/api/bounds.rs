//! Memory has a bound, and nobody pushes out what is hot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::support::*;
use isr_core::*;

const KIB: u64 = 1024;

#[test]
fn churn_stays_within_max_bytes() {
    let max = 512 * KIB;
    let (cache, _) = open(|o| {
        o.max_bytes = max;
        o.threads = 4;
    });
    let renderer = page(|job| {
        let n: usize = job.path().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        PageResult::new(vec![b'x'; 200 + n % 7 * 900]).tag(format!("tag-{}", n % 50))
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (watched, stopped) = (cache.clone(), stop.clone());
    let watcher = spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::SeqCst) {
            most = most.max(watched.stats().bytes_stored);
            std::thread::yield_now();
        }
        most
    });
    let tasks: Vec<_> = (0..4_usize)
        .map(|t| {
            let cache = cache.clone();
            spawn(move || {
                for i in 0..1500 {
                    cache.get(&Request::new(&format!("/p/{}", (i * 31 + t * 977) % 3000))).unwrap();
                    if i % 100 == 0 {
                        cache.remove(&[&format!("/p/{i}")]).unwrap();
                    }
                    if i % 250 == 0 {
                        cache
                            .revalidate_tag(&[&format!("tag-{}", i % 50)], TagOptions::default())
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(Task::join);
    settle(&cache);
    stop.store(true, Ordering::SeqCst);
    let most = watcher.join();
    assert!(most <= max, "{most} of {max} bytes");
    let stats = cache.stats();
    assert!(stats.bytes_stored <= max);
    assert!(stats.evictions > 0 && stats.entries_stored > 0, "{stats:?}");
    // Full, and not by accident: most of the room is used.
    assert!(stats.bytes_stored > max / 2, "{} of {max} bytes", stats.bytes_stored);
}

#[test]
fn what_is_evicted_renders_again_and_what_is_removed_gives_its_bytes_back() {
    let (cache, _) = open(|o| o.max_bytes = 256 * KIB);
    cache
        .add_route("/p/[id]", revalidate(60.0), page(|_| PageResult::new(vec![b'x'; 4096])))
        .unwrap();
    let empty = cache.stats().bytes_stored;
    for n in 0..200 {
        get(&cache, &format!("/p/{n}")).unwrap();
    }
    let stats = cache.stats();
    assert_eq!(stats.evictions + stats.entries_stored, 200);
    let missing = |n| cache.peek(&format!("/p/{n}"), None).unwrap().state() == State::Missing;
    let evicted = (0..200).find(|&n| missing(n)).unwrap();
    assert_eq!(told(get(&cache, &format!("/p/{evicted}"))).0, CacheWord::Miss);
    for n in 0..200 {
        cache.remove(&[&format!("/p/{n}")]).unwrap();
    }
    let stats = cache.stats();
    assert_eq!(stats.entries_stored, 0);
    assert!(stats.bytes_stored < empty + 64 * KIB, "{stats:?}");
}

#[test]
fn unknown_paths_do_not_push_out_hot_pages() {
    let (cache, _) = open(|o| o.max_bytes = 256 * KIB);
    let renderer = page(|job| match job.path().starts_with("/p/hot") {
        true => PageResult::new(vec![b'x'; 2048]),
        false => PageResult::not_found(vec![b'x'; 2048]),
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    let hot: Vec<_> = (0..20).map(|n| format!("/p/hot{n}")).collect();
    for _ in 0..10 {
        for path in &hot {
            cache.get(&Request::new(path)).unwrap();
        }
    }
    let mut hits = 0;
    let mut asked = 0;
    for n in 0..4000 {
        let _ = cache.get(&Request::new(&format!("/p/guess{n}"))).unwrap();
        if n % 10 == 0 {
            asked += 1;
            let path = &hot[n / 10 % hot.len()];
            hits += usize::from(told(cache.get(&Request::new(path))).0 == CacheWord::Hit);
        }
    }
    assert!(hits * 100 >= asked * 95, "{hits} of {asked} requests for hot pages were hits");
    assert!(cache.stats().bytes_stored <= 256 * KIB);
}

#[test]
fn a_page_larger_than_all_room_is_answered() {
    let (cache, _) = open(|o| o.max_bytes = 64 * KIB);
    let renderer = page(|job| {
        let size = if job.path() == "/p/large" { 1 << 20 } else { 100 };
        PageResult::new(vec![b'x'; size])
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    get(&cache, "/p/small").unwrap();
    for _ in 0..2 {
        assert_eq!(get(&cache, "/p/large").unwrap().page().body().len(), 1 << 20);
    }
    assert_eq!(cache.peek("/p/large", None).unwrap().state(), State::Missing);
    assert!(cache.stats().bytes_stored <= 64 * KIB);
    assert_eq!(told(get(&cache, "/p/small")).0, CacheWord::Hit, "and pushes out nothing");
}

#[test]
fn data_entries_count_as_well() {
    let (cache, _) = open(|o| o.max_bytes = 128 * KIB);
    let large: Arc<dyn Loader> = Arc::new(|job: LoadJob| {
        let _ = job.complete(vec![b'x'; 4096]);
    });
    for n in 0..200 {
        cache.data(None, &["k", &n.to_string()], &DataOptions::default(), large.clone()).unwrap();
        assert!(cache.stats().bytes_stored <= 128 * KIB);
    }
    assert!(cache.stats().evictions >= 150);
}

#[test]
fn no_room_at_all_still_answers() {
    let (cache, _) = open(|o| o.max_bytes = 0);
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    for _ in 0..2 {
        assert_eq!(told(get(&cache, "/p")).1, "/p");
    }
    assert_eq!(cache.stats().entries_stored, 0);
}

fn by_query(cache: &Cache, count: &Arc<std::sync::atomic::AtomicUsize>) {
    let options = RouteOptions { query: vec!["q".into()], ..revalidate(60.0) };
    cache.add_route("/s/[id]", options, versions(count)).unwrap();
}

#[test]
fn variants_of_one_path_are_capped() {
    let (cache, _) = open(|o| o.max_variants = 4);
    let renders = counter();
    by_query(&cache, &renders);
    let word = |path: &str| told(get(&cache, path)).0;
    for n in 0..4 {
        assert_eq!(word(&format!("/s/1?q={n}")), CacheWord::Miss);
    }
    for _ in 0..2 {
        assert_eq!(word("/s/1?q=x"), CacheWord::Bypass);
    }
    // What is stored stays so, another path has its own, and other names make no variant.
    assert_eq!(word("/s/1?q=0&other=1"), CacheWord::Hit);
    assert_eq!(word("/s/2?q=x"), CacheWord::Miss);
    // A stored variant is still regenerated.
    cache.revalidate_path(&["/s/1"], None).unwrap();
    assert_eq!(word("/s/1?q=3"), CacheWord::Revalidated);
    // Room is made by a removal.
    cache.remove(&["/s/1"]).unwrap();
    assert_eq!(word("/s/1?q=x"), CacheWord::Miss);
    assert_eq!(word("/s/1?q=x"), CacheWord::Hit);
}

#[test]
fn nobody_fills_the_cache_through_a_query() {
    let (cache, _) = open(|_| ());
    let renders = counter();
    by_query(&cache, &renders);
    for n in 0..500 {
        get(&cache, &format!("/s/1?q={n}")).unwrap();
    }
    assert_eq!(cache.stats().entries_stored, 64);
    assert_eq!(value(&renders), 500);
}

#[test]
fn a_cap_holds_when_all_come_at_once() {
    let (cache, _) = open(|o| {
        o.max_variants = 4;
        o.threads = 8;
    });
    let gate = Gate::new();
    let options = RouteOptions { query: vec!["q".into()], ..revalidate(60.0) };
    cache.add_route("/s", options, gated(&gate)).unwrap();
    let gets: Vec<_> = (0..8).map(|n| start_get(&cache, &format!("/s?q={n}"))).collect();
    gate.wait_for(8);
    gate.open();
    gets.into_iter().for_each(|g| _ = g.join().unwrap());
    assert_eq!(cache.stats().entries_stored, 4);
}

#[test]
fn failures_of_unknown_paths_take_no_room_without_end() {
    let (cache, _) = open(|o| o.max_bytes = 256 * KIB);
    let renderer = |job: RenderJob| {
        let _ = job.fail(Error::render("no such page", None));
    };
    cache.add_route("/p/[id]", revalidate(60.0), Arc::new(renderer)).unwrap();
    for n in 0..3000 {
        let _ = cache.get(&Request::new(&format!("/p/{n}")));
    }
    assert!(cache.stats().bytes_stored <= 256 * KIB);
    assert_eq!(cache.stats().entries_stored, 0);
}

#[test]
fn tags_take_room_too() {
    let (cache, _) = open(|_| ());
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let put = |path: &str, tags: Vec<String>| {
        let before = cache.stats().bytes_stored;
        let page = PageResult { tags, ..PageResult::new("x") };
        cache.put(path, None, page, cache.started()).unwrap();
        cache.stats().bytes_stored - before
    };
    let bare = put("/p/1", vec![]);
    // The names of 128 tags that no other page has.
    let tagged = put("/p/2", (0..128).map(|n| format!("{n:0>256}")).collect());
    assert!(tagged >= bare + 128 * 256, "{bare} without, {tagged} with 32 KiB of tags");
}

/// Pages whose render moves the clock: a second for each tenth, else a millisecond.
fn costly_tenth(clock: &ManualClock, count: &Arc<AtomicUsize>) -> Arc<dyn Renderer> {
    let (clock, count) = (clock.clone(), count.clone());
    page(move |job| {
        let costly = job.path().ends_with('0');
        clock.advance(secs(if costly { 1.0 } else { 0.001 }));
        count.fetch_add(usize::from(costly), Ordering::SeqCst);
        PageResult::new(vec![b'x'; 4096])
    })
}

#[test]
fn what_took_long_to_render_stays_before_what_did_not() {
    let (cache, clock) = open(|o| o.max_bytes = 256 * KIB);
    let count = counter();
    cache.add_route("/p/[id]", revalidate(1e9), costly_tenth(&clock, &count)).unwrap();
    // Twice what fits, several times over.
    for n in 0..600 {
        get(&cache, &format!("/p/{}", n % 120)).unwrap();
    }
    assert_eq!(value(&count), 12, "each was rendered once");
    assert!(cache.stats().evictions > 300);
}

#[test]
fn what_a_load_cost_is_measured_too() {
    let (cache, clock) = open(|o| o.max_bytes = 256 * KIB);
    let count = counter();
    let loader = |costly: bool| -> Arc<dyn Loader> {
        let (clock, count) = (clock.clone(), count.clone());
        Arc::new(move |job: LoadJob| {
            clock.advance(secs(if costly { 1.0 } else { 0.001 }));
            count.fetch_add(usize::from(costly), Ordering::SeqCst);
            let _ = job.complete(vec![b'x'; 4096]);
        })
    };
    for n in 0..600 {
        let key = (n % 120).to_string();
        cache.data(None, &[&key], &DataOptions::default(), loader(n % 10 == 0)).unwrap();
    }
    assert_eq!(value(&count), 12, "each was loaded once");
}
