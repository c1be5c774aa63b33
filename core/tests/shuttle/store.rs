//! The store: removal, replacement, eviction.

use std::sync::Arc;

use isr_core::{Cache, CacheWord, PageResult, Put, Request};

use crate::model::{Database, check, get, number, open, route, together};
use crate::run;

#[test]
fn what_was_in_flight_when_its_path_was_removed_is_never_found_later() {
    check(2000, || {
        let (cache, _) = open(2, |_| ());
        let db = Arc::new(Database::default());
        let source = db.clone();
        route(&cache, "/a", move |job| {
            let page = source.page();
            job.complete(page).unwrap();
        });
        let read = || {
            run!(cache, db => for _ in 0..2 {
                let told = db.told();
                let answer = get(&cache, "/a").unwrap();
                assert!(number(answer.page().body()) >= told, "as {:?}", answer.cache());
            })
        };
        let remove = run!(cache, db => {
            db.change(1, || cache.remove(&["/a"]).unwrap());
            if let Some(page) = cache.peek("/a", None).unwrap().page() {
                assert_eq!(number(page.body()), 1);
            }
        });
        together(vec![read(), remove, read()]);
    });
}

#[test]
fn a_page_put_after_its_path_was_removed_is_not_stored() {
    check(2000, || {
        let (cache, _) = open(1, |_| ());
        route(&cache, "/a", |job| job.complete(PageResult::new("rendered")).unwrap());
        let started = cache.started();
        let put = run!(cache => {
            cache.put("/a", None, PageResult::new("put"), started).unwrap();
        });
        let remove = run!(cache => {
            cache.remove(&["/a"]).unwrap();
            assert!(cache.peek("/a", None).unwrap().page().is_none());
        });
        together(vec![put, remove]);
        assert!(cache.peek("/a", None).unwrap().page().is_none());
    });
}

#[test]
fn a_result_that_removes_leaves_nothing_older() {
    check(1000, || {
        let (cache, _) = open(2, |_| ());
        route(&cache, "/a", |job| {
            job.complete(PageResult { remove: true, ..PageResult::new("gone") }).unwrap();
        });
        let started = cache.started();
        let put = run!(cache => {
            cache.put("/a", None, PageResult::new("old"), started).unwrap();
        });
        let render = run!(cache => cache.regenerate(&Request::new("/a"), false).unwrap());
        together(vec![put, render]);
        assert!(cache.peek("/a", None).unwrap().page().is_none());
    });
}

#[test]
fn the_page_that_began_last_stays() {
    check(1500, || {
        let (cache, _) = open(1, |_| ());
        route(&cache, "/a", |job| job.complete(PageResult::new("rendered")).unwrap());
        let put = |body: &'static str| {
            run!(cache => {
                let started = cache.started();
                shuttle::thread::yield_now();
                cache.put("/a", None, PageResult::new(body), started).unwrap();
            })
        };
        let first = cache.started();
        let old = run!(cache => {
            cache.put("/a", None, PageResult::new("old"), first).unwrap();
        });
        together(vec![put("x"), old, put("y")]);
        let last = cache.started();
        let peek = cache.peek("/a", None).unwrap();
        assert_ne!(peek.page().unwrap().body(), b"old");
        assert_eq!(cache.put("/a", None, PageResult::new("z"), last).unwrap(), Put::Stored);
        assert_eq!(cache.put("/a", None, PageResult::new("old"), first).unwrap(), Put::NotStored);
    });
}

/// What an entry costs beside its body, for paths of two bytes.
fn entry_cost() -> u64 {
    let (cache, _) = open(1, |_| ());
    route(&cache, "/[id]", |job| job.complete(PageResult::new("")).unwrap());
    cache.put("/a", None, PageResult::new(""), cache.started()).unwrap();
    cache.stats().bytes_stored
}

fn put(cache: &Cache, path: &str, bytes: usize) {
    cache.put(path, None, PageResult::new(vec![b'x'; bytes]), cache.started()).unwrap();
}

const PATHS: [&str; 4] = ["/a", "/b", "/c", "/d"];

#[test]
fn bytes_are_exactly_what_is_stored_after_replacing_evicting_and_removing() {
    check(1500, || {
        let cost = entry_cost();
        let bound = 2 * (cost + 100);
        let (cache, _) = open(1, |o| o.max_bytes = bound);
        route(&cache, "/[id]", |job| job.complete(PageResult::new("rendered")).unwrap());
        let replace = run!(cache => {
            put(&cache, "/a", 90);
            put(&cache, "/a", 10);
            put(&cache, "/b", 100);
        });
        let fill = run!(cache => {
            put(&cache, "/c", 70);
            put(&cache, "/a", 100);
            put(&cache, "/d", 1);
        });
        let read = run!(cache => for path in PATHS {
            assert!(cache.stats().bytes_stored <= bound + 2 * (cost + 100));
            if let Some(answer) = cache.try_get(&Request::new(path)).unwrap() {
                assert_eq!(answer.cache(), CacheWord::Hit);
            }
        });
        let remove = run!(cache => {
            cache.remove(&["/a"]).unwrap();
            cache.remove(&["/d", "/b"]).unwrap();
        });
        together(vec![replace, fill, read, remove]);
        let stored: Vec<u64> = PATHS
            .iter()
            .filter_map(|path| cache.peek(path, None).unwrap().page().cloned())
            .map(|page| cost + page.body().len() as u64)
            .collect();
        let stats = cache.stats();
        assert_eq!(stats.bytes_stored, stored.iter().sum::<u64>());
        assert_eq!(stats.entries_stored, stored.len() as u64);
        assert!(stats.bytes_stored <= bound);
        cache.remove(&PATHS).unwrap();
        assert_eq!((cache.stats().bytes_stored, cache.stats().entries_stored), (0, 0));
    });
}
