//! Two caches of one process on one directory: as two processes, for the locks of two openings exclude one another.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::support::*;
use isr_core::ErrorKind::*;
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

fn word(word: CacheWord, body: &str) -> (CacheWord, String) {
    (word, body.into())
}

/// Both have the same route.
fn both(a: &Cache, b: &Cache, options: RouteOptions, renderer: Arc<dyn Renderer>) {
    for cache in [a, b] {
        cache.add_route("/[id]", options.clone(), renderer.clone()).unwrap();
    }
}

/// Waits until somebody waits in this cache.
#[track_caller]
fn waits(cache: &Cache) {
    eventually("somebody waits", || cache.activity().running == 1);
}

#[test]
fn what_one_renders_is_a_hit_for_the_other() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let rendered = get(&a, "/p").unwrap();
    ground.advance(7.0);
    let answer = get(&b, "/p").unwrap();
    assert_eq!(answer.cache(), CacheWord::Hit);
    assert_eq!(answer.page().body(), rendered.page().body());
    assert_eq!(answer.page().etag(), rendered.page().etag());
    assert_eq!((value(&count), b.stats().disk_reads, a.stats().disk_writes), (1, 1, 1));
    get(&b, "/p").unwrap();
    assert_eq!(b.stats().disk_reads, 1, "now it is in memory");
    assert_eq!((b.stats().hits, b.stats().misses), (2, 0));
    ground.is_quiet();
}

#[test]
fn an_invalidation_holds_at_the_very_next_request_of_the_other() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let soft = TagOptions { soft: true, expire: None };
    type Call = Box<dyn Fn(&Cache)>;
    let calls: [(Call, CacheWord); 5] = [
        (
            Box::new(|c| c.revalidate_tag(&["all"], TagOptions::default()).unwrap()),
            CacheWord::Revalidated,
        ),
        (Box::new(|c| assert!(c.revalidate_path(&["/p"], None).unwrap())), CacheWord::Revalidated),
        (
            Box::new(|c| assert!(c.revalidate_path(&["/"], Some(PathType::Layout)).unwrap())),
            CacheWord::Revalidated,
        ),
        (Box::new(|c| c.remove(&["/p"]).unwrap()), CacheWord::Miss),
        (Box::new(move |c| c.revalidate_tag(&["all"], soft).unwrap()), CacheWord::Stale),
    ];
    for (call, expected) in &calls {
        for (one, other) in [(&a, &b), (&b, &a)] {
            get(one, "/p").unwrap();
            assert_eq!(get(other, "/p").unwrap().cache(), CacheWord::Hit);
            let before = value(&count);
            call(one);
            assert_eq!(get(other, "/p").unwrap().cache(), *expected);
            eventually("it was rendered once", || value(&count) == before + 1);
            settle(one);
            settle(other);
            assert_eq!(get(one, "/p").unwrap().cache(), CacheWord::Hit);
        }
    }
    ground.is_quiet();
}

#[test]
fn one_render_for_both() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    both(&a, &b, revalidate(60.0), gated(&gate));
    let first = start_get(&a, "/p");
    gate.wait_for(1);
    // When the call is back, he waits.
    let others = [&a, &b, &b].map(|cache| {
        let (done, answer) = outcome();
        cache.get_then(&Request::new("/p"), done);
        answer
    });
    waits(&b);
    gate.open();
    for task in std::iter::once(first).chain(others) {
        assert_eq!(told(task.join()), word(CacheWord::Miss, "/p"));
    }
    assert_eq!((gate.arrivals(), b.stats().renders), (1, 0));
    assert_eq!((a.stats().misses, b.stats().misses, b.stats().hits), (2, 2, 0));
    // Of an expired page, too.
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&b, "/p")), word(CacheWord::Revalidated, "/p"));
    ground.is_quiet();
}

#[test]
fn who_waits_for_a_page_that_is_stale_at_once_is_told_his_own_word() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let first = start_get(&a, "/p");
    let job = desk.take();
    let second = start_get(&b, "/p");
    waits(&b);
    a.revalidate_tag(&["t"], TagOptions { soft: true, expire: None }).unwrap();
    job.complete(PageResult::new("x").tag("t")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "x"));
    assert_eq!(told(second.join()), word(CacheWord::Miss, "x"));
    // It regenerates in the background.
    desk.take().complete(PageResult::new("y").tag("t")).unwrap();
    settle(&b);
    assert_eq!(told(get(&a, "/p")), hit("y"));
}

#[test]
fn a_request_after_an_invalidation_does_not_wait_for_an_older_render_elsewhere() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let old = start_get(&a, "/p");
    let older = desk.take();
    a.revalidate_path(&["/p"], None).unwrap();
    let new = start_get(&b, "/p");
    desk.take().complete(PageResult::new("new")).unwrap();
    assert_eq!(told(new.join()), word(CacheWord::Miss, "new"));
    older.complete(PageResult::new("old")).unwrap();
    assert_eq!(told(old.join()), word(CacheWord::Miss, "old"), "he asked before");
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), hit("new"), "a later begin is never replaced");
    }
}

#[test]
fn a_failure_elsewhere_is_told_with_its_text_and_backs_off() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    job.fail(Error::new(Render, "no database é")).unwrap();
    fails(first.join(), Render, &["no database é"]);
    fails(second.join(), Render, &["no database é"]);
    fails(get(&b, "/p"), Render, &["no database é"]);
    assert_eq!((desk.len(), b.stats().renders), (0, 0), "not tried again during the back-off");
    ground.advance(1.1);
    let again = start_get(&b, "/p");
    desk.take().complete(PageResult::new("x")).unwrap();
    assert_eq!(told(again.join()).1, "x");
    assert_eq!(told(get(&a, "/p")), hit("x"));
}

#[test]
fn the_last_good_page_is_served_where_a_regeneration_elsewhere_fails() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let first = start_get(&a, "/p");
    desk.take().complete(PageResult::new("good")).unwrap();
    first.join().unwrap();
    a.revalidate_path(&["/p"], None).unwrap();
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    job.fail(Error::new(Render, "down")).unwrap();
    for task in [first, second] {
        assert_eq!(told(task.join()), word(CacheWord::StaleError, "good"));
    }
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), word(CacheWord::StaleError, "good"));
    }
    assert_eq!(desk.len(), 0, "both back off");
    // A success of one is the end of the other's back-off.
    ground.advance(31.0);
    let task = start_get(&a, "/p");
    desk.take().complete(PageResult::new("better")).unwrap();
    assert_eq!(told(task.join()).1, "better");
    a.revalidate_path(&["/p"], None).unwrap();
    let task = start_get(&b, "/p");
    desk.take().complete(PageResult::new("best")).unwrap();
    assert_eq!(told(task.join()).1, "best");
}

#[test]
fn a_time_out_elsewhere_is_one() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    ground.advance(61.0);
    fails(first.join(), Timeout, &["/p"]);
    fails(second.join(), Timeout, &["/p"]);
    fails(job.complete(PageResult::new("late")), Finished, &[]);
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
}

#[test]
fn a_personal_result_is_not_shared_with_the_other() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    let personal = |name: &str| PageResult::new(name).header("set-cookie", name);
    job.complete(personal("ann")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Bypass, "ann"));
    // He renders for himself, and so do those who follow.
    let own = desk.take();
    let third = start_get(&b, "/p");
    let other = desk.take();
    own.complete(personal("bob")).unwrap();
    other.complete(personal("bob")).unwrap();
    for task in [second, third] {
        assert_eq!(told(task.join()), word(CacheWord::Bypass, "bob"));
    }
    assert_eq!((a.stats().disk_writes, b.stats().disk_writes), (0, 0));
}

#[test]
fn regenerate_joins_no_render_that_began_before_and_is_seen_by_the_other() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let regenerate = |cache: &Cache| {
        let cache = cache.clone();
        spawn(move || cache.regenerate(&Request::new("/p"), false).map(Option::unwrap))
    };
    assert!(b.regenerate(&Request::new("/p"), true).unwrap().is_none(), "nothing is stored");
    let (first, one) = (regenerate(&a), desk.take());
    let (second, two) = (regenerate(&b), desk.take());
    two.complete(PageResult::new("two")).unwrap();
    assert_eq!(told(second.join()), word(CacheWord::Miss, "two"));
    one.complete(PageResult::new("one")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "one"), "his own render's");
    assert_eq!(told(get(&a, "/p")), hit("two"));
    let third = {
        let a = a.clone();
        spawn(move || a.regenerate(&Request::new("/p"), true).map(Option::unwrap))
    };
    desk.take().complete(PageResult::new("three")).unwrap();
    assert_eq!(told(third.join()), word(CacheWord::Revalidated, "three"));
    assert_eq!(told(get(&b, "/p")), hit("three"));
}

#[test]
fn who_waits_elsewhere_in_vain_again_and_again_renders_for_himself() {
    let g = Ground::new();
    let (a, b) = (g.open(), g.open());
    let desk = Desk::new();
    a.add_route("/[id]", revalidate(60.0), desk.renderer()).unwrap();
    b.add_route("/[id]", revalidate(60.0), page(|_| PageResult::new("own"))).unwrap();
    let regenerate = |n: usize| {
        a.regenerate_then(&Request::new("/1"), false, Box::new(|_| ()));
        eventually("the next one begins", || desk.len() == n);
    };
    regenerate(1);
    let (done, answer) = outcome();
    b.get_then(&Request::new("/1"), done);
    waits(&b);
    for _ in 0..10_000 {
        if b.stats().renders > 0 {
            break;
        }
        // The next one has the lease before this one ends with nothing to share.
        regenerate(2);
        desk.take().complete(PageResult { remove: true, ..PageResult::new("gone") }).unwrap();
    }
    assert_eq!(told(answer.join()), word(CacheWord::Miss, "own"));
    assert_eq!(desk.len(), 1, "the other one goes on");
    g.is_quiet();
}

#[test]
fn prefetch_regenerates_nothing_and_waits_for_what_the_other_renders() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    both(&a, &b, revalidate(60.0), gated(&gate));
    let prefetch = |cache: &Cache| {
        let cache = cache.clone();
        spawn(move || cache.get(&Request { prefetch: true, ..Request::new("/p") }))
    };
    let first = start_get(&a, "/p");
    gate.wait_for(1);
    let second = prefetch(&b);
    waits(&b);
    gate.open();
    first.join().unwrap();
    assert_eq!(told(second.join()), word(CacheWord::Miss, "/p"));
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(prefetch(&b).join()), word(CacheWord::Stale, "/p"));
    assert_eq!(gate.arrivals(), 1);
}

#[test]
fn drafts_stay_alone_and_their_tokens_hold_for_all() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let previous: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = previous.clone();
    let renderer = page(move |job| {
        seen.lock().unwrap().push(job.previous().is_some());
        PageResult::new("x")
    });
    both(&a, &b, revalidate(60.0), renderer);
    let draft = |cache: &Cache| told(cache.get(&Request { draft: true, ..Request::new("/p") }));
    assert_eq!(draft(&a), word(CacheWord::Bypass, "x"));
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
    get(&a, "/p").unwrap();
    draft(&b);
    a.remove(&["/p"]).unwrap();
    draft(&b);
    assert_eq!(*previous.lock().unwrap(), [false, false, true, false]);
    let token = a.draft_token(secs(60.0)).unwrap();
    assert!(b.verify_draft(&token));
}

#[test]
fn what_is_put_is_seen_and_what_is_older_is_not_stored() {
    let ground = Ground::new();
    let (a, b, _) = ground.pair();
    let put = |cache: &Cache, body: &str, started| {
        cache.put("/p", None, PageResult::new(body), started).unwrap()
    };
    let (old, new) = (a.started(), b.started());
    assert!(old < new, "one order for all");
    assert_eq!(put(&b, "new", new), Put::Stored);
    assert_eq!(put(&a, "old", old), Put::NotStored);
    assert_eq!(told(get(&a, "/p")), hit("new"));
    a.remove(&["/p"]).unwrap();
    assert_eq!(put(&b, "new", new), Put::NotStored);
    assert_eq!(b.peek("/p", None).unwrap().state(), State::Missing);
    let now = b.started();
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(put(&b, "begun before", now), Put::Stored);
    assert_eq!(a.peek("/p", None).unwrap().state(), State::Expired);
}

fn data(cache: &Cache, key: &str, value: &'static str) -> (CacheWord, String) {
    let options = DataOptions { tags: vec!["d".into()], revalidate: secs(60.0) };
    let answer = cache.data(None, &[key], &options, loads(value)).unwrap();
    (answer.cache(), String::from_utf8(answer.value().to_vec()).unwrap())
}

#[test]
fn data_entries_are_shared_outside_of_renders() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    assert_eq!(data(&a, "k", "one"), word(CacheWord::Miss, "one"));
    assert_eq!(data(&b, "k", "two"), hit("one"));
    a.revalidate_tag(&["d"], TagOptions::default()).unwrap();
    assert_eq!(data(&b, "k", "two"), word(CacheWord::Revalidated, "two"));
    assert_eq!(data(&a, "k", "three"), hit("two"));
    ground.advance(61.0);
    assert_eq!(data(&a, "k", "three"), word(CacheWord::Stale, "two"));
    settle(&a);
    assert_eq!(data(&b, "k", "four"), hit("three"));
    ground.is_quiet();
}

/// A loader that returns at once and leaves its jobs here.
#[derive(Default)]
struct Loads(Mutex<Vec<LoadJob>>);

impl Loads {
    #[track_caller]
    fn take(&self) -> LoadJob {
        let mut job = None;
        eventually("a load has begun", || {
            job = self.0.lock().unwrap().pop();
            job.is_some()
        });
        job.unwrap()
    }
}

#[test]
fn one_load_for_all_renders_of_both() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let jobs: Arc<Loads> = Arc::default();
    let renderer = |cache: &Cache| {
        let (cache, jobs) = (cache.downgrade(), jobs.clone());
        page(move |job| {
            let jobs = jobs.clone();
            let loader = Arc::new(move |job: LoadJob| jobs.0.lock().unwrap().push(job));
            let options = DataOptions { tags: vec!["d".into()], ..DataOptions::default() };
            let cache = cache.upgrade().unwrap();
            let read = cache.data(Some(&job.context()), &["k"], &options, loader);
            match read {
                Ok(answer) => PageResult::new(answer.value()),
                Err(error) => PageResult::new(error.message()),
            }
        })
    };
    a.add_route("/[id]", revalidate(60.0), renderer(&a)).unwrap();
    b.add_route("/[id]", revalidate(60.0), renderer(&b)).unwrap();
    let first = start_get(&a, "/a");
    let load = jobs.take();
    let second = start_get(&b, "/b");
    eventually("the other's render waits for the load", || b.activity().waiting == 1);
    load.complete(b"v".to_vec()).unwrap();
    assert_eq!(told(first.join()).1, "v");
    assert_eq!(told(second.join()).1, "v");
    assert_eq!((a.stats().loads, b.stats().loads), (1, 0));
    // Its tags are those of the pages that read it, whoever loaded it.
    a.revalidate_tag(&["d"], TagOptions::default()).unwrap();
    assert_eq!(b.peek("/b", None).unwrap().state(), State::Expired);
    assert_eq!(a.peek("/b", None).unwrap().state(), State::Expired);
}

#[test]
fn max_variants_are_those_of_both() {
    let ground = Ground::new();
    let (a, b) =
        (ground.open_with(|o| o.max_variants = 2), ground.open_with(|o| o.max_variants = 2));
    both(&a, &b, RouteOptions { query: vec!["q".into()], ..revalidate(60.0) }, echo());
    assert_eq!(told(get(&a, "/p?q=1")).0, CacheWord::Miss);
    assert_eq!(told(get(&b, "/p?q=2")).0, CacheWord::Miss);
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p?q=3")).0, CacheWord::Bypass);
        assert_eq!(told(get(cache, "/p?q=1")).0, CacheWord::Hit);
        assert_eq!(told(get(cache, "/p?q=2")).0, CacheWord::Hit);
    }
    assert_eq!(told(get(&b, "/p")).0, CacheWord::Miss, "the plain page is none");
    a.remove(&["/p"]).unwrap();
    assert_eq!(told(get(&b, "/p?q=3")).0, CacheWord::Miss);
}

#[test]
fn deployments_do_not_see_one_another() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open_with(|o| o.deployment = "next".into()));
    let (one, two) = (counter(), counter());
    a.add_route("/[id]", revalidate(60.0), versions(&one)).unwrap();
    b.add_route("/[id]", revalidate(60.0), versions(&two)).unwrap();
    for cache in [&a, &b] {
        assert_eq!(told(get(cache, "/p")), word(CacheWord::Miss, "v1"));
        assert_eq!(told(get(cache, "/p")), hit("v1"));
    }
    assert_eq!((data(&a, "k", "one"), data(&b, "k", "two")).1, word(CacheWord::Miss, "two"));
    ground.is_quiet();
}

#[test]
fn without_memory_the_directory_serves_alone() {
    let ground = Ground::new();
    let a = ground.open_with(|o| o.max_bytes = 0);
    let count = counter();
    a.add_route("/[id]", revalidate(60.0), versions(&count)).unwrap();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Miss, "v1"));
    assert_eq!(told(get(&a, "/p")), hit("v1"));
    ground.advance(61.0);
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Stale, "v1"));
    settle(&a);
    assert_eq!(told(get(&a, "/p")), hit("v2"));
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(told(get(&a, "/p")), word(CacheWord::Revalidated, "v3"));
    let stats = a.stats();
    assert_eq!((stats.entries_stored, stats.too_large, stats.disk_writes), (0, 0, 3));
}

#[test]
fn everything_comes_back_after_a_restart() {
    for durable in [false, true] {
        let ground = Ground::new();
        let open = || {
            let cache = ground.open_with(|o| o.durable = durable);
            let renderer = page(|job| match job.path() {
                "/gone" => PageResult::not_found("none").tag("t"),
                "/moved" => PageResult::redirect("/p", 308),
                path => PageResult::new(path).tag(&path[1..]),
            });
            cache.add_route("/[id]", revalidate(60.0), renderer).unwrap();
            cache
        };
        let first = open();
        let paths = ["/p", "/gone", "/moved", "/hard", "/soft", "/later", "/removed", "/replaced"];
        for path in paths {
            get(&first, path).unwrap();
        }
        data(&first, "k", "v");
        first.revalidate_tag(&["hard"], TagOptions::default()).unwrap();
        let soft = |expire| TagOptions { soft: true, expire };
        first.revalidate_tag(&["soft"], soft(None)).unwrap();
        first.revalidate_tag(&["later"], soft(Some(secs(5.0)))).unwrap();
        first.remove(&["/removed"]).unwrap();
        let begun = first.started();
        first.put("/replaced", None, PageResult::new("second"), begun).unwrap();
        let token = first.draft_token(secs(60.0)).unwrap();
        let etag = get(&first, "/p").unwrap().page().etag().to_string();
        assert!(first.close(PATIENCE));

        let second = open();
        assert!(second.started() > begun, "epochs go on");
        assert_eq!(second.put("/p", None, PageResult::new("old"), begun).unwrap(), Put::Stored);
        let state = |path: &str| second.peek(path, None).unwrap().state();
        let states =
            ["/gone", "/moved", "/hard", "/soft", "/later", "/removed", "/replaced"].map(state);
        use State::*;
        assert_eq!(states, [Fresh, Fresh, Expired, Stale, Stale, Missing, Fresh]);
        ground.advance(5.5);
        assert_eq!(state("/later"), Expired);
        let gone = get(&second, "/gone").unwrap();
        assert_eq!((gone.cache(), gone.page().status()), (CacheWord::Hit, 404));
        let moved = get(&second, "/moved").unwrap();
        assert_eq!(moved.page().header("location"), Some("/p"));
        assert_eq!(told(get(&second, "/replaced")), hit("second"));
        assert_eq!(data(&second, "k", "never"), hit("v"));
        assert!(second.verify_draft(&token));
        assert_ne!(get(&second, "/p").unwrap().page().etag(), etag, "it was replaced");
        second.revalidate_tag(&["t"], TagOptions::default()).unwrap();
        assert_eq!(state("/gone"), Expired, "tags come back, too");
        ground.is_quiet();
    }
}

#[test]
fn a_result_that_removes_does_so_for_all() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, RouteOptions { query: vec!["q".into()], ..revalidate(60.0) }, desk.renderer());
    for path in ["/p", "/p?q=1"] {
        let task = start_get(&a, path);
        desk.take().complete(PageResult::new("x")).unwrap();
        task.join().unwrap();
        assert_eq!(told(get(&b, path)), hit("x"));
    }
    let cache = a.clone();
    let task = spawn(move || cache.regenerate(&Request::new("/p"), false));
    desk.take().complete(PageResult { remove: true, ..PageResult::new("gone") }).unwrap();
    task.join().unwrap();
    for cache in [&a, &b] {
        assert_eq!(cache.peek("/p", None).unwrap().state(), State::Missing);
        assert_eq!(cache.try_get(&Request::new("/p?q=1")).unwrap().map(|a| a.cache()), None);
    }
    assert_eq!(a.stats().disk_bytes, b.stats().disk_bytes);
}

#[test]
fn a_prerender_in_both_renders_each_path_once() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let count = counter();
    let params =
        |n: usize| [("id".to_string(), ParamValue::One(n.to_string()))].into_iter().collect();
    let route = RouteOptions { static_params: (0..40).map(params).collect(), ..revalidate(60.0) };
    both(&a, &b, route, versions(&count));
    let reports = [&a, &b].map(|cache| {
        let cache = cache.clone();
        spawn(move || cache.prerender(None).unwrap())
    });
    for report in reports.map(Task::join) {
        assert_eq!((report.rendered + report.skipped, report.failed.len()), (40, 0));
    }
    assert_eq!(value(&count), 40);
    ground.is_quiet();
}

#[test]
fn closing_frees_those_who_wait_elsewhere_and_those_for_whom_others_wait() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, job) = (start_get(&a, "/p"), desk.take());
    let second = start_get(&b, "/p");
    waits(&b);
    assert!(!b.close(Duration::from_millis(10)), "somebody waits");
    fails(second.join(), Closed, &[]);
    job.complete(PageResult::new("x")).unwrap();
    assert_eq!(told(first.join()), word(CacheWord::Miss, "x"));
    // The other way round: who waits renders himself, at once.
    let c = ground.open();
    c.add_route("/[id]", revalidate(60.0), echo()).unwrap();
    let (third, _job) = (start_get(&a, "/q"), desk.take());
    let fourth = start_get(&c, "/q");
    waits(&c);
    a.close(Duration::ZERO);
    fails(third.join(), Closed, &[]);
    assert_eq!(told(fourth.join()), word(CacheWord::Miss, "/q"));
}

#[test]
fn two_that_would_wait_for_one_another_do_not() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let gate = Gate::new();
    // A page asks for the other one, once both renders have begun.
    let asking = |cache: &Cache| {
        let (cache, gate) = (cache.downgrade(), gate.clone());
        page(move |job| {
            gate.pass();
            let cache = cache.upgrade().unwrap();
            let other = if job.path() == "/a" { "/b" } else { "/a" };
            let context = job.context();
            let request = Request { within: Some(&context), ..Request::new(other) };
            match cache.get(&request) {
                Ok(answer) => PageResult::new(body(&answer)),
                Err(error) => PageResult::new(format!("{:?}", error.kind())),
            }
        })
    };
    a.add_route("/[id]", revalidate(60.0), asking(&a)).unwrap();
    b.add_route("/[id]", revalidate(60.0), asking(&b)).unwrap();
    let (first, second) = (start_get(&a, "/a"), start_get(&b, "/b"));
    gate.wait_for(2);
    gate.open();
    for task in [first, second] {
        let (_, text) = told(task.join());
        assert_eq!(text, "InvalidArgument");
    }
}

#[test]
fn a_render_that_asks_another_cache_of_the_directory_for_its_own_page_does_not_wait_for_itself() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let other = b.downgrade();
    let renderer = page(move |job| {
        let context = job.context();
        let request = Request { within: Some(&context), ..Request::new(job.path()) };
        let answer = other.upgrade().unwrap().get(&request).unwrap();
        PageResult::new(format!("outer of {}", body(&answer)))
    });
    a.add_route("/[id]", revalidate(60.0), renderer).unwrap();
    b.add_route("/[id]", revalidate(60.0), echo()).unwrap();
    assert_eq!(told(start_get(&a, "/p").join()).1, "outer of /p");
}

#[test]
fn the_same_process_counts_as_two() {
    let ground = Ground::new();
    let (a, b, count) = ground.pair();
    let tasks: Vec<_> = (0..400)
        .map(|n| start_get(if n % 2 == 0 { &a } else { &b }, &format!("/{}", n % 20)))
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!(value(&count), 20);
    assert_eq!(a.stats().disk_writes + b.stats().disk_writes, 20);
    assert_eq!(a.stats().disk_bytes, 20 * 4096);
    ground.is_quiet();
}

#[test]
fn an_answer_from_elsewhere_that_is_taken_slowly_holds_nobody_up() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let desk = Desk::new();
    both(&a, &b, revalidate(60.0), desk.renderer());
    let (first, one) = (start_get(&a, "/1"), desk.take());
    let (second, two) = (start_get(&a, "/2"), desk.take());
    let gate = Gate::new();
    let (done, slow) = outcome();
    let (cache, at) = (b.clone(), gate.clone());
    let done = move |_: Result<Answer, Error>| {
        at.pass();
        // Waits for another page from elsewhere, on the thread that answers.
        done(get_here(&cache, "/2"));
    };
    b.get_then(&Request::new("/1"), Box::new(done));
    one.complete(PageResult::new("one")).unwrap();
    first.join().unwrap();
    gate.wait_for(1);
    let third = start_get(&b, "/2");
    eventually("two wait", || b.activity().running == 2);
    gate.open();
    two.complete(PageResult::new("two")).unwrap();
    for task in [second, third, slow] {
        assert_eq!(told(task.join()).1, "two");
    }
}

fn get_here(cache: &Cache, path: &str) -> Result<Answer, Error> {
    cache.get(&Request::new(path))
}

#[test]
fn what_a_render_cost_is_known_after_a_restart() {
    let ground = Ground::new();
    let open = |max_bytes| {
        let cache = ground.open_with(|o| o.max_bytes = max_bytes);
        let clock = ground.clock.clone();
        let renderer = page(move |job| {
            clock.advance(secs(if job.path().starts_with("/costly") { 1.0 } else { 0.001 }));
            PageResult::new(vec![b'x'; 4096])
        });
        cache.add_route("/[id]", revalidate(1e9), renderer).unwrap();
        cache
    };
    let (costly, cheap) = (|n| format!("/costly-{n}"), |n| format!("/cheap-{n}"));
    let first = open(1 << 20);
    for n in 0..5 {
        get(&first, &costly(n)).unwrap();
    }
    for n in 0..100 {
        get(&first, &cheap(n)).unwrap();
    }
    first.close(Duration::MAX);
    let second = open(100 << 10);
    for n in 0..5 {
        get(&second, &costly(n)).unwrap();
    }
    for n in 0..100 {
        get(&second, &cheap(n)).unwrap();
    }
    let reads = second.stats().disk_reads;
    assert_eq!((reads, second.stats().misses), (105, 0));
    for n in 0..5 {
        get(&second, &costly(n)).unwrap();
    }
    assert_eq!(second.stats().disk_reads, reads, "they are in memory still");
    assert!(second.stats().evictions > 50);
    ground.is_quiet();
}
