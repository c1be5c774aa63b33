//! Everything at once, at random: whatever the order, no answer is older than an invalidation that had returned before it was
//! asked for, everybody is answered, and nothing is left over.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isr_core::*;

const PATHS: usize = 6;
const KEYS: usize = 4;
const THREADS: u64 = 8;
const ROUNDS: usize = 1500;
const MAX_BYTES: u64 = 12_000;
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is true outside of the cache, and since when callers may rely on it.
#[derive(Default)]
struct World {
    pages: [Version; PATHS],
    data: [Version; KEYS],
    renders: AtomicU64,
    /// Personal answers that somebody got.
    personal: Mutex<HashSet<u64>>,
    /// Callbacks no longer hang.
    calm: AtomicBool,
}

#[derive(Default)]
struct Version {
    now: AtomicU64,
    /// The newest of which the cache was told.
    told: AtomicU64,
}

impl Version {
    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// A change, and the call that tells the cache of it.
    fn change(&self, tell: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let version = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        tell()?;
        self.told.fetch_max(version, Ordering::SeqCst);
        Ok(())
    }
}

fn path(i: usize) -> String {
    format!("/p/{i}")
}

fn tag(k: usize) -> String {
    format!("k{k}")
}

/// An even key's load reads the next key, too.
fn nested(k: usize) -> Option<usize> {
    k.is_multiple_of(2).then_some(k + 1)
}

fn loader(world: &Arc<World>, k: usize) -> Arc<dyn Loader> {
    let world = world.clone();
    Arc::new(move |job: LoadJob| {
        let own = world.data[k].now();
        let inner = match nested(k) {
            None => None,
            Some(n) => match job.data(&[&tag(n)], &read_options(n), loader(&world, n)) {
                Ok(inner) => Some(String::from_utf8_lossy(inner.value()).into_owned()),
                Err(error) => return drop(job.fail(error)),
            },
        };
        let _ = match fastrand::u32(..20) {
            0 => job.fail(Error::render("load", None)),
            _ => job.complete(format!("{own} {}", inner.unwrap_or_default()).into_bytes()),
        };
    })
}

fn read_options(k: usize) -> DataOptions {
    let revalidate = if k == 1 { secs(0.05) } else { Lifetime::NEVER };
    DataOptions { tags: vec![tag(k)], revalidate }
}

fn secs(s: f64) -> Lifetime {
    Lifetime::from_secs_f64("test", s).unwrap()
}

/// The body: the number of the render, the version of the page, and those of the data read.
fn render(world: &Arc<World>, job: RenderJob) {
    let number = world.renders.fetch_add(1, Ordering::SeqCst);
    let i: usize = job.path()["/p/".len()..].parse().unwrap();
    let own = world.pages[i].now();
    let k = i % KEYS;
    let data = match job.data(&[&tag(k)], &read_options(k), loader(world, k)) {
        Ok(data) => String::from_utf8_lossy(data.value()).into_owned(),
        Err(error) => return drop(job.fail(error)),
    };
    let mut page = PageResult::new(format!("{number} {own} {data}"));
    page.body.resize(page.body.len() + fastrand::usize(..2000), b' ');
    let _ = match fastrand::u32(..40) {
        0..4 => job.fail(Error::render("render", None)),
        4 => job.complete(PageResult { no_store: true, ..page }),
        5 => job.complete(PageResult { status: 403, ..page }),
        6 => job.complete(PageResult { no_store: true, remove: true, ..page }),
        7 => job.complete(PageResult { status: 500, ..page }),
        8..10 => job.complete(page.header("set-cookie", "a=b")),
        10 => {
            while !job.is_cancelled() && !world.calm.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            job.complete(page)
        }
        11..14 => {
            std::thread::spawn(move || job.complete(page));
            Ok(())
        }
        14 => {
            drop(job);
            Ok(())
        }
        _ => job.complete(page),
    };
}

/// The versions in a body, without the number of the render.
fn versions(answer: &Answer) -> Vec<u64> {
    let body = String::from_utf8_lossy(answer.page().body()).into_owned();
    body.split_whitespace().map(|n| n.parse().unwrap()).collect()
}

/// What an answer to a request made now must at least show.
fn least(world: &World, i: usize, of: impl Fn(&Version) -> u64) -> Vec<u64> {
    let k = i % KEYS;
    let mut least = vec![of(&world.pages[i]), of(&world.data[k])];
    least.extend(nested(k).map(|n| of(&world.data[n])));
    least
}

fn check(world: &World, what: &str, least: &[u64], answer: &Answer) {
    let seen = versions(answer);
    let personal = answer.page().header("set-cookie").is_some();
    assert!(
        !personal || world.personal.lock().unwrap().insert(seen[0]),
        "two got the personal answer of render {}",
        seen[0]
    );
    let word = answer.cache();
    assert_eq!(seen.len(), least.len() + 1);
    for (seen, least) in seen[1..].iter().zip(least) {
        assert!(seen >= least, "{what}: {word:?} with version {seen}, invalidated for {least}");
    }
}

fn one_call(world: &World, cache: &Cache, clock: &ManualClock) -> Result<(), Error> {
    let i = fastrand::usize(..PATHS);
    let k = fastrand::usize(..KEYS);
    let path = path(i);
    let request = Request::new(&path);
    let soft = TagOptions { soft: true, expire: Some(secs(fastrand::f64())) };
    match fastrand::u32(..100) {
        0..50 => {
            let least = least(world, i, Version::told);
            let answer = cache.get(&request)?;
            if answer.cache() != CacheWord::StaleError {
                check(world, "get", &least, &answer);
            }
        }
        50..58 => drop(cache.get(&Request { prefetch: true, ..request })?),
        58..62 => {
            let least = least(world, i, Version::now);
            check(world, "draft", &least, &cache.get(&Request { draft: true, ..request })?);
        }
        62..68 => {
            // Its data is as new as invalidations make it, but it began after the call.
            let mut least = least(world, i, Version::told);
            least[0] = world.pages[i].now();
            let answer = cache.regenerate(&request, false)?;
            let answer = answer.expect("not only what was generated");
            if answer.cache() != CacheWord::StaleError {
                check(world, "regenerate", &least, &answer);
            }
        }
        68..74 => world.pages[i].change(|| cache.revalidate_path(&[&path], None).map(drop))?,
        74 => {
            let all = || cache.revalidate_path(&["/p"], Some(PathType::Layout)).map(drop);
            world.pages[i].change(all)?;
        }
        75..80 => world.pages[i].change(|| cache.remove(&[&path]))?,
        80..86 => {
            let hard = TagOptions::default();
            world.data[k].change(|| cache.revalidate_tag(&[&tag(k)], hard))?;
        }
        86..90 => cache.revalidate_tag(&[&tag(k), "unused"], soft)?,
        90..93 => drop(cache.data(None, &[&tag(1)], &read_options(1), loads_nothing())?),
        93 => drop(cache.prerender(None)?),
        94 => {
            let (started, own) = (cache.started(), world.pages[i].now());
            let data: String =
                least(world, i, Version::now)[1..].iter().map(|v| format!("{v} ")).collect();
            cache.put(
                &path,
                None,
                PageResult::new(format!("0 {own} {data}")).tags_of(i),
                started,
            )?;
        }
        _ => clock.advance(secs(fastrand::f64() * 0.2)),
    }
    Ok(())
}

fn loads_nothing() -> Arc<dyn Loader> {
    Arc::new(|job: LoadJob| drop(job.fail(Error::render("nothing", None))))
}

trait TagsOf {
    fn tags_of(self, i: usize) -> Self;
}

impl TagsOf for PageResult {
    /// The tags that a render of this path gets from its data.
    fn tags_of(self, i: usize) -> PageResult {
        let k = i % KEYS;
        let page = self.tag(tag(k));
        match nested(k) {
            Some(n) => page.tag(tag(n)),
            None => page,
        }
    }
}

fn open(world: &Arc<World>) -> (Cache, ManualClock) {
    let clock = ManualClock::new(Time::from_nanos(1_700_000_000_000_000_000));
    let cache = Cache::open(Options {
        clock: clock.clone().into(),
        threads: 3,
        max_queue: 4,
        max_bytes: MAX_BYTES,
        max_invalidations: 16,
        ..Options::default()
    })
    .unwrap();
    let world = world.clone();
    let listed = (0..2).map(|i| Params::from([("id".into(), ParamValue::One(i.to_string()))]));
    let options = RouteOptions {
        revalidate: Some(secs(0.3)),
        expire: Some(secs(1.0)),
        timeout: Some(secs(0.5)),
        static_params: listed.collect(),
        ..RouteOptions::default()
    };
    let renderer = move |job: RenderJob| render(&world, job);
    cache.add_route("/p/[id]", options, Arc::new(renderer)).unwrap();
    (cache, clock)
}

/// Runs all threads to their end; `meanwhile` is called beside them.
fn run(
    seed: u64,
    world: &Arc<World>,
    cache: &Cache,
    clock: &ManualClock,
    meanwhile: impl FnOnce(),
) {
    let (send, ended) = channel();
    for thread in 0..THREADS {
        let (world, cache, clock) = (world.clone(), cache.clone(), clock.clone());
        let send = send.clone();
        std::thread::spawn(move || {
            fastrand::seed(seed ^ thread);
            for _ in 0..ROUNDS {
                let Err(error) = one_call(&world, &cache, &clock) else { continue };
                match error.kind() {
                    ErrorKind::Render | ErrorKind::Timeout | ErrorKind::Busy => {}
                    ErrorKind::Closed if cache.is_closed() => break,
                    _ => panic!("{error}"),
                }
            }
            let _ = send.send(());
        });
    }
    drop(send);
    meanwhile();
    let (stop, ticking) = (Arc::new(AtomicBool::new(false)), clock.clone());
    let stopped = stop.clone();
    // Those who wait for a render that hangs wait for the clock.
    let ticks = std::thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            ticking.advance(secs(0.02));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for _ in 0..THREADS {
        let told = ended.recv_timeout(PATIENCE);
        told.unwrap_or_else(|e| panic!("seed {seed}: {e}; {:?}", cache.activity()));
    }
    world.calm.store(true, Ordering::SeqCst);
    stop.store(true, Ordering::SeqCst);
    ticks.join().unwrap();
}

/// A render counts until after all who waited for it were told.
fn nothing_is_left(seed: u64, cache: &Cache) {
    for _ in 0..PATIENCE.as_millis() {
        let left = cache.activity();
        if (left.queued, left.running, left.waiting) == (0, 0, 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("seed {seed}: left over: {:?}", cache.activity());
}

fn seed() -> u64 {
    let seed = std::env::var("ISR_STRESS_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("ISR_STRESS_SEED={seed}");
    seed
}

#[test]
fn no_answer_is_too_old_and_everybody_is_answered() {
    let (seed, world) = (seed(), Arc::new(World::default()));
    let (cache, clock) = open(&world);
    run(seed, &world, &cache, &clock, || {});
    nothing_is_left(seed, &cache);
    let stats = cache.stats();
    println!("{stats:?}");
    assert!(stats.bytes_stored <= MAX_BYTES, "seed {seed}: {} bytes", stats.bytes_stored);
    assert!(stats.evictions > 0 && stats.render_timeouts > 0, "seed {seed}: {stats:?}");
    for i in 0..PATHS {
        cache.remove(&[&path(i)]).unwrap();
        assert!(cache.peek(&path(i), None).unwrap().page().is_none());
    }
    assert!(cache.close(PATIENCE));
}

#[test]
fn closing_in_the_midst_of_it_answers_everybody() {
    for _ in 0..5 {
        let (seed, world) = (seed(), Arc::new(World::default()));
        let (cache, clock) = open(&world);
        let closing = cache.clone();
        run(seed, &world, &cache, &clock, || {
            std::thread::sleep(Duration::from_millis(20));
            closing.close(Duration::ZERO);
        });
        nothing_is_left(seed, &cache);
    }
}
