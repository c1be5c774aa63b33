//! A cache on a manual clock, gates that hold callbacks, and threads that are waited for with patience.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use isr_core::*;

/// What takes longer than this hangs. No test that passes waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const START: Time = Time::from_nanos(1_700_000_000_000_000_000);

pub fn secs(s: f64) -> Lifetime {
    Lifetime::from_secs_f64("test", s).unwrap()
}

/// A cache on a manual clock, without jitter.
pub fn open(set: impl FnOnce(&mut Options)) -> (Cache, ManualClock) {
    let clock = ManualClock::new(START);
    let mut options =
        Options { clock: clock.clone().into(), backoff_jitter: 0.0, ..Options::default() };
    set(&mut options);
    (Cache::open(options).unwrap(), clock)
}

pub fn revalidate(s: f64) -> RouteOptions {
    RouteOptions { revalidate: Some(secs(s)), ..RouteOptions::default() }
}

/// A renderer made of a function from the job to a page.
pub fn page(f: impl Fn(&RenderJob) -> PageResult + Send + Sync + 'static) -> Arc<dyn Renderer> {
    Arc::new(move |job: RenderJob| {
        let result = f(&job);
        let _ = job.complete(result);
    })
}

/// Renders `v1`, `v2`, ... and counts.
pub fn versions(count: &Arc<AtomicUsize>) -> Arc<dyn Renderer> {
    let count = count.clone();
    page(move |_| PageResult::new(format!("v{}", count.fetch_add(1, Ordering::SeqCst) + 1)))
}

pub fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

pub fn value(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

/// A loader that gives this value.
pub fn loads(value: &'static str) -> Arc<dyn Loader> {
    Arc::new(move |job: LoadJob| {
        let _ = job.complete(value.into());
    })
}

pub fn body(answer: &Answer) -> String {
    String::from_utf8(answer.page().body().to_vec()).unwrap()
}

/// The word and the body of an answer.
pub fn told(answer: Result<Answer, Error>) -> (CacheWord, String) {
    let answer = answer.unwrap();
    (answer.cache(), body(&answer))
}

pub fn get(cache: &Cache, path: &str) -> Result<Answer, Error> {
    start_get(cache, path).join()
}

pub fn start_get(cache: &Cache, path: &str) -> Task<Result<Answer, Error>> {
    let (cache, path) = (cache.clone(), path.to_string());
    spawn(move || cache.get(&Request::new(&path)))
}

/// The error of a result that must be one, of this kind, whose text has all of these parts.
#[track_caller]
pub fn fails<T>(result: Result<T, Error>, kind: ErrorKind, parts: &[&str]) -> Error {
    let Err(error) = result else { panic!("expected {kind:?} with {parts:?}, got a success") };
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "\"{part}\" is not in: {error}");
    }
    error
}

/// Waits until a condition holds, which other threads bring about.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() {
        if holds() {
            return;
        }
        std::thread::sleep(pause);
    }
    panic!("it never came about that {what}");
}

/// Waits until nothing is queued or running but what waits for something held.
#[track_caller]
pub fn settle(cache: &Cache) {
    eventually("the cache is quiet", || {
        let first = cache.activity();
        first.queued == 0 && first.running == first.waiting && cache.activity() == first
    });
}

/// Work on a thread of its own.
pub struct Task<T>(Receiver<T>);

pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let _ = send.send(f());
    });
    Task(receive)
}

impl<T> Task<T> {
    /// The outcome; fails where it panics or hangs.
    #[track_caller]
    pub fn join(self) -> T {
        self.0.recv_timeout(PATIENCE).expect("the thread panicked or hangs")
    }
}

/// Hands outcomes of callbacks to the test.
pub fn outcome<T: Send + 'static>() -> (Box<dyn FnOnce(T) + Send>, Task<T>) {
    let (send, receive) = channel();
    let done = move |got| {
        let _ = send.send(got);
    };
    (Box::new(done), Task(receive))
}

/// Holds those who pass until it is opened.
#[derive(Default)]
pub struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        Arc::default()
    }

    /// Blocks until the gate is open.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let held = self.changed.wait_timeout_while(state, PATIENCE, |s| !s.1).unwrap();
        assert!(!held.1.timed_out(), "nobody opened the gate");
    }

    pub fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    /// Blocks until so many have come to the gate.
    #[track_caller]
    pub fn wait_for(&self, arrivals: usize) {
        let state = self.state.lock().unwrap();
        let (state, result) =
            self.changed.wait_timeout_while(state, PATIENCE, |s| s.0 < arrivals).unwrap();
        assert!(!result.timed_out(), "{} of {arrivals} came to the gate", state.0);
    }

    /// How many have come so far.
    pub fn arrivals(&self) -> usize {
        self.state.lock().unwrap().0
    }
}

/// Renders the path as the body, once the gate is open.
pub fn gated(gate: &Arc<Gate>) -> Arc<dyn Renderer> {
    let gate = gate.clone();
    page(move |job| {
        gate.pass();
        PageResult::new(job.path())
    })
}

/// Renders the path as the body.
pub fn echo() -> Arc<dyn Renderer> {
    page(|job| PageResult::new(job.path()))
}

/// A place to hand jobs to another thread.
#[derive(Default)]
pub struct Desk(Mutex<VecDeque<RenderJob>>);

impl Desk {
    pub fn new() -> Arc<Desk> {
        Arc::default()
    }

    /// A renderer that returns at once and leaves its jobs here.
    pub fn renderer(self: &Arc<Desk>) -> Arc<dyn Renderer> {
        let desk = self.clone();
        Arc::new(move |job: RenderJob| desk.0.lock().unwrap().push_back(job))
    }

    /// The oldest job, once there is one.
    #[track_caller]
    pub fn take(&self) -> RenderJob {
        let mut job = None;
        eventually("a job is on the desk", || {
            job = self.0.lock().unwrap().pop_front();
            job.is_some()
        });
        job.unwrap()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
