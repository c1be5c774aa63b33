//! Request traces of the project's own: made from fixed seeds, the same on every run.

use std::collections::HashMap;
use std::path::Path;

use fastrand::Rng;

/// A page of a trace.
#[derive(Clone, Copy)]
pub struct Page {
    /// What it takes in memory.
    pub bytes: u32,
    /// What its render takes, in microseconds.
    pub micros: u32,
}

/// Requests in their order.
pub struct Trace {
    pub name: String,
    pub pages: Vec<Page>,
    /// Indices of `pages`.
    pub requests: Vec<u32>,
}

impl Trace {
    /// The bytes of all pages that are asked for, and the microseconds to render each once.
    pub fn footprint(&self) -> (u64, u64) {
        let mut seen = vec![false; self.pages.len()];
        let (mut bytes, mut micros) = (0, 0);
        for &id in &self.requests {
            if !std::mem::replace(&mut seen[id as usize], true) {
                bytes += u64::from(self.pages[id as usize].bytes);
                micros += u64::from(self.pages[id as usize].micros);
            }
        }
        (bytes, micros)
    }
}

/// Reads a trace. Pages without bytes take 10 KB, those without a render time 20 ms.
pub fn read(path: &Path) -> Result<Trace, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let (mut pages, mut requests) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let mut number = |unknown: u32| match words.next() {
            Some(word) => word.parse().map_err(|e| format!("line {}: {word:?}: {e}", at + 1)),
            None => Ok(unknown),
        };
        let page = Page { bytes: number(10_000)?, micros: number(20_000)? };
        let id = *ids.entry(name).or_insert(pages.len() as u32);
        if id as usize == pages.len() {
            pages.push(page);
        }
        requests.push(id);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into();
    Ok(Trace { name, pages, requests })
}

/// What pages of a site take and cost.
#[derive(Clone, Copy)]
enum Costs {
    /// All the same.
    Even,
    /// Log-normal sizes around 10 KB and render times around 20 ms.
    LogNormal,
    /// One in ten asks a slow backend: 400 ms instead of 4.
    TwoKinds,
    /// The time grows with the size.
    BySize,
}

/// All traces; `scale` 1 is about a million requests each.
pub fn all(scale: f64) -> Vec<Trace> {
    let n = (1_000_000.0 * scale) as usize;
    let pages = (100_000.0 * scale) as usize;
    let make = |name: &str, costs: Costs, seed: u64, requests: Vec<u32>| {
        let count = requests.iter().max().map_or(0, |m| *m as usize + 1);
        Trace { name: name.into(), pages: costs.pages(count, seed), requests }
    };
    vec![
        make("zipf, even", Costs::Even, 1, zipf(n, pages, 0.9, 1)),
        make("zipf + crawler, even", Costs::Even, 2, crawled(zipf(n, pages, 0.9, 2), pages, 3)),
        make("drift, even", Costs::Even, 3, drift(n, pages, 0.9, 3)),
        make("zipf", Costs::LogNormal, 4, zipf(n, pages, 0.9, 4)),
        make("zipf, slow tenth", Costs::TwoKinds, 5, zipf(n, pages, 0.9, 5)),
        make("zipf, time by size", Costs::BySize, 6, zipf(n, pages, 0.9, 6)),
        make("zipf + crawler", Costs::LogNormal, 7, crawled(zipf(n, pages, 0.9, 7), pages, 3)),
        make("zipf + sweeps", Costs::LogNormal, 8, swept(zipf(n, pages, 0.9, 8), pages, 6)),
        make("drift", Costs::LogNormal, 9, drift(n, pages, 0.9, 9)),
        make("drift + crawler", Costs::LogNormal, 10, crawled(drift(n, pages, 0.9, 10), pages, 10)),
        make("news", Costs::LogNormal, 11, news(n, pages, 11)),
    ]
}

impl Costs {
    fn pages(self, count: usize, seed: u64) -> Vec<Page> {
        let mut random = Rng::with_seed(seed);
        (0..count)
            .map(|_| {
                let size = 10_000.0 * (normal(&mut random)).exp();
                let (size, micros) = match self {
                    Costs::Even => (10_000.0, 20_000.0),
                    Costs::LogNormal => (size, 20_000.0 * (1.2 * normal(&mut random)).exp()),
                    Costs::TwoKinds => (size, if random.f64() < 0.1 { 400_000.0 } else { 4_000.0 }),
                    Costs::BySize => (size, size * 2.0 * (0.5 * normal(&mut random)).exp()),
                };
                Page {
                    bytes: size.clamp(300.0, 1_000_000.0) as u32,
                    micros: micros.clamp(100.0, 10_000_000.0) as u32,
                }
            })
            .collect()
    }
}

/// Independent draws; which page has which rank is shuffled.
fn zipf(n: usize, pages: usize, exponent: f64, seed: u64) -> Vec<u32> {
    let mut random = Rng::with_seed(seed);
    let ranks = Ranks::new(pages, exponent);
    let keys = shuffled(pages, &mut random);
    (0..n).map(|_| keys[ranks.draw(&mut random)]).collect()
}

/// Zipf whose popularity moves: twenty times, a tenth of the ranks get other pages.
fn drift(n: usize, pages: usize, exponent: f64, seed: u64) -> Vec<u32> {
    let mut random = Rng::with_seed(seed);
    let ranks = Ranks::new(pages, exponent);
    let mut keys = shuffled(pages, &mut random);
    let every = (n / 20).max(1);
    (0..n)
        .map(|i| {
            if i % every == every - 1 {
                for _ in 0..pages / 20 {
                    let (a, b) = (random.usize(0..pages), random.usize(0..pages));
                    keys.swap(a, b);
                }
                // The top moves, too.
                for top in 0..20 {
                    keys.swap(top, random.usize(0..pages));
                }
            }
            keys[ranks.draw(&mut random)]
        })
        .collect()
}

/// After every so many visits a crawler asks for a path that nobody else asks for, once.
fn crawled(visits: Vec<u32>, pages: usize, every: usize) -> Vec<u32> {
    let mut out = Vec::with_capacity(visits.len() + visits.len() / every + 1);
    let mut unknown = pages as u32;
    for (i, v) in visits.into_iter().enumerate() {
        out.push(v);
        if i % every == 0 {
            out.push(unknown);
            unknown += 1;
        }
    }
    out
}

/// So many times, all pages are asked for in order, beside the visits.
fn swept(visits: Vec<u32>, pages: usize, times: usize) -> Vec<u32> {
    let mut out = Vec::with_capacity(visits.len() + pages * times);
    let every = visits.len() / times;
    for (i, v) in visits.into_iter().enumerate() {
        out.push(v);
        if i % every < pages {
            out.push((i % every) as u32);
        }
    }
    out
}

/// New pages come all the time; most visits are for the newest, the others for an archive in Zipf order.
fn news(n: usize, pages: usize, seed: u64) -> Vec<u32> {
    let mut random = Rng::with_seed(seed);
    let archive = Ranks::new(pages / 2, 0.8);
    let recent = Ranks::new(pages / 2, 1.1);
    let half = pages / 2;
    (0..n)
        .map(|i| {
            if random.f64() < 0.3 {
                return archive.draw(&mut random) as u32;
            }
            let newest = half + i * half / n;
            let age = recent.draw(&mut random);
            newest.saturating_sub(age).max(half) as u32
        })
        .collect()
}

/// Zipf's law over ranks.
struct Ranks(Vec<f64>);

impl Ranks {
    fn new(count: usize, exponent: f64) -> Ranks {
        let mut sum = 0.0;
        let add = |rank: usize| {
            sum += (rank as f64).powf(-exponent);
            sum
        };
        Ranks((1..=count).map(add).collect())
    }

    fn draw(&self, random: &mut Rng) -> usize {
        let at = random.f64() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|c| *c < at).min(self.0.len() - 1)
    }
}

fn shuffled(count: usize, random: &mut Rng) -> Vec<u32> {
    let mut keys: Vec<u32> = (0..count as u32).collect();
    random.shuffle(&mut keys);
    keys
}

/// A normal deviate (Box and Muller).
pub fn normal(random: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}
