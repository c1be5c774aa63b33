//! Everything at once, at random, in many processes: whoever is killed, no answer is torn, older than what was promised, or
//! late without end.

mod check;
mod client;
mod content;
mod site;
mod truth;

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use isr_core::{Cache, Clock, Error, OnTrouble, OptionValue, Options};
use serde_json::{Map, Value, json};

use check::{Checker, Promised};
use client::Client;
use content::{Kind, kind, path};
use truth::{PAGES, Truth, Violations};

use crate::serve::say;

/// Threads that ask.
const CLIENTS: usize = 3;
/// What takes longer is stuck: many times the time-out of a render.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub struct Args {
    /// The cache's directory; without one nothing is shared, and the checks must fail.
    #[arg(long)]
    directory: Option<String>,
    /// The file that knows the truth.
    #[arg(long)]
    truth: PathBuf,
    /// Where broken promises are written down.
    #[arg(long)]
    violations: PathBuf,
    /// Seeds the choices.
    #[arg(long)]
    seed: u64,
    /// Further options of the cache, `name=number`.
    #[arg(long)]
    set: Vec<String>,
}

/// One process of the storm.
pub struct Storm {
    cache: Cache,
    truth: &'static Truth,
    checker: Arc<Checker>,
    mood: Mutex<Mood>,
    changed: Condvar,
    /// When each client began what it does, in nanoseconds; 0: nothing.
    since: [AtomicU64; CLIENTS],
}

/// Whether clients ask, and how many are in the middle of it.
#[derive(Default)]
struct Mood {
    wild: bool,
    busy: usize,
}

pub fn run(args: Args) {
    let truth = Truth::open(&args.truth);
    let violations = Violations::open(&args.violations, truth);
    let checker = Arc::new(Checker { truth, violations });
    let cache = options(&args, &checker).and_then(Cache::open).expect("the cache opens");
    site::add_routes(&cache, truth).expect("the routes are right");
    let storm = Storm {
        cache,
        truth,
        checker,
        mood: Mutex::default(),
        changed: Condvar::new(),
        since: Default::default(),
    };
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let storm = &storm;
            scope.spawn(move || {
                fastrand::seed(args.seed.wrapping_mul(CLIENTS as u64).wrapping_add(n as u64));
                storm.client(n);
            });
        }
        scope.spawn(|| storm.watch());
        storm.obey();
    });
}

fn options(args: &Args, checker: &Arc<Checker>) -> Result<Options, Error> {
    let told = checker.clone();
    let mut options = Options {
        // Little memory, so that the directory is read often.
        max_bytes: 1 << 20,
        threads: 4,
        default_timeout: site::TIMEOUT.into(),
        on_trouble: Some(OnTrouble(Arc::new(move |error: &Error| {
            // The test stops processes, also one that holds a lock: others go on, and say so.
            if !error.message().contains("cannot be locked") {
                told.violations.add(&format!("on_trouble: {error}"));
            }
        }))),
        ..Options::default()
    };
    if let Some(directory) = &args.directory {
        options.set("directory", OptionValue::Text(directory.clone()))?;
    }
    for pair in &args.set {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        options.set(name, OptionValue::Number(value.parse().unwrap_or(f64::NAN)))?;
    }
    Ok(options)
}

impl Storm {
    fn client(&self, n: usize) {
        let mut client = Client::new(self);
        loop {
            let mood = self.mood.lock().unwrap();
            let mut mood = self.changed.wait_while(mood, |m| !m.wild).unwrap();
            mood.busy += 1;
            drop(mood);
            self.since[n].store(now(), SeqCst);
            client.step();
            self.since[n].store(0, SeqCst);
            let mut mood = self.mood.lock().unwrap();
            mood.busy -= 1;
            if !mood.wild {
                self.changed.notify_all();
            }
        }
    }

    /// Sees clients that wait without end.
    fn watch(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            for since in &self.since {
                let began = since.load(SeqCst);
                if began != 0 && now().saturating_sub(began) > PATIENCE.as_nanos() as u64 {
                    since.store(0, SeqCst);
                    let a = self.cache.activity();
                    self.checker
                        .violations
                        .add(&format!("stuck: a call takes longer than {PATIENCE:?}; {a:?}"));
                }
            }
        }
    }

    /// What the test says, a word a line.
    fn obey(&self) {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let mut words = line.split(' ');
            let said = match (words.next(), words.next()) {
                (Some("go"), None) => {
                    self.mood.lock().unwrap().wild = true;
                    self.changed.notify_all();
                    Value::Null
                }
                (Some("quiet"), None) => {
                    let mut mood = self.mood.lock().unwrap();
                    mood.wild = false;
                    drop(self.changed.wait_while(mood, |m| m.busy > 0).unwrap());
                    Value::Null
                }
                (Some("verify"), None) => self.verify(),
                (Some("cold"), Some(round)) => self.cold(round.parse().expect("a round")),
                (Some("counters"), None) => self.counters(),
                _ => panic!("unknown command {line:?}"),
            };
            say(&said);
        }
        std::process::exit(0);
    }

    /// Asks for every page in turn: which render each shows, and how it came.
    fn verify(&self) -> Value {
        let mut shown = Map::new();
        for page in 0..PAGES {
            let promised = Promised::of(self.truth, page);
            let began = now();
            let said = match site::get(&self.cache, &path(page)) {
                Ok(answer) => {
                    let id = self.checker.answer("verify", &promised, &answer);
                    json!({"id": id, "cache": answer.cache().name()})
                }
                Err(error) => {
                    self.checker.error("verify", &path(page), &error);
                    json!({"error": error.kind().name()})
                }
            };
            let Value::Object(mut said) = said else { unreachable!("an object was made") };
            said.insert("ms".into(), json!((now() - began) / 1_000_000));
            said.insert("steady".into(), json!(kind(page) == Kind::Steady));
            shown.insert(path(page), Value::Object(said));
        }
        Value::Object(shown)
    }

    /// Several threads ask at once for a page, then for a data entry, that nobody has asked for.
    fn cold(&self, round: usize) -> Value {
        let together = Barrier::new(CLIENTS);
        let key = ["cold".to_string(), round.to_string()];
        let key = [key[0].as_str(), key[1].as_str()];
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    together.wait();
                    let page = site::get(&self.cache, &format!("/cold/{round}"));
                    if page.as_ref().map(|a| a.page().body().to_vec()).ok()
                        != Some(format!("cold {round}").into())
                    {
                        self.checker.violations.add(&format!("cold {round}: got {page:?}"));
                    }
                    let options = isr_core::DataOptions::default();
                    let data =
                        self.cache.data(None, &key, &options, site::cold_loader(self.truth, round));
                    if data.as_ref().map(|a| a.value().to_vec()).ok()
                        != Some(format!("cold {round}").into())
                    {
                        self.checker.violations.add(&format!("cold data {round}: got {data:?}"));
                    }
                });
            }
        });
        let counts = |n: usize| self.truth.cold[2 * round + n].load(SeqCst);
        json!({"renders": counts(0), "loads": counts(1)})
    }

    fn counters(&self) -> Value {
        let list = |entries: Vec<(&'static str, u64)>| -> Map<String, Value> {
            entries.into_iter().map(|(name, n)| (name.to_string(), json!(n))).collect()
        };
        json!({"all": list(self.truth.counters.entries()), "own": list(self.cache.stats().entries())})
    }
}

fn now() -> u64 {
    Clock::system().now().nanos()
}
