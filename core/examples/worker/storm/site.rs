//! The site: what renders and loads give.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use isr_core::{
    Cache, DataOptions, Error, Lifetime, LoadJob, Loader, PageResult, RenderJob, Request,
    RouteOptions,
};

use super::content::{Facts, Kind, key, key_tag, kind, path};
use super::truth::{PAGES, Truth};

/// Of renders and loads.
pub const TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a render takes for which all processes wait.
const COLD_RENDER: Duration = Duration::from_millis(100);

pub fn add_routes(cache: &Cache, truth: &'static Truth) -> Result<(), Error> {
    let short = RouteOptions {
        revalidate: Some(Lifetime::from_nanos(200_000_000)),
        expire: Some(Lifetime::from_secs(1)),
        ..RouteOptions::default()
    };
    let of_page = Arc::new(move |job: RenderJob| render(truth, job));
    cache.add_route("/s/[id]", RouteOptions::default(), of_page.clone())?;
    cache.add_route("/t/[id]", short, of_page.clone())?;
    cache.add_route("/u/[...rest]", RouteOptions::default(), of_page)?;
    cache.add_route("/flood/[id]", RouteOptions::default(), Arc::new(flood))?;
    let cold = Arc::new(move |job: RenderJob| cold(truth, job));
    cache.add_route("/cold/[id]", RouteOptions::default(), cold)
}

/// A page that is asked for once and never again.
fn flood(job: RenderJob) {
    let facts = Facts { path: job.path().to_string(), ..Facts::default() };
    // Over: killed by its time-out.
    let _ = job.complete(facts.page());
}

/// A page that all processes ask for at once, with a data entry for which the same holds.
fn cold(truth: &'static Truth, job: RenderJob) {
    let Some(round) = job.path().rsplit('/').next().and_then(|n| n.parse::<usize>().ok()) else {
        return;
    };
    truth.cold[2 * round].fetch_add(1, SeqCst);
    std::thread::sleep(COLD_RENDER);
    let _ = job.complete(PageResult::new(format!("cold {round}")));
}

pub fn cold_loader(truth: &'static Truth, round: usize) -> Arc<dyn Loader> {
    Arc::new(move |job: LoadJob| {
        truth.cold[2 * round + 1].fetch_add(1, SeqCst);
        std::thread::sleep(COLD_RENDER);
        let _ = job.complete(format!("cold {round}").into_bytes());
    })
}

pub fn data_options(key: usize) -> DataOptions {
    DataOptions { tags: vec![key_tag(key)], ..DataOptions::default() }
}

pub fn data_key(key: usize) -> [String; 2] {
    ["key".to_string(), key.to_string()]
}

pub fn loader(truth: &'static Truth, key: usize) -> Arc<dyn Loader> {
    Arc::new(move |job: LoadJob| {
        truth.counters.loads.fetch_add(1, SeqCst);
        let facts = Facts {
            path: data_key(key).join("/"),
            version: truth.keys[key].now(),
            id: truth.id(),
            process: std::process::id(),
            ..Facts::default()
        };
        if fastrand::u32(0..50) == 0 {
            pause(0..30);
        }
        let _ = job.complete(facts.value());
    })
}

fn pause(millis: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(fastrand::u64(millis)));
}

fn number(path: &str) -> Option<usize> {
    path.rsplit('/').next()?.parse().ok().filter(|p| *p < PAGES && self::path(*p) == path)
}

fn render(truth: &'static Truth, job: RenderJob) {
    // Not one of the site's: the job is dropped, which is a failure that the checks do not expect.
    let Some(page) = number(job.path()) else { return };
    truth.counters.renders.fetch_add(1, SeqCst);
    let mut facts = Facts::read(truth, page);
    if let Some(k) = key(page) {
        let name = data_key(k);
        let name = [name[0].as_str(), name[1].as_str()];
        match job.data(&name, &data_options(k), loader(truth, k)) {
            Ok(data) => facts.data = Facts::of_value(data.value()).map(|d| d.version),
            Err(error) => return drop(job.fail(error)),
        }
    }
    match fastrand::u32(0..100) {
        0..10 => pause(1..20),
        10..12 => pause(50..200),
        _ => {}
    }
    let done = match (kind(page), fastrand::u32(0..100)) {
        (Kind::Odd, 0..4) => job.fail(Error::render("the render fails on purpose", None)),
        (Kind::Odd, 4..6) => job.complete(PageResult { status: 503, ..facts.page() }),
        (Kind::Odd, 6..7) => {
            std::thread::sleep(TIMEOUT + TIMEOUT / 2);
            job.complete(facts.page())
        }
        (Kind::Odd, 7..12) => job.complete(PageResult { status: 404, ..facts.page() }),
        (Kind::Odd, 12..17) => {
            job.complete(PageResult { status: 307, ..facts.page().header("location", "/s/1") })
        }
        (Kind::Odd, 17..19) => {
            let cookie = format!("id={}", facts.id);
            job.complete(facts.page().header("set-cookie", cookie))
        }
        (Kind::Odd, 19..21) => job.complete(PageResult { no_store: true, ..facts.page() }),
        _ => job.complete(facts.page()),
    };
    if done.is_err() {
        truth.counters.late.fetch_add(1, SeqCst);
    }
}

/// A plain request.
pub fn get(cache: &Cache, path: &str) -> Result<isr_core::Answer, Error> {
    cache.get(&Request::new(path))
}
