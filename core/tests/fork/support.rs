//! Children, and caches that are used in them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use isr_core::*;

/// No child that works needs so long.
pub const WATCHDOG_SECS: u32 = 60;
pub const LONG: Duration = Duration::from_secs(20);

/// Runs `body` in a child; its status.
pub fn fork(body: impl FnOnce()) -> libc::c_int {
    let mut status = 0;
    // SAFETY: the child goes on as any thread of this program would, and ends without going back.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(WATCHDOG_SECS);
                let failed = catch_unwind(AssertUnwindSafe(body)).is_err();
                libc::_exit(libc::c_int::from(failed));
            }
            child => {
                assert!(child > 0, "{}", std::io::Error::last_os_error());
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
            }
        }
    }
    status
}

/// Runs `body` in a child, where it must succeed.
#[track_caller]
pub fn in_child(body: impl FnOnce()) {
    let status = fork(body);
    assert!(libc::WIFEXITED(status), "the child died of signal {}", libc::WTERMSIG(status));
    assert_eq!(libc::WEXITSTATUS(status), 0, "the child failed");
}

/// A directory that is gone at the end of the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("fork-{}-{number}", std::process::id());
        Directory(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub fn options(&self) -> Options {
        Options { threads: 2, directory: Some(self.0.clone()), ..Options::default() }
    }

    pub fn open(&self) -> Cache {
        let cache = Cache::open(self.options()).unwrap();
        by_process(&cache);
        cache
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open() -> Cache {
    Cache::open(Options { threads: 2, ..Options::default() }).unwrap()
}

/// Every page tells who rendered it.
pub fn by_process(cache: &Cache) {
    let render = |job: RenderJob| {
        let page = PageResult::new(std::process::id().to_string()).tag("all");
        let _ = job.complete(page);
    };
    cache.add_route("/[id]", RouteOptions::default(), Arc::new(render)).unwrap();
}

pub fn get(cache: &Cache, path: &str) -> (CacheWord, String) {
    let answer = cache.get(&Request::new(path)).unwrap();
    (answer.cache(), String::from_utf8(answer.page().body().to_vec()).unwrap())
}

#[track_caller]
pub fn refused<T>(kind: ErrorKind, result: Result<T, Error>) {
    assert_eq!(result.err().map(|e| e.kind()), Some(kind));
}

/// A page that only this process asks for.
pub fn own() -> String {
    format!("/own-{}", me())
}

pub fn me() -> String {
    std::process::id().to_string()
}

pub fn loads(value: &'static str) -> Arc<dyn Loader> {
    Arc::new(move |job: LoadJob| drop(job.complete(value.into())))
}

pub fn read(cache: &Cache, key: &str, value: &'static str) -> Vec<u8> {
    let options = DataOptions::default();
    cache.data(None, &[key], &options, loads(value)).unwrap().value().to_vec()
}

/// All that a cache does, in a process that did nothing of it before.
pub fn use_all(cache: &Cache) {
    let own = own();
    assert_eq!(get(cache, &own), (CacheWord::Miss, me()));
    assert_eq!(get(cache, &own), (CacheWord::Hit, me()));
    cache.revalidate_tag(&["all"], TagOptions::default()).unwrap();
    assert_eq!(get(cache, &own), (CacheWord::Revalidated, me()));
    assert!(cache.revalidate_path(&[&*own], None).unwrap());
    cache.remove(&[&*own]).unwrap();
    assert_eq!(get(cache, &own), (CacheWord::Miss, me()));
    cache.regenerate(&Request::new(&own), false).unwrap();
    assert_eq!(read(cache, &own, "v"), b"v");
    assert_eq!(cache.prerender(None).unwrap().failed.len(), 0);
    assert!(cache.stats().renders >= 4);
}

/// What callbacks hand over. Not a channel: a child may find it as its sender left it.
pub struct Held<T>(Mutex<Vec<T>>, Condvar);

impl<T: Send + 'static> Held<T> {
    pub fn new() -> Arc<Held<T>> {
        Arc::new(Held(Mutex::new(Vec::new()), Condvar::new()))
    }

    pub fn push(&self, value: T) {
        self.0.lock().unwrap().push(value);
        self.1.notify_one();
    }

    pub fn take(&self) -> T {
        let held = self.0.lock().unwrap();
        let (mut held, _) = self.1.wait_timeout_while(held, LONG, |held| held.is_empty()).unwrap();
        held.pop().expect("handed over in time")
    }
}

/// A renderer that hands its jobs over.
pub fn hand_over(jobs: &Arc<Held<RenderJob>>) -> Arc<dyn Renderer> {
    let jobs = jobs.clone();
    Arc::new(move |job| jobs.push(job))
}
