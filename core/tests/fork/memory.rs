//! Without a directory each process has what it renders itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use isr_core::*;

use crate::support::*;

pub fn hits_and_renders_in_parent_and_child() {
    let cache = open();
    by_process(&cache);
    assert_eq!(get(&cache, "/a"), (CacheWord::Miss, me()));
    assert_eq!(read(&cache, "k", "parent"), b"parent");
    let answer = cache.get(&Request::new("/a")).unwrap();
    let (weak, parent) = (cache.downgrade(), me());
    in_child(|| {
        assert_eq!(answer.page().body(), parent.as_bytes());
        assert_eq!(answer.head(&http::Conditions::default()).status, 200);
        drop(answer.clone());
        assert_eq!(cache.stats().hits, 0, "counters are the child's own");
        assert_eq!(get(&weak.upgrade().unwrap(), "/a"), (CacheWord::Miss, me()));
        assert_eq!(read(&cache, "k", "child"), b"child");
        use_all(&cache);
    });
    assert_eq!(get(&cache, "/a"), (CacheWord::Hit, parent));
    assert_eq!(read(&cache, "k", "never"), b"parent");
    use_all(&cache);
    assert!(cache.close(LONG));
}

pub fn every_generation_has_its_own() {
    let cache = open();
    by_process(&cache);
    get(&cache, "/a");
    in_child(|| {
        // Not used in this generation: the next one finds the grandparent's.
        in_child(|| {
            assert_eq!(get(&cache, "/a"), (CacheWord::Miss, me()));
            in_child(|| use_all(&cache));
            assert_eq!(get(&cache, "/a"), (CacheWord::Hit, me()));
        });
        use_all(&cache);
        in_child(|| {
            use_all(&cache);
            drop(cache.clone());
            assert!(cache.close(LONG));
        });
        assert_eq!(get(&cache, &own()), (CacheWord::Hit, me()));
    });
    assert_eq!(get(&cache, "/a"), (CacheWord::Hit, me()));
}

pub fn options_routes_and_secret_are_inherited() {
    let cache =
        Cache::open(Options { max_entry_bytes: 100, threads: 1, ..Options::default() }).unwrap();
    let page = |text: &'static str| -> Arc<dyn Renderer> {
        Arc::new(move |job: RenderJob| {
            let n = if job.path() == "/large" { 1000 } else { 1 };
            let _ = job.complete(PageResult::new(text.repeat(n)));
        })
    };
    let mut options = RouteOptions {
        revalidate: Some(Lifetime::from_secs(60)),
        tags: vec!["t".into(), "t".into(), "u".into()],
        vary: vec![("lang".into(), "Accept-Language".into())],
        query: vec!["q".into()],
        ..RouteOptions::default()
    };
    cache.add_route("/[id]", options.clone(), page("one")).unwrap();
    options.dynamic_params = false;
    options.static_params =
        vec![vec![("id".to_string(), ParamValue::One("x".into()))].into_iter().collect()];
    cache.add_route("/closed/[id]", options, page("two")).unwrap();
    cache.add_route("/", RouteOptions::default(), page("root")).unwrap();
    let token = cache.draft_token(Lifetime::from_secs(60)).unwrap();
    in_child(|| {
        assert!(cache.verify_draft(&token));
        assert!(!cache.verify_draft("x"));
        refused(
            ErrorKind::Conflict,
            cache.add_route("/[other]", RouteOptions::default(), page("")),
        );
        cache.add_route("/new/[id]", RouteOptions::default(), page("new")).unwrap();
        assert_eq!(cache.prerender(None).unwrap().rendered, 2);
        let answer = cache.get(&Request::new("/a?q=1")).unwrap();
        assert_eq!(answer.page().body(), b"one");
        assert_eq!(answer.page().revalidate(), Lifetime::from_secs(60));
        assert_eq!(answer.page().tags().collect::<Vec<_>>(), ["t", "u"]);
        let head = answer.head(&http::Conditions::default());
        assert!(head.headers.iter().any(|(n, v)| n == "vary" && v == "accept-language"));
        assert_eq!(get(&cache, "/closed/x"), (CacheWord::Hit, "two".into()));
        assert_eq!(get(&cache, "/closed/y"), (CacheWord::Bypass, String::new()));
        assert_eq!(get(&cache, "/new/1"), (CacheWord::Miss, "new".into()));
        assert_eq!(get(&cache, "/large").0, CacheWord::Bypass);
        assert_eq!(get(&cache, "/"), (CacheWord::Hit, "root".into()));
        in_child(|| assert_eq!(get(&cache, "/new/1"), (CacheWord::Miss, "new".into())));
    });
    refused(ErrorKind::NoRoute, cache.get(&Request::new("/new/1")));
}

pub fn a_child_that_never_asks_harms_nobody() {
    let cache = open();
    by_process(&cache);
    let dropped = Arc::new(AtomicBool::new(false));
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let tell = Tell(dropped.clone());
    let render = move |job: RenderJob| {
        let _ = &tell;
        let _ = job.complete(PageResult::new("x"));
    };
    cache.add_route("/x/y", RouteOptions::default(), Arc::new(render)).unwrap();
    get(&cache, "/a");
    let mut cache = Some(cache);
    in_child(|| {
        cache.take();
        assert!(!dropped.load(Ordering::SeqCst), "what the parent has is not dropped here");
    });
    let cache = cache.unwrap();
    assert_eq!(get(&cache, "/a").0, CacheWord::Hit);
    drop(cache);
    assert!(dropped.load(Ordering::SeqCst));
}

pub fn closed_before_is_closed_after() {
    let cache = open();
    by_process(&cache);
    get(&cache, "/a");
    cache.close(LONG);
    in_child(|| {
        assert!(cache.is_closed());
        refused(ErrorKind::Closed, cache.get(&Request::new("/a")));
        refused(ErrorKind::Closed, cache.prerender(None));
        assert!(cache.close(LONG));
    });
}

pub fn closing_in_the_child_is_the_childs() {
    let cache = open();
    by_process(&cache);
    get(&cache, "/a");
    in_child(|| {
        use_all(&cache);
        assert!(cache.close(LONG));
        refused(ErrorKind::Closed, cache.get(&Request::new("/a")));
        in_child(|| assert!(cache.is_closed()));
    });
    in_child(|| {
        // Before it was used.
        assert!(cache.close(LONG));
        assert!(cache.is_closed());
    });
    assert_eq!(get(&cache, "/a"), (CacheWord::Hit, me()));
}

pub fn jobs_of_the_parent_are_finished() {
    let cache = open();
    let held = Held::new();
    cache.add_route("/held/[id]", RouteOptions::default(), hand_over(&held)).unwrap();
    by_process(&cache);
    let (send, answers) = channel();
    for path in ["/held/1", "/held/2"] {
        let send = send.clone();
        cache.get_then(&Request::new(path), Box::new(move |answer| send.send(answer).unwrap()));
    }
    let mut jobs: Vec<RenderJob> = (0..2).map(|_| held.take()).collect();
    jobs.sort_by(|a, b| a.path().cmp(b.path()));
    let loading = Held::new();
    let keep = loading.clone();
    let keep: Arc<dyn Loader> = Arc::new(move |job: LoadJob| keep.push(job));
    cache.data_then(None, &["held"], &DataOptions::default(), keep, Box::new(|_| ()));
    let load = loading.take();
    let mut held = Some((jobs, load));
    in_child(|| {
        let (mut jobs, load) = held.take().unwrap();
        let context = jobs[0].context();
        assert!(jobs[0].is_cancelled() && context.is_cancelled());
        assert_eq!(jobs[0].path(), "/held/1");
        let options = DataOptions::default();
        refused(ErrorKind::Finished, jobs[0].data(&["k"], &options, loads("v")));
        refused(ErrorKind::Finished, load.data(&["k"], &options, loads("v")));
        refused(ErrorKind::Finished, jobs.remove(0).complete(PageResult::new("child")));
        drop(jobs);
        refused(ErrorKind::Finished, load.complete(b"child".to_vec()));
        // As a place from which the cache is asked it means nothing here.
        let _entered = context.enter();
        assert!(Context::current().is_none());
        assert_eq!(
            cache.get(&Request { within: Some(&context), ..Request::new("/a") }).unwrap().cache(),
            CacheWord::Miss
        );
        assert_eq!(cache.data(Some(&context), &["k"], &options, loads("v")).unwrap().value(), b"v");
        use_all(&cache);
        assert!(answers.try_recv().is_err(), "what the parent waits for comes to the parent");
    });
    let (jobs, load) = held.unwrap();
    for job in jobs {
        assert!(!job.is_cancelled());
        job.complete(PageResult::new("parent")).unwrap();
        assert_eq!(answers.recv_timeout(LONG).unwrap().unwrap().page().body(), b"parent");
    }
    load.complete(b"parent".to_vec()).unwrap();
    assert_eq!(read(&cache, "held", "never"), b"parent");
}

pub fn a_page_from_before_is_not_put() {
    let cache = open();
    by_process(&cache);
    let old = cache.started();
    cache.revalidate_path(&["/a"], None).unwrap();
    let new = cache.started();
    in_child(|| {
        let put = |started| cache.put("/a", None, PageResult::new("x"), started).unwrap();
        assert_eq!(put(old), Put::NotStored, "nobody here knows of the invalidation");
        assert_eq!(put(new), Put::Stored);
        assert_eq!(get(&cache, "/a"), (CacheWord::Hit, "x".into()));
        let own = cache.started();
        assert!(own > new);
        assert_eq!(put(own), Put::Stored);
    });
}

pub fn inside_a_render() {
    let cache = open();
    by_process(&cache);
    let (own, parent) = (cache.downgrade(), me());
    let render = move |job: RenderJob| {
        if me() != parent {
            // Rendered anew, on the child's own pool.
            return drop(job.complete(PageResult::new("child")));
        }
        let cache = own.upgrade().unwrap();
        in_child(|| {
            assert!(Context::current().is_none());
            // Not asked from inside the parent's render of the same page.
            let within = job.context();
            let request = Request { within: Some(&within), ..Request::new("/x/y") };
            assert_eq!(cache.get(&request).unwrap().page().body(), b"child");
            use_all(&cache);
            assert!(cache.close(LONG));
        });
        let _ = job.complete(PageResult::new("parent"));
    };
    cache.add_route("/x/y", RouteOptions::default(), Arc::new(render)).unwrap();
    assert_eq!(get(&cache, "/x/y"), (CacheWord::Miss, "parent".into()));
    assert!(cache.close(LONG));
}

/// A child that comes back out of a callback has no thread that anything waits for: it ends.
pub fn out_of_a_render() {
    let cache = open();
    let render = |job: RenderJob| {
        // SAFETY: the child goes on as this thread would.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: takes a number.
            unsafe { libc::alarm(WATCHDOG_SECS) };
            refused(ErrorKind::Finished, job.complete(PageResult::new("child")));
            return;
        }
        let _ = job.complete(PageResult::new(child.to_string()));
    };
    cache.add_route("/", RouteOptions::default(), Arc::new(render)).unwrap();
    let child: libc::pid_t = get(&cache, "/").1.parse().unwrap();
    let mut status = 0;
    // SAFETY: `status` is a place for the status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "it hung: {status}");
    assert!(cache.close(LONG));
}

pub fn out_of_a_load() {
    let cache = open();
    by_process(&cache);
    let child = Arc::new(AtomicUsize::new(usize::MAX));
    let told = child.clone();
    let load: Arc<dyn Loader> = Arc::new(move |job: LoadJob| {
        // SAFETY: the child goes on as this thread would.
        let child = unsafe { libc::fork() };
        told.store(child as usize, Ordering::SeqCst);
        let done = job.complete(b"v".to_vec());
        assert_eq!(done.is_err(), child == 0);
    });
    let read = cache.data(None, &["k"], &DataOptions::default(), load);
    match child.load(Ordering::SeqCst) as libc::pid_t {
        0 => {
            // SAFETY: both take a number.
            unsafe { libc::alarm(WATCHDOG_SECS) };
            let right = catch_unwind(AssertUnwindSafe(|| {
                refused(ErrorKind::Closed, read);
                use_all(&cache);
            }));
            // SAFETY: as above.
            unsafe { libc::_exit(libc::c_int::from(right.is_err())) };
        }
        child => {
            assert_eq!(read.unwrap().value(), b"v");
            let mut status = 0;
            // SAFETY: `status` is a place for the status.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
}

pub fn a_manual_clock_goes_on() {
    let clock = ManualClock::new(Time::from_nanos(1_700_000_000_000_000_000));
    let cache = Cache::open(Options { clock: clock.clone().into(), ..Options::default() }).unwrap();
    let held = Held::new();
    let options = RouteOptions { timeout: Some(Lifetime::from_secs(5)), ..RouteOptions::default() };
    cache.add_route("/held/[id]", options, hand_over(&held)).unwrap();
    let ask = |path: &str| {
        let (send, answers) = channel();
        cache.get_then(&Request::new(path), Box::new(move |answer| send.send(answer).unwrap()));
        answers
    };
    let parents = ask("/held/1");
    let job = held.take();
    in_child(|| {
        let answers = ask("/held/1");
        let job = held.take();
        clock.advance(Lifetime::from_secs(6));
        refused(ErrorKind::Timeout, answers.try_recv().unwrap());
        assert!(job.is_cancelled());
        assert!(parents.try_recv().is_err());
    });
    job.complete(PageResult::new("parent")).unwrap();
    assert_eq!(parents.recv_timeout(LONG).unwrap().unwrap().page().body(), b"parent");
}

pub fn threads_of_a_child_share_one_engine() {
    let cache = open();
    let renders = Arc::new(AtomicUsize::new(0));
    let count = renders.clone();
    let render = move |job: RenderJob| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = job.complete(PageResult::new("x"));
    };
    cache.add_route("/", RouteOptions::default(), Arc::new(render)).unwrap();
    for _ in 0..20 {
        in_child(|| {
            let start = Arc::new(Barrier::new(4));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (cache, start) = (cache.clone(), start.clone());
                    std::thread::spawn(move || {
                        start.wait();
                        get(&cache, "/");
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(renders.load(Ordering::SeqCst), 1);
        });
    }
}

pub fn those_who_share_a_cache_share_one_in_the_child() {
    let options = || Options { name: Some("family".into()), ..Options::default() };
    let owners = [Cache::open(options()).unwrap(), Cache::open(options()).unwrap()];
    let rendered_by = |who: usize| {
        let render = move |job: RenderJob| {
            let _ = job.complete(PageResult::new(format!("{who} of {}", me())));
        };
        Arc::new(render)
    };
    for (who, cache) in owners.iter().enumerate() {
        cache.add_route("/[id]", RouteOptions::default(), rendered_by(who)).unwrap();
    }
    owners[1].add_route("/", RouteOptions::default(), rendered_by(1)).unwrap();
    get(&owners[0], "/a");
    in_child(|| {
        assert_eq!(get(&owners[1], "/a"), (CacheWord::Miss, format!("1 of {}", me())));
        assert_eq!(get(&owners[0], "/a"), (CacheWord::Hit, format!("1 of {}", me())));
        assert_eq!(get(&owners[0], "/b"), (CacheWord::Miss, format!("0 of {}", me())));
        assert_eq!(get(&owners[0], "/"), (CacheWord::Miss, format!("1 of {}", me())));
        let third = Cache::open(options()).unwrap();
        assert_eq!(get(&third, "/b").0, CacheWord::Hit);
        assert!(owners[1].close(LONG));
        assert_eq!(get(&owners[0], "/b").0, CacheWord::Hit);
        refused(ErrorKind::NoRoute, owners[0].get(&Request::new("/")));
    });
    assert_eq!(get(&owners[1], "/a").0, CacheWord::Hit);
    assert!(owners[0].close(LONG));
    in_child(|| {
        refused(ErrorKind::Closed, owners[0].get(&Request::new("/a")));
        assert_eq!(get(&owners[1], "/a").0, CacheWord::Miss);
    });
    assert_eq!(get(&owners[1], "/a").0, CacheWord::Hit);
}

/// Others open and close caches while the process is forked.
pub fn the_child_does_not_need_the_lock_of_who_opens() {
    let options = || Options { name: Some("busy".into()), ..Options::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let opens: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    drop(Cache::open(options()).unwrap());
                }
            })
        })
        .collect();
    for _ in 0..50 {
        in_child(|| {
            let cache = Cache::open(options()).unwrap();
            by_process(&cache);
            assert_eq!(get(&cache, "/a"), (CacheWord::Miss, me()));
        });
    }
    stop.store(true, Ordering::SeqCst);
    opens.into_iter().for_each(|thread| thread.join().unwrap());
}
