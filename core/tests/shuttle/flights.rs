//! One render per page, one load per entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use isr_core::{CacheWord, DataOptions, LoadJob, PageResult, Request, TagOptions};

use crate::model::{check, get, number, open, quiet, route, together};
use crate::run;

#[test]
fn all_who_ask_for_a_cold_page_share_one_render() {
    check(1500, || {
        let (cache, _) = open(2, |_| ());
        let renders = Arc::new(AtomicU64::new(0));
        let n = renders.clone();
        route(&cache, "/a", move |job| {
            let n = n.fetch_add(1, Ordering::SeqCst) + 1;
            shuttle::thread::yield_now();
            job.complete(PageResult::new(n.to_string())).unwrap();
        });
        let ask = || run!(cache => assert_eq!(number(get(&cache, "/a").unwrap().page().body()), 1));
        together(vec![ask(), ask(), ask()]);
        assert_eq!(renders.load(Ordering::SeqCst), 1);
        let stats = cache.stats();
        assert_eq!((stats.renders, stats.hits + stats.misses), (1, 3));
    });
}

#[test]
fn all_who_ask_for_an_expired_page_share_one_newer_render() {
    check(1500, || {
        let (cache, _) = open(2, |_| ());
        let renders = Arc::new(AtomicU64::new(0));
        let n = renders.clone();
        route(&cache, "/a", move |job| {
            let n = n.fetch_add(1, Ordering::SeqCst) + 1;
            job.complete(PageResult::new(n.to_string()).tag("t")).unwrap();
        });
        get(&cache, "/a").unwrap();
        cache.revalidate_tag(&["t"], TagOptions::default()).unwrap();
        let ask = || run!(cache => assert_eq!(number(get(&cache, "/a").unwrap().page().body()), 2));
        together(vec![ask(), ask(), ask()]);
        assert_eq!(renders.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_stale_page_is_regenerated_once_while_all_get_it_at_once() {
    check(1500, || {
        let (cache, _) = open(2, |_| ());
        let renders = Arc::new(AtomicU64::new(0));
        let n = renders.clone();
        route(&cache, "/a", move |job| {
            let n = n.fetch_add(1, Ordering::SeqCst) + 1;
            job.complete(PageResult::new(n.to_string()).tag("t")).unwrap();
        });
        get(&cache, "/a").unwrap();
        cache.revalidate_tag(&["t"], TagOptions { soft: true, expire: None }).unwrap();
        let ask = || {
            run!(cache => {
                let answer = get(&cache, "/a").unwrap();
                match answer.cache() {
                    CacheWord::Stale => assert_eq!(number(answer.page().body()), 1),
                    word => assert_eq!((word, number(answer.page().body())), (CacheWord::Hit, 2)),
                }
            })
        };
        together(vec![ask(), ask(), ask()]);
        quiet(&cache);
        assert_eq!(cache.stats().renders, 2);
    });
}

#[test]
fn an_explicit_regeneration_never_joins_a_render_that_had_begun() {
    check(1000, || {
        let (cache, _) = open(3, |_| ());
        let begun = Arc::new(shuttle::sync::atomic::AtomicU64::new(0));
        let n = begun.clone();
        route(&cache, "/a", move |job| {
            let n = n.fetch_add(1, Ordering::SeqCst) + 1;
            job.complete(PageResult::new(n.to_string())).unwrap();
        });
        let again = || {
            run!(cache, begun => {
                let before = begun.load(Ordering::SeqCst);
                let answer = cache.regenerate(&Request::new("/a"), false).unwrap().unwrap();
                assert!(number(answer.page().body()) > before);
            })
        };
        together(vec![run!(cache => get(&cache, "/a").unwrap()), again(), again()]);
    });
}

#[test]
fn renders_that_read_one_entry_share_one_load() {
    check(1000, || {
        let (cache, _) = open(2, |_| ());
        let loads = Arc::new(AtomicU64::new(0));
        for pattern in ["/a", "/b"] {
            let n = loads.clone();
            route(&cache, pattern, move |job| {
                let n = n.clone();
                let load = move |load: LoadJob| {
                    let n = n.fetch_add(1, Ordering::SeqCst) + 1;
                    load.complete(n.to_string().into_bytes()).unwrap();
                };
                let value = job.data(&["k"], &DataOptions::default(), Arc::new(load));
                let body = value.unwrap().value().to_vec();
                job.complete(PageResult::new(body)).unwrap();
            });
        }
        let ask = |path: &'static str| run!(cache => assert_eq!(number(get(&cache, path).unwrap().page().body()), 1));
        together(vec![ask("/a"), ask("/b"), ask("/a")]);
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert_eq!(cache.stats().renders, 2);
    });
}
