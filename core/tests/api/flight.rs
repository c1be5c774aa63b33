//! One render for all who wait, on many threads.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

/// Asks from so many threads at once.
fn crowd<T: Send + 'static>(
    threads: usize,
    cache: &Cache,
    ask: impl Fn(&Cache, usize) -> T + Send + Sync + 'static,
) -> Vec<Task<T>> {
    let (barrier, ask) = (Arc::new(Barrier::new(threads)), Arc::new(ask));
    (0..threads)
        .map(|n| {
            let (barrier, ask, cache) = (barrier.clone(), ask.clone(), cache.clone());
            spawn(move || {
                barrier.wait();
                ask(&cache, n)
            })
        })
        .collect()
}

fn join<T>(tasks: Vec<Task<T>>) -> Vec<T> {
    tasks.into_iter().map(Task::join).collect()
}

#[test]
fn sixty_four_threads_on_one_cold_page_are_one_render() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let asked = counter();
    let count = asked.clone();
    let tasks = crowd(64, &cache, move |cache, _| {
        count.fetch_add(1, Ordering::SeqCst);
        cache.get(&Request::new("/p"))
    });
    gate.wait_for(1);
    eventually("all have asked", || value(&asked) == 64);
    gate.open();
    let answers: Vec<_> = join(tasks).into_iter().map(Result::unwrap).collect();
    assert_eq!(gate.arrivals(), 1);
    assert_eq!(cache.stats().renders, 1);
    assert!(answers.iter().all(|a| a.page().is_same(answers[0].page())), "one page for all");
}

#[test]
fn a_failure_is_shared_too() {
    let (cache, _) = open(|_| ());
    let renderer = |job: RenderJob| {
        let _ = job.fail(Error::render("boom", None));
    };
    cache.add_route("/p", revalidate(60.0), Arc::new(renderer)).unwrap();
    for result in join(crowd(64, &cache, |cache, _| cache.get(&Request::new("/p")))) {
        fails(result, Render, &["boom"]);
    }
    assert_eq!(cache.stats().renders, 1);
}

#[test]
fn a_thousand_callbacks_of_one_cold_page_are_one_render() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let (done, answer) = outcome();
            cache.get_then(&Request::new("/p"), done);
            answer
        })
        .collect();
    gate.open();
    for answer in waiting {
        assert_eq!(told(answer.join()), (CacheWord::Miss, "/p".into()));
    }
    assert_eq!(gate.arrivals(), 1);
}

#[test]
fn many_threads_on_many_pages_are_one_render_each() {
    let (cache, _) = open(|o| o.threads = 4);
    cache.add_route("/p/[id]", revalidate(60.0), echo()).unwrap();
    let tasks = crowd(16, &cache, |cache, n| {
        for i in 0..50 {
            let path = format!("/p/{}", (i + n * 7) % 50);
            assert_eq!(told(cache.get(&Request::new(&path))).1, path);
        }
    });
    join(tasks);
    assert_eq!(cache.stats().renders, 50);
}

#[test]
fn a_stale_page_is_regenerated_once() {
    let (cache, clock) = open(|_| ());
    let gate = Gate::new();
    cache.add_route("/p", revalidate(60.0), gated(&gate)).unwrap();
    cache.put("/p", None, PageResult::new("old"), cache.started()).unwrap();
    clock.advance(secs(61.0));
    for answer in join(crowd(32, &cache, |cache, _| cache.get(&Request::new("/p")))) {
        assert_eq!(told(answer), (CacheWord::Stale, "old".into()));
    }
    gate.wait_for(1);
    gate.open();
    settle(&cache);
    assert_eq!(gate.arrivals(), 1);
    assert_eq!(told(get(&cache, "/p")), (CacheWord::Hit, "/p".into()));
}

#[test]
fn one_load_for_all_who_ask() {
    let (cache, _) = open(|_| ());
    let gate = Gate::new();
    let at = gate.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| {
        at.pass();
        let _ = job.complete(b"v".to_vec());
    });
    let tasks = crowd(64, &cache, move |cache, _| {
        cache.data(None, &["k"], &DataOptions::default(), loader.clone())
    });
    gate.wait_for(1);
    gate.open();
    for read in join(tasks) {
        assert_eq!(read.unwrap().value(), b"v");
    }
    assert_eq!((gate.arrivals(), cache.stats().loads), (1, 1));
}

#[test]
fn personal_results_are_shared_with_nobody() {
    let (cache, _) = open(|o| o.threads = 4);
    let serial = counter();
    let next = serial.clone();
    let renderer = page(move |_| {
        let n = next.fetch_add(1, Ordering::SeqCst);
        PageResult::new(n.to_string()).header("set-cookie", format!("s={n}"))
    });
    cache.add_route("/me", revalidate(60.0), renderer).unwrap();
    let answers = join(crowd(32, &cache, |cache, _| cache.get(&Request::new("/me"))));
    let mut bodies: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            let (word, body) = told(answer);
            assert_eq!(word, CacheWord::Bypass);
            body
        })
        .collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!((bodies.len(), value(&serial)), (32, 32));
}

#[test]
fn nobody_gets_a_page_from_before_an_invalidation_that_had_returned() {
    // The source changes, then the page is invalidated, then asked for: the answer has the change.
    let (cache, _) = open(|o| o.threads = 4);
    let source = counter();
    let read = source.clone();
    let renderer = page(move |_| PageResult::new(value(&read).to_string()));
    cache
        .add_route("/p", RouteOptions { tags: vec!["t".into()], ..revalidate(60.0) }, renderer)
        .unwrap();
    let tasks = crowd(8, &cache, move |cache, n| {
        for _ in 0..100 {
            let mine = source.fetch_add(1, Ordering::SeqCst) + 1;
            if n % 2 == 0 {
                cache.revalidate_tag(&["t"], TagOptions::default()).unwrap();
            } else {
                cache.revalidate_path(&["/p"], None).unwrap();
            }
            let (_, body) = told(cache.get(&Request::new("/p")));
            assert!(body.parse::<usize>().unwrap() >= mine, "{body} is older than {mine}");
        }
    });
    join(tasks);
}

#[test]
fn everything_at_once_ends() {
    // No assertion but the rules that always hold: an answer is of its path, errors are those that were made, all ends.
    let (cache, clock) = open(|o| {
        o.threads = 3;
        o.max_bytes = 64 << 10;
        o.max_queue = 20;
    });
    let inner = cache.downgrade();
    let renderer = Arc::new(move |job: RenderJob| {
        let n: usize = job.path().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let read = job.data(&[&(n % 5).to_string()], &DataOptions::default(), loads("v"));
        let next = inner.upgrade().filter(|_| n % 4 == 1);
        let asked = next.map(|c| c.get(&Request::new(&format!("/p/{}", n - 1))));
        let _ = match (n % 10, read, asked) {
            (7, ..) => job.fail(Error::render("boom", None)),
            (8, ..) => {
                drop(job);
                Ok(())
            }
            (_, Err(error), _) | (_, _, Some(Err(error))) => job.fail(error),
            _ => {
                let page = PageResult::new(job.path()).tag((n % 5).to_string());
                job.complete(page)
            }
        };
    });
    cache
        .add_route("/p/[id]", RouteOptions { expire: Some(secs(2.0)), ..revalidate(1.0) }, renderer)
        .unwrap();
    let tasks = crowd(8, &cache, move |cache, t| {
        for i in 0..200 {
            let n = (i * 13 + t * 29) % 60;
            let path = format!("/p/{n}");
            match (i + t) % 16 {
                0 => clock.advance(secs(0.3)),
                1 => cache.revalidate_tag(&[&(n % 5).to_string()], TagOptions::default()).unwrap(),
                2 => _ = cache.revalidate_path(&[&path], None).unwrap(),
                3 => cache.remove(&[&path]).unwrap(),
                4 => {
                    _ = cache
                        .put(&path, None, PageResult::new(path.as_str()), cache.started())
                        .unwrap()
                }
                5 => _ = cache.regenerate(&Request::new(&path), true),
                _ => match cache.get(&Request::new(&path)) {
                    Ok(answer) => assert_eq!(body(&answer), path),
                    Err(error) => assert!(matches!(error.kind(), Render | Busy), "{error}"),
                },
            }
        }
    });
    join(tasks);
    settle(&cache);
    assert!(cache.stats().bytes_stored <= 64 << 10);
    assert!(cache.close(PATIENCE));
}
