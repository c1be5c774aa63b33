//! With a directory parent and children share what is stored.

use std::sync::{Arc, Mutex};

use isr_core::*;

use crate::support::*;

pub fn what_the_parent_stored_is_a_hit() {
    let directory = Directory::new();
    let cache = directory.open();
    let parent = me();
    assert_eq!(get(&cache, "/a"), (CacheWord::Miss, parent.clone()));
    assert_eq!(read(&cache, "k", "parent"), b"parent");
    let token = cache.draft_token(Lifetime::from_secs(60)).unwrap();
    in_child(|| {
        assert!(cache.verify_draft(&token));
        assert_eq!(get(&cache, "/a"), (CacheWord::Hit, parent.clone()));
        assert_eq!(read(&cache, "k", "never"), b"parent");
        assert_eq!(cache.stats().disk_reads, 2);
        assert_eq!(get(&cache, "/b"), (CacheWord::Miss, me()));
        in_child(|| {
            assert_eq!(get(&cache, "/a"), (CacheWord::Hit, parent));
            use_all(&cache);
        });
        use_all(&cache);
    });
    assert_eq!(
        get(&cache, "/b").0,
        CacheWord::Revalidated,
        "the child renders it, and invalidates its tag"
    );
    assert_eq!(cache.stats().disk_errors, 0);
    assert!(cache.close(LONG));
}

pub fn an_invalidation_is_seen_at_once_in_parent_and_child() {
    let directory = Directory::new();
    let cache = directory.open();
    let old = cache.started();
    get(&cache, "/a");
    in_child(|| {
        assert_eq!(get(&cache, "/a").0, CacheWord::Hit);
        cache.revalidate_tag(&["all"], TagOptions::default()).unwrap();
        in_child(|| {
            assert_eq!(cache.peek("/a", None).unwrap().state(), State::Expired);
            assert_eq!(
                cache.put("/b", None, PageResult::new("x").tag("all"), old).unwrap(),
                Put::Stored
            );
            assert_eq!(cache.peek("/b", None).unwrap().state(), State::Expired);
        });
    });
    assert_eq!(get(&cache, "/a").0, CacheWord::Revalidated);
    cache.remove(&["/a"]).unwrap();
    in_child(|| assert_eq!(get(&cache, "/a").0, CacheWord::Miss));
}

/// The parent dies in mid-render while its child lives: others go on at once, not at the lease's end.
pub fn a_child_does_not_keep_the_parents_leases_alive() {
    let directory = Directory::new();
    let mut lives = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(lives.as_mut_ptr()) }, 0);
    let [wait, _hold] = lives;
    let status = fork(|| {
        let held = Held::new();
        let cache = Cache::open(directory.options()).unwrap();
        cache.add_route("/[id]", RouteOptions::default(), hand_over(&held)).unwrap();
        cache.get_then(&Request::new("/a"), Box::new(|_| ()));
        let _job = held.take();
        // SAFETY: the child only waits, and ends.
        unsafe {
            if libc::fork() == 0 {
                libc::alarm(WATCHDOG_SECS);
                libc::close(lives[1]);
                // Until the test has closed its end.
                let mut byte = 0u8;
                libc::read(wait, (&raw mut byte).cast(), 1);
                libc::_exit(0);
            }
        }
        // SAFETY: ends this process as a crash would.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    });
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
    let cache = directory.open();
    let (send, answers) = std::sync::mpsc::channel();
    cache.get_then(&Request::new("/a"), Box::new(move |answer| send.send(answer).unwrap()));
    // Its time-out is a minute.
    assert_eq!(answers.recv_timeout(LONG).unwrap().unwrap().cache(), CacheWord::Miss);
    for fd in lives {
        // SAFETY: both are this test's own.
        unsafe { libc::close(fd) };
    }
}

pub fn a_directory_that_cannot_be_opened_again_is_told_of() {
    let directory = Directory::new();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (asked, tell) = (Arc::new(Mutex::new(None::<WeakCache>)), told.clone());
    let ask = asked.clone();
    let on_trouble = OnTrouble(Arc::new(move |error: &Error| {
        // The listener may ask the cache.
        let cache = ask.lock().unwrap().as_ref().and_then(WeakCache::upgrade).unwrap();
        assert_eq!(get(&cache, "/listener").0, CacheWord::Miss);
        tell.lock().unwrap().push(error.message().to_string());
    }));
    let cache =
        Cache::open(Options { on_trouble: Some(on_trouble), ..directory.options() }).unwrap();
    by_process(&cache);
    *asked.lock().unwrap() = Some(cache.downgrade());
    let old = cache.started();
    std::fs::remove_dir_all(&directory.0).unwrap();
    std::fs::write(&directory.0, "no directory").unwrap();
    in_child(|| {
        use_all(&cache);
        let told = told.lock().unwrap().clone();
        assert!(told.len() == 1 && told[0].contains("memory goes on alone"), "{told:?}");
        assert_eq!(cache.stats().disk_errors, 1);
        let put = |started| cache.put("/x", None, PageResult::new("x"), started).unwrap();
        assert_eq!(put(old), Put::NotStored, "what was invalidated since is not known");
        assert_eq!(put(cache.started()), Put::Stored);
        in_child(|| {
            assert_eq!(put(old), Put::NotStored);
            assert_eq!(put(cache.started()), Put::Stored);
        });
    });
    assert!(told.lock().unwrap().is_empty());
    std::fs::remove_file(&directory.0).unwrap();
}
