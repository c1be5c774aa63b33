//! A directory, two caches of one process on it, and the clock of both. They are as two processes, for the locks of two openings
//! exclude one another.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::support::*;
use isr_core::*;

/// A directory, and the clock of all who open it.
pub struct Ground {
    pub dir: TempDir,
    pub clock: ManualClock,
    pub troubles: Arc<Mutex<Vec<String>>>,
}

impl Ground {
    pub fn new() -> Ground {
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Ground { dir, clock: ManualClock::new(START), troubles: Arc::default() }
    }

    pub fn open(&self) -> Cache {
        self.open_with(|_| ())
    }

    pub fn open_with(&self, set: impl FnOnce(&mut Options)) -> Cache {
        let told = self.troubles.clone();
        let on_trouble = move |e: &Error| told.lock().unwrap().push(e.message().to_string());
        let mut options = Options {
            clock: self.clock.clone().into(),
            backoff_jitter: 0.0,
            directory: Some(self.dir.path().into()),
            on_trouble: Some(OnTrouble(Arc::new(on_trouble))),
            ..Options::default()
        };
        set(&mut options);
        Cache::open(options).unwrap()
    }

    /// Two caches with a route of versions for `/[id]`, and how many were rendered.
    pub fn pair(&self) -> (Cache, Cache, Arc<AtomicUsize>) {
        let count = counter();
        let (a, b) = (self.open(), self.open());
        for cache in [&a, &b] {
            let route = RouteOptions { tags: vec!["all".into()], ..revalidate(60.0) };
            cache.add_route("/[id]", route, versions(&count)).unwrap();
        }
        (a, b, count)
    }

    pub fn advance(&self, s: f64) {
        self.clock.advance(secs(s));
    }

    #[track_caller]
    pub fn is_quiet(&self) {
        assert_eq!(*self.troubles.lock().unwrap(), Vec::<String>::new());
    }
}

pub fn hit(body: &str) -> (CacheWord, String) {
    (CacheWord::Hit, body.into())
}

pub fn word(word: CacheWord, body: &str) -> (CacheWord, String) {
    (word, body.into())
}

/// Both have the same route.
pub fn both(a: &Cache, b: &Cache, options: RouteOptions, renderer: Arc<dyn Renderer>) {
    for cache in [a, b] {
        cache.add_route("/[id]", options.clone(), renderer.clone()).unwrap();
    }
}

/// Waits until somebody waits in this cache.
#[track_caller]
pub fn waits(cache: &Cache) {
    eventually("somebody waits", || cache.activity().running == 1);
}

pub fn data(cache: &Cache, key: &str, value: &'static str) -> (CacheWord, String) {
    let options = DataOptions { tags: vec!["d".into()], revalidate: secs(60.0) };
    let answer = cache.data(None, &[key], &options, loads(value)).unwrap();
    (answer.cache(), String::from_utf8(answer.value().to_vec()).unwrap())
}
