//! Several who open one cache in a process: what they share, and what must be the same.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;

/// Opens the cache of a name that no other test has.
pub struct Shared {
    name: String,
    pub clock: ManualClock,
}

impl Shared {
    pub fn new() -> Shared {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test {}", NEXT.fetch_add(1, Ordering::SeqCst));
        Shared { name, clock: ManualClock::new(START) }
    }

    pub fn options(&self) -> Options {
        Options {
            name: Some(self.name.clone()),
            clock: self.clock.clone().into(),
            backoff_jitter: 0.0,
            ..Options::default()
        }
    }

    pub fn open(&self) -> Cache {
        self.open_with(|_| ())
    }

    pub fn open_with(&self, set: impl FnOnce(&mut Options)) -> Cache {
        let mut options = self.options();
        set(&mut options);
        Cache::open(options).unwrap()
    }

    /// Two owners whose renders say who made them.
    pub fn pair(&self) -> (Cache, Cache) {
        let (a, b) = (self.open(), self.open());
        a.add_route("/[id]", revalidate(60.0), says("a")).unwrap();
        b.add_route("/[id]", revalidate(60.0), says("b")).unwrap();
        (a, b)
    }
}

pub fn says(text: &'static str) -> Arc<dyn Renderer> {
    page(move |_| PageResult::new(text).tag("t"))
}

fn word(word: CacheWord, body: &str) -> (CacheWord, String) {
    (word, body.into())
}

#[test]
fn what_one_renders_is_a_hit_for_the_other() {
    let (a, b) = Shared::new().pair();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Miss, "a"));
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Hit, "a"));
    assert_eq!(told(get(&b, "/q")), word(CacheWord::Miss, "b"));
    assert_eq!(told(get(&a, "/q")), word(CacheWord::Hit, "b"));
    let read = |cache: &Cache, value| {
        let data = cache.data(None, &["k"], &DataOptions::default(), loads(value)).unwrap();
        (data.cache(), data.value().to_vec())
    };
    assert_eq!(read(&a, "a"), (CacheWord::Miss, b"a".to_vec()));
    assert_eq!(read(&b, "b"), (CacheWord::Hit, b"a".to_vec()));
    assert_eq!((a.stats().renders, a.stats().hits, a.stats().entries_stored), (2, 2, 3));
    assert_eq!(a.stats(), b.stats());
    assert!(b.verify_draft(&a.draft_token(secs(60.0)).unwrap()));
}

#[test]
fn an_invalidation_holds_at_the_very_next_request_of_the_other() {
    let (a, b) = Shared::new().pair();
    get(&a, "/p").unwrap();
    b.revalidate_tag(&["t"], TagOptions::default()).unwrap();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Revalidated, "a"));
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Revalidated, "b"));
    a.remove(&["/p"]).unwrap();
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Miss, "b"));
}

#[test]
fn one_render_for_all() {
    let (shared, gate) = (Shared::new(), Gate::new());
    let owners: Vec<Cache> = (0..4).map(|_| shared.open()).collect();
    for cache in &owners {
        cache.add_route("/[id]", revalidate(60.0), gated(&gate)).unwrap();
    }
    let answers: Vec<_> = owners.iter().map(|cache| start_get(cache, "/p")).collect();
    eventually("all wait", || owners.iter().all(Cache::is_busy));
    gate.open();
    for answer in answers {
        assert_eq!(body(&answer.join().unwrap()), "/p");
    }
    assert_eq!((gate.arrivals(), owners[0].stats().renders), (1, 1));
    // Of a callback that has not returned, its owner is busy for a moment after the answer.
    eventually("all are idle", || !owners.iter().any(Cache::is_busy));
}

#[test]
fn one_without_the_route_has_it_rendered_by_who_has_least_to_do() {
    let (shared, gate) = (Shared::new(), Gate::new());
    let (asks, a, b) = (shared.open(), shared.open(), shared.open());
    a.add_route("/held/[id]", revalidate(60.0), gated(&gate)).unwrap();
    for (cache, text) in [(&a, "a"), (&b, "b")] {
        cache.add_route("/[id]", revalidate(60.0), says(text)).unwrap();
    }
    assert_eq!(told(get(&asks, "/1")), word(CacheWord::Miss, "a"));
    let held = start_get(&asks, "/held/x");
    gate.wait_for(1);
    assert_eq!(told(get(&asks, "/2")), word(CacheWord::Miss, "b"));
    gate.open();
    assert_eq!(told(held.join()), word(CacheWord::Miss, "/held/x"));
}

#[test]
fn a_stale_page_is_regenerated_by_who_was_asked() {
    let shared = Shared::new();
    let (a, b) = shared.pair();
    get(&a, "/p").unwrap();
    shared.clock.advance(secs(61.0));
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Stale, "a"));
    settle(&b);
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Hit, "b"));
}

#[test]
fn options_must_be_the_same() {
    let shared = Shared::new();
    let cache = shared.open();
    type Change = fn(&mut Options);
    let set: [(&str, Change); 19] = [
        ("deployment", |o| o.deployment = "2".into()),
        ("max_bytes", |o| o.max_bytes = 1),
        ("max_entry_bytes", |o| o.max_entry_bytes = 1),
        ("stale_if_error", |o| o.stale_if_error = secs(1.0)),
        ("backoff_jitter", |o| o.backoff_jitter = 0.5),
        ("max_queue", |o| o.max_queue = 1),
        ("threads", |o| o.threads = 1),
        ("default_revalidate", |o| o.default_revalidate = secs(1.0)),
        ("default_expire", |o| o.default_expire = secs(1.0)),
        ("default_timeout", |o| o.default_timeout = secs(1.0)),
        ("max_variants", |o| o.max_variants = 1),
        ("max_invalidations", |o| o.max_invalidations = 1),
        ("storable_statuses", |o| o.storable_statuses = vec![200]),
        ("draft_secret", |o| o.draft_secret = Some(vec![7; 16])),
        ("precompress", |o| o.precompress = vec![http::Encoding::Gzip]),
        ("max_disk_bytes", |o| o.max_disk_bytes = 1),
        ("durable", |o| o.durable = true),
        ("directory", |o| o.directory = Some("/dev/shm".into())),
        ("clock", |o| o.clock = Clock::system()),
    ];
    for (name, change) in set {
        let mut options = shared.options();
        change(&mut options);
        fails(Cache::open(options).map(drop), Conflict, &[&format!("{name} must be the same")]);
    }
    let other_clock = Options { clock: ManualClock::new(START).into(), ..shared.options() };
    fails(Cache::open(other_clock).map(drop), Conflict, &["clock must be the same"]);
    // Nobody has joined, nothing has changed.
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    assert!(cache.close(PATIENCE));
    shared.open_with(|o| o.max_bytes = 1);
}

#[test]
fn a_name_is_a_text_that_is_not_empty() {
    let mut options = Options::default();
    options.set("name", OptionValue::Text("n".into())).unwrap();
    assert_eq!(options.name.as_deref(), Some("n"));
    fails(options.set("name", OptionValue::Number(1.0)), InvalidArgument, &["name", "a text"]);
    let empty = Options { name: Some(String::new()), ..Options::default() };
    fails(Cache::open(empty).map(drop), InvalidArgument, &["name must not be empty"]);
}

#[test]
fn routes_of_one_pattern_must_be_the_same() {
    let (a, b) = Shared::new().pair();
    let listed: Params = [("id".to_string(), ParamValue::One("x".into()))].into_iter().collect();
    let set: [(&str, RouteOptions); 8] = [
        ("revalidate", revalidate(1.0)),
        ("expire", RouteOptions { expire: Some(secs(100.0)), ..revalidate(60.0) }),
        ("timeout", RouteOptions { timeout: Some(secs(1.0)), ..revalidate(60.0) }),
        ("tags", RouteOptions { tags: vec!["x".into()], ..revalidate(60.0) }),
        ("query", RouteOptions { query: vec!["q".into()], ..revalidate(60.0) }),
        ("vary", RouteOptions { vary: vec![("l".into(), "x".into())], ..revalidate(60.0) }),
        ("static_params", RouteOptions { static_params: vec![listed], ..revalidate(60.0) }),
        ("dynamic_params", RouteOptions { dynamic_params: false, ..revalidate(60.0) }),
    ];
    a.add_route("/more/[id]", revalidate(60.0), says("a")).unwrap();
    for (name, options) in set {
        let parts = [&*format!("{name} of \"/more/[id]\" must be the same")];
        fails(b.add_route("/more/[id]", options, says("b")), Conflict, &parts);
    }
    let other_pattern = b.add_route("/more/[name]", revalidate(60.0), says("b"));
    fails(other_pattern, Conflict, &["/more/[name]", "/more/[id]"]);
    b.add_route("/more/[id]", revalidate(60.0), says("b")).unwrap();
    fails(b.add_route("/more/[id]", revalidate(60.0), says("b")), Conflict, &["/more/[id]"]);
    assert_eq!(told(get(&b, "/more/1")), word(CacheWord::Miss, "b"));
}

fn open_in(directory: &Path, set: impl FnOnce(&mut Options)) -> Cache {
    let mut options = Options { directory: Some(directory.into()), ..Options::default() };
    set(&mut options);
    let cache = Cache::open_shared(options).unwrap();
    cache.add_route("/[id]", revalidate(60.0), says("x")).unwrap();
    cache
}

#[test]
fn a_directory_names_a_cache_that_is_opened_to_be_shared() {
    let ground = TempDir::new().unwrap();
    let made = ground.path().join("made");
    let link = ground.path().join("link");
    symlink(&made, &link).unwrap();
    let a = open_in(&made, |_| ());
    let b = open_in(&link, |_| ());
    get(&a, "/p").unwrap();
    assert_eq!(get(&b, "/p").unwrap().cache(), CacheWord::Hit);
    assert_eq!((b.stats().hits, b.stats().disk_reads), (1, 0));
    // As other processes.
    let named = open_in(&made, |o| o.name = Some("owners of one's own".into()));
    assert_eq!(get(&named, "/p").unwrap().cache(), CacheWord::Hit);
    assert_eq!(named.stats().disk_reads, 1);
    let alone = Cache::open(Options { directory: Some(made.clone()), ..Options::default() });
    assert_eq!(alone.unwrap().stats().hits, 0);
    let deployed = open_in(&made, |o| o.deployment = "2".into());
    assert_eq!(get(&deployed, "/p").unwrap().cache(), CacheWord::Miss);
    let options = Options { directory: Some(made.clone()), threads: 1, ..Options::default() };
    fails(Cache::open_shared(options).map(drop), Conflict, &["threads must be the same"]);
}

#[test]
fn without_name_and_directory_it_is_not_shared() {
    let options = Options::default;
    let (a, b) = (Cache::open_shared(options()).unwrap(), Cache::open_shared(options()).unwrap());
    a.add_route("/p", revalidate(60.0), says("a")).unwrap();
    get(&a, "/p").unwrap();
    fails(get(&b, "/p"), NoRoute, &[]);
    assert_eq!((a.stats().renders, b.stats().renders), (1, 0));
}

#[test]
fn every_owner_is_told_of_trouble_and_one_that_panics_does_not_matter() {
    let ground = TempDir::new().unwrap();
    // Others may write to what is in it.
    let inner = ground.path().join("v1");
    std::fs::create_dir(&inner).unwrap();
    std::fs::set_permissions(&inner, Permissions::from_mode(0o777)).unwrap();
    let told: Arc<Mutex<Vec<&str>>> = Arc::default();
    let owners = ["a", "b"].map(|who| {
        let told = told.clone();
        let on_trouble = move |_: &Error| {
            told.lock().unwrap().push(who);
            panic!("not yours");
        };
        open_in(ground.path(), |o| o.on_trouble = Some(OnTrouble(Arc::new(on_trouble))))
    });
    assert_eq!(*told.lock().unwrap(), ["a", "b"]);
    // Alone with their memory, but together.
    get(&owners[0], "/p").unwrap();
    assert_eq!(get(&owners[1], "/p").unwrap().cache(), CacheWord::Hit);
}
