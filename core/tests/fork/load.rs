//! Forks while other threads use the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use isr_core::*;

use crate::support::*;

pub fn forks_under_load() {
    hammer(Options::default(), 200);
}

pub fn forks_under_load_with_a_directory() {
    let directory = Directory::new();
    hammer(directory.options(), 40);
}

/// Whatever other threads are at when the process is forked, no child waits for them.
fn hammer(options: Options, forks: usize) {
    let forks = std::env::var("ISR_FORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(forks);
    let told = |trouble: &Error| eprintln!("fork: trouble: {trouble}");
    let on_trouble = Some(OnTrouble(Arc::new(told)));
    let cache = Options { threads: 4, max_bytes: 100_000, on_trouble, ..options };
    let cache = Cache::open(cache).unwrap();
    by_process(&cache);
    let end = Arc::new(AtomicBool::new(false));
    let work: [fn(&Cache, usize); 7] = [
        |cache, n| drop(cache.get(&Request::new(&format!("/{}", n % 10)))),
        |cache, n| drop(cache.get(&Request::new(&format!("/{}", n % 1000)))),
        |cache, n| {
            let _ = cache.revalidate_tag(&["all", &format!("t{}", n % 100)], TagOptions::default());
        },
        |cache, n| drop(read(cache, &format!("{}", n % 100), "v")),
        |_, n| {
            let other = open();
            by_process(&other);
            get(&other, &format!("/{n}"));
            other.close(if n % 2 == 0 { LONG } else { Duration::ZERO });
        },
        |cache, n| {
            if n % 64 == 0 && n < 64 * 20 {
                let render = Arc::new(|job: RenderJob| drop(job.complete(PageResult::new("x"))));
                let _ = cache.add_route(&format!("/r/{n}"), RouteOptions::default(), render);
            }
            drop(cache.regenerate(&Request::new("/7"), false));
            let _ = cache.remove(&["/7"]);
        },
        // The host's own threads: `std` locks something of the whole process when one begins and when one ends.
        |_, _| std::thread::spawn(|| ()).join().unwrap(),
    ];
    let threads: Vec<_> = work
        .into_iter()
        .map(|work| {
            let (cache, end) = (cache.clone(), end.clone());
            std::thread::spawn(move || {
                for n in 0.. {
                    if end.load(Ordering::SeqCst) {
                        return;
                    }
                    work(&cache, n);
                }
            })
        })
        .collect();
    for n in 0..forks {
        in_child(|| {
            ask_all(&cache);
            if n % 3 == 0 {
                in_child(|| ask_all(&cache));
            }
            assert_eq!(cache.stats().disk_errors, 0);
            assert!(cache.close(LONG));
        });
    }
    end.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(cache.stats().disk_errors, 0);
    assert!(cache.close(LONG));
}

/// All that a cache does, while others who share the directory invalidate.
fn ask_all(cache: &Cache) {
    let own = own();
    for _ in 0..3 {
        assert_eq!(get(cache, &own).1, me());
        assert_eq!(read(cache, &own, "v"), b"v");
        cache.get(&Request::new("/7")).unwrap();
        cache.revalidate_tag(&["all"], TagOptions::default()).unwrap();
        cache.remove(&[&*own]).unwrap();
    }
    cache.regenerate(&Request::new(&own), false).unwrap();
    assert_eq!(cache.prerender(None).unwrap().failed.len(), 0);
}
