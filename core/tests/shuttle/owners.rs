//! Several who share a cache: whoever stays is answered, and the cache ends with the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use isr_core::{
    Cache, DataOptions, ErrorKind, LoadJob, Options, PageResult, RenderJob, Request, RouteOptions,
};

use crate::model::{check, get, open, quiet, route, together};
use crate::run;

fn join() -> Cache {
    let (cache, _) = open(1, |o| {
        o.name = Some("c".into());
        o.clock = Options::default().clock;
    });
    cache
}

fn rendered(job: RenderJob) {
    shuttle::thread::yield_now();
    // Refused where closing was quicker.
    let _ = job.complete(PageResult::new("x").tag("t"));
}

#[test]
fn who_stays_is_answered_whenever_another_one_closes() {
    for patience in [Duration::ZERO, Duration::MAX] {
        check(700, move || {
            let (goes, stays) = (join(), join());
            for cache in [&goes, &stays] {
                route(cache, "/[id]", rendered);
            }
            let ask = |path: &'static str| run!(stays => assert!(get(&stays, path).is_ok()));
            let asks_and_goes = run!(goes => {
                let called = Arc::new(AtomicUsize::new(0));
                let count = called.clone();
                let done = move |result: Result<_, isr_core::Error>| {
                    count.fetch_add(1, Ordering::SeqCst);
                    if let Err(error) = result {
                        assert_eq!(error.kind(), ErrorKind::Closed);
                    }
                };
                goes.get_then(&Request::new("/a"), Box::new(done));
                let in_time = goes.close(patience);
                assert!(in_time || patience.is_zero());
                assert!(get(&goes, "/a").is_err());
                goes.close(Duration::MAX);
                assert_eq!(called.load(Ordering::SeqCst), 1, "what it asked is answered by now");
            });
            together(vec![ask("/a"), asks_and_goes, ask("/a"), ask("/b")]);
            quiet(&stays);
            assert!(stays.close(Duration::MAX));
        });
    }
}

#[test]
fn after_closing_none_of_its_callbacks_runs() {
    check(700, || {
        let (goes, stays) = (join(), join());
        let running = Arc::new(AtomicUsize::new(0));
        let runs = running.clone();
        route(&goes, "/[id]", move |job| {
            runs.fetch_add(1, Ordering::SeqCst);
            rendered(job);
            runs.fetch_sub(1, Ordering::SeqCst);
        });
        let close = run!(goes => {
            assert!(goes.close(Duration::MAX));
            assert_eq!(running.load(Ordering::SeqCst), 0);
        });
        // Where the route is gone there is none.
        let ask = |path: &'static str| run!(stays => drop(get(&stays, path)));
        together(vec![ask("/a"), close, ask("/b")]);
        assert_eq!(get(&stays, "/c").unwrap_err().kind(), ErrorKind::NoRoute);
    });
}

#[test]
fn a_load_of_one_who_closes_is_begun_again() {
    check(700, || {
        let (goes, stays) = (join(), join());
        let read = |cache: &Cache| {
            let load = |load: LoadJob| {
                shuttle::thread::yield_now();
                drop(load.complete(b"v".to_vec()));
            };
            cache.data(None, &["k"], &DataOptions::default(), Arc::new(load))
        };
        let asks = run!(goes => drop(read(&goes)));
        let close = run!(goes => goes.close(Duration::ZERO));
        let stay = run!(stays => assert_eq!(read(&stays).unwrap().value(), b"v"));
        together(vec![asks, close, stay]);
    });
}

#[test]
fn whoever_opens_it_while_the_last_one_closes_has_one_that_works() {
    check(700, || {
        let comes_and_goes = || {
            Box::new(|| {
                let cache = join();
                cache.add_route("/[id]", RouteOptions::default(), Arc::new(rendered)).unwrap();
                assert!(get(&cache, "/a").is_ok());
                cache.revalidate_tag(&["t"], Default::default()).unwrap();
                assert!(cache.close(Duration::MAX));
            }) as Box<dyn FnOnce() + Send>
        };
        together(vec![comes_and_goes(), comes_and_goes(), comes_and_goes()]);
        assert_eq!(join().stats().renders, 0, "none is left of those before");
    });
}
