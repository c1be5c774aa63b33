//! Renders and loads that ask for each other: an error, never a dead-lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use isr_core::{Cache, DataOptions, Error, ErrorKind, LoadJob, PageResult, RenderJob, WeakCache};

use crate::model::{check, get, open, quiet, route, together};
use crate::run;

/// Renders a page that asks for another one, and notes what it got.
fn asks_for(cache: &Cache, path: &str, other: &'static str, errors: &Arc<Mutex<Vec<ErrorKind>>>) {
    let (inner, errors): (WeakCache, _) = (cache.downgrade(), errors.clone());
    route(cache, path, move |job| {
        let Some(cache) = inner.upgrade() else { return };
        let body = match get(&cache, other) {
            Ok(answer) => answer.page().body().to_vec(),
            Err(error) => {
                errors.lock().unwrap().push(error.kind());
                error.message().as_bytes().to_vec()
            }
        };
        job.complete(PageResult::new(body)).unwrap();
    });
}

#[test]
fn pages_that_ask_for_each_other_get_an_error_and_everybody_an_answer() {
    for (threads, pages) in [(1, 2), (2, 2), (3, 3)] {
        check(700, move || {
            let (cache, _) = open(threads, |_| ());
            let errors = Arc::new(Mutex::new(Vec::new()));
            let paths = ["/a", "/b", "/c"];
            for n in 0..pages {
                asks_for(&cache, paths[n], paths[(n + 1) % pages], &errors);
            }
            let ask = |path| run!(cache => assert!(get(&cache, path).is_ok()));
            together(paths[..pages].iter().copied().map(ask).collect());
            assert_eq!(*errors.lock().unwrap(), [ErrorKind::InvalidArgument]);
            quiet(&cache);
        });
    }
}

/// Reads a data entry whose load reads another one, which it reads in turn.
fn reads(job: &RenderJob, first: &'static str, second: &'static str) -> Result<Vec<u8>, Error> {
    let load = move |load: LoadJob| {
        let inner = |load: LoadJob| {
            // Each of the two entries is also read by the load of the other.
            shuttle::thread::yield_now();
            load.complete(b"v".to_vec()).unwrap();
        };
        match load.data(&[second], &DataOptions::default(), Arc::new(inner)) {
            Ok(value) => load.complete(value.value().to_vec()).unwrap(),
            Err(error) => load.fail(error).unwrap(),
        }
    };
    job.data(&[first], &DataOptions::default(), Arc::new(load)).map(|v| v.value().to_vec())
}

#[test]
fn loads_that_read_each_others_entries_get_an_error_at_most_and_everybody_an_answer() {
    check(1500, || {
        let (cache, _) = open(2, |_| ());
        let failed = Arc::new(AtomicUsize::new(0));
        for (path, first, second) in [("/a", "k", "l"), ("/b", "l", "k")] {
            let failed = failed.clone();
            route(&cache, path, move |job| match reads(&job, first, second) {
                Ok(value) => job.complete(PageResult::new(value)).unwrap(),
                Err(error) => {
                    if error.kind() == ErrorKind::InvalidArgument {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                    job.fail(error).unwrap();
                }
            });
        }
        let ask = |path| run!(cache => drop(get(&cache, path)));
        together(vec![ask("/a"), ask("/b")]);
        let stats = cache.stats();
        assert_eq!(stats.render_failures as usize, failed.load(Ordering::SeqCst));
        quiet(&cache);
    });
}

#[test]
fn pages_in_a_row_need_one_seat() {
    check(1000, || {
        let (cache, _) = open(1, |_| ());
        let errors = Arc::new(Mutex::new(Vec::new()));
        asks_for(&cache, "/a", "/b", &errors);
        asks_for(&cache, "/b", "/c", &errors);
        route(&cache, "/c", |job| job.complete(PageResult::new("end")).unwrap());
        let ask =
            |path| run!(cache => assert_eq!(get(&cache, path).unwrap().page().body(), b"end"));
        together(vec![ask("/a"), ask("/b"), ask("/c")]);
        assert!(errors.lock().unwrap().is_empty());
        assert_eq!(cache.stats().renders, 3);
        quiet(&cache);
    });
}
