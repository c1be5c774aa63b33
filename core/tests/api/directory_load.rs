//! Two caches on one directory, and many threads: nobody is answered with what was invalidated before he asked, and nobody hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ground::Ground;
use super::support::*;
use isr_core::*;

/// What pages are made of, and what every invalidation of has returned.
#[derive(Default)]
struct Source {
    value: AtomicU64,
    told: AtomicU64,
}

fn number(answer: &Answer) -> u64 {
    body(answer).parse().unwrap()
}

#[test]
fn no_answer_is_older_than_an_invalidation_that_had_returned() {
    for max_bytes in [1 << 20, 0] {
        let ground = Ground::new();
        let source: Arc<Source> = Arc::default();
        let caches: Vec<Cache> =
            (0..2).map(|_| ground.open_with(|o| o.max_bytes = max_bytes)).collect();
        for cache in &caches {
            let source = source.clone();
            let route = RouteOptions { tags: vec!["all".into()], ..revalidate(60.0) };
            let renderer =
                page(move |_| PageResult::new(source.value.load(Ordering::SeqCst).to_string()));
            cache.add_route("/[id]", route, renderer).unwrap();
        }
        let mut tasks = Vec::new();
        for (n, cache) in caches.iter().cycle().take(6).cloned().enumerate() {
            let source = source.clone();
            tasks.push(spawn(move || {
                for round in 0..400 {
                    let told = source.told.load(Ordering::SeqCst);
                    let path = format!("/{}", round % 3);
                    let answer = cache.get(&Request::new(&path)).unwrap();
                    let word = answer.cache();
                    assert!(
                        number(&answer) >= told,
                        "reader {n}: {} < {told}, {word:?}",
                        number(&answer)
                    );
                }
            }));
        }
        for cache in &caches {
            let (cache, source) = (cache.clone(), source.clone());
            tasks.push(spawn(move || {
                for round in 0..60 {
                    let value = source.value.fetch_add(1, Ordering::SeqCst) + 1;
                    match round % 3 {
                        0 => cache.revalidate_tag(&["all"], TagOptions::default()).unwrap(),
                        1 => {
                            assert!(cache.revalidate_path(&["/"], Some(PathType::Layout)).unwrap())
                        }
                        _ => cache.remove(&["/0", "/1", "/2"]).unwrap(),
                    }
                    source.told.fetch_max(value, Ordering::SeqCst);
                }
            }));
        }
        tasks.into_iter().for_each(Task::join);
        let last = source.value.load(Ordering::SeqCst);
        for cache in &caches {
            assert_eq!(number(&get(cache, "/0").unwrap()), last);
        }
        drop(caches);
        let next = ground.open();
        next.add_route("/[id]", revalidate(60.0), page(|_| PageResult::new("0"))).unwrap();
        assert_eq!(number(&get(&next, "/0").unwrap()), last, "what the last one stored");
        ground.is_quiet();
    }
}

#[test]
fn who_asks_while_the_cache_closes_is_answered_whatever_others_render() {
    let ground = Ground::new();
    let a = ground.open();
    let desk = Desk::new();
    a.add_route("/[id]", revalidate(60.0), desk.renderer()).unwrap();
    let (first, job) = (start_get(&a, "/p"), desk.take());
    for _ in 0..40 {
        let b = ground.open();
        b.add_route("/[id]", revalidate(60.0), echo()).unwrap();
        // So that the one who watches is there already.
        let waiting = start_get(&b, "/p");
        eventually("he waits", || b.activity().running == 1);
        let tasks: Vec<_> = (0..3).map(|_| start_get(&b, "/p")).collect();
        b.close(Duration::ZERO);
        for task in tasks.into_iter().chain([waiting]) {
            fails(task.join(), ErrorKind::Closed, &[]);
        }
    }
    job.complete(PageResult::new("x")).unwrap();
    first.join().unwrap();
}
