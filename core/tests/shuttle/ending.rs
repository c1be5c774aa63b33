//! Closing and time-outs: everybody is answered, once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isr_core::{
    DataOptions, Error, ErrorKind, Lifetime, LoadJob, PageResult, Request, RouteOptions, State,
    TagOptions,
};

use crate::model::{check, get, open, quiet, route, together};
use crate::run;

/// How long closing waits: not at all, for some time, until all has ended.
const PATIENCE: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::MAX];

fn answered_or_closed<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

#[test]
fn closing_answers_everybody_who_asks_or_waits() {
    for patience in PATIENCE {
        check(700, move || {
            let (cache, _) = open(1, |_| ());
            route(&cache, "/[id]", |job| {
                shuttle::thread::yield_now();
                // Refused where closing was quicker.
                let _ = job.complete(PageResult::new("x").tag("t"));
            });
            let ask = |path: &'static str| {
                run!(cache => {
                    answered_or_closed(get(&cache, path));
                    answered_or_closed(cache.revalidate_tag(&["t"], TagOptions::default()));
                    answered_or_closed(get(&cache, path));
                })
            };
            let close = run!(cache => {
                let in_time = cache.close(patience);
                assert!(in_time || patience != Duration::MAX);
                assert_eq!(get(&cache, "/a").unwrap_err().kind(), ErrorKind::Closed);
            });
            together(vec![ask("/a"), ask("/b"), close, ask("/a")]);
        });
    }
}

#[test]
fn closing_answers_those_who_wait_inside_a_render() {
    for patience in PATIENCE {
        check(700, move || {
            let (cache, _) = open(1, |_| ());
            let inner = cache.downgrade();
            route(&cache, "/outer", move |job| {
                let asked = inner.upgrade().map(|c| get(&c, "/inner"));
                let load = |load: LoadJob| drop(load.complete(b"v".to_vec()));
                let value = job.data(&["k"], &DataOptions::default(), Arc::new(load));
                let _ = match (asked, value) {
                    (Some(Ok(_)), Ok(_)) => job.complete(PageResult::new("x")),
                    (Some(Err(error)), _) | (_, Err(error)) => job.fail(error),
                    _ => job.fail(Error::new(ErrorKind::Closed, "no cache")),
                };
            });
            route(&cache, "/inner", |job| drop(job.complete(PageResult::new("x"))));
            let ask = |path: &'static str| run!(cache => answered_or_closed(get(&cache, path)));
            let close = run!(cache => cache.close(patience));
            together(vec![ask("/outer"), close, ask("/inner")]);
        });
    }
}

#[test]
fn closing_gives_up_what_hangs() {
    check(700, || {
        let (cache, _) = open(1, |_| ());
        let gate = Arc::new((shuttle::sync::Mutex::new(false), shuttle::sync::Condvar::new()));
        let hung = gate.clone();
        route(&cache, "/[id]", move |job| {
            let shut = hung.0.lock().unwrap();
            drop(hung.1.wait_while(shut, |open| !*open).unwrap());
            drop(job.complete(PageResult::new("x")));
        });
        let ask = |path: &'static str| run!(cache => assert_eq!(get(&cache, path).unwrap_err().kind(), ErrorKind::Closed));
        let close = run!(cache => cache.close(Duration::from_secs(1)));
        together(vec![ask("/a"), close, ask("/a"), ask("/b")]);
        // All were answered without the renders, which end only now, if they ever began.
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    });
}

#[test]
fn callbacks_are_called_exactly_once_whatever_closing_does() {
    check(1000, || {
        let (cache, _) = open(1, |_| ());
        route(&cache, "/[id]", |job| drop(job.complete(PageResult::new("x"))));
        let called: Arc<[AtomicUsize; 3]> = Arc::default();
        let ask = |n: usize, path: &'static str| {
            run!(cache, called => {
                let done = move |result| {
                    answered_or_closed(result);
                    called[n].fetch_add(1, Ordering::SeqCst);
                };
                cache.get_then(&Request::new(path), Box::new(done));
            })
        };
        let close = run!(cache => cache.close(Duration::ZERO));
        together(vec![ask(0, "/a"), ask(1, "/a"), close, ask(2, "/b")]);
        cache.close(Duration::MAX);
        for (n, called) in called.iter().enumerate() {
            assert_eq!(called.load(Ordering::SeqCst), 1, "{n}");
        }
    });
}

#[test]
fn dropping_the_last_handle_leaves_no_thread() {
    check(700, || {
        let (cache, _) = open(2, |_| ());
        route(&cache, "/[id]", |job| drop(job.complete(PageResult::new("x"))));
        let ask = |path: &'static str| run!(cache => cache.get_then(&Request::new(path), Box::new(answered_or_closed)));
        let bodies = vec![ask("/a"), ask("/b")];
        drop(cache);
        together(bodies);
    });
}

#[test]
fn of_a_time_out_and_a_completion_exactly_one_wins() {
    check(2000, || {
        let (cache, clock) = open(1, |_| ());
        let completed = Arc::new(Mutex::new(Vec::new()));
        let results = completed.clone();
        let options =
            RouteOptions { timeout: Some(Lifetime::from_secs(5)), ..RouteOptions::default() };
        let render = move |job: isr_core::RenderJob| {
            shuttle::thread::yield_now();
            let result = job.complete(PageResult::new("x"));
            results.lock().unwrap().push(result.map_err(|e| e.kind()));
        };
        cache.add_route("/a", options, Arc::new(render)).unwrap();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let ask = || {
            run!(cache, answers => {
                let result = get(&cache, "/a").map(drop).map_err(|e| e.kind());
                answers.lock().unwrap().push(result);
            })
        };
        let late = run!(clock => clock.advance(Lifetime::from_secs(6)));
        together(vec![ask(), late, ask()]);
        let stored = cache.stats().entries_stored;
        cache.close(Duration::MAX);
        let stats = cache.stats();
        let (answers, timed_out) = (answers.lock().unwrap(), stats.render_timeouts == 1);
        if timed_out {
            assert!(answers.iter().all(|r| *r == Err(ErrorKind::Timeout)), "{answers:?}");
        } else {
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        assert_eq!((stats.renders, stored), (1, u64::from(!timed_out)));
        let expected = if timed_out { Err(ErrorKind::Finished) } else { Ok(()) };
        let told = completed.lock().unwrap();
        assert!(told.iter().all(|r| *r == expected), "{told:?}");
    });
}

#[test]
fn a_hung_render_holds_no_seat_and_nobody_up() {
    check(1000, || {
        let (cache, clock) = open(1, |_| ());
        let options =
            RouteOptions { timeout: Some(Lifetime::from_secs(5)), ..RouteOptions::default() };
        let hung = Arc::new(shuttle::sync::Barrier::new(2));
        let gate = hung.clone();
        let render = move |job: isr_core::RenderJob| {
            gate.wait();
            gate.wait();
            drop(job);
        };
        cache.add_route("/hung", options, Arc::new(render)).unwrap();
        route(&cache, "/a", |job| drop(job.complete(PageResult::new("x"))));
        let ask = run!(cache => {
            assert_eq!(get(&cache, "/hung").unwrap_err().kind(), ErrorKind::Timeout);
        });
        let late = run!(hung, clock => { hung.wait(); clock.advance(Lifetime::from_secs(6)) });
        let other = run!(cache => assert!(get(&cache, "/a").is_ok()));
        together(vec![ask, late, other]);
        assert_eq!(cache.peek("/a", None).unwrap().state(), State::Fresh);
        quiet(&cache);
        hung.wait();
    });
}
