//! One JavaScript isolate (the main thread or a worker): its queue of events, its unfinished jobs, and what keeps its loop
//! alive.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use isr_core::{Cache, WeakCache};
use napi::bindgen_prelude::{FnArgs, Function, FunctionRef, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status, sys};
use napi_derive::napi;
use parking_lot::Mutex;

use crate::event::{Event, JsEvent};
use crate::job::Job;

/// Calls `drain` on the isolate's thread. Weak: it does not keep the process alive.
type Wake = ThreadsafeFunction<(), Unknown<'static>, (), Status, false, true>;
/// `(kind, message, cause)`, where `cause` is the number of a value kept in JavaScript.
pub(crate) type MakeError = FnArgs<(String, String, Option<i64>)>;

/// Releases that nobody waits for may pile up to this number before they wake the loop.
const LAZY_RELEASES: usize = 256;

/// What threads of the cache see of an isolate.
pub(crate) struct Shared {
    thread: ThreadId,
    wake: Wake,
    make_error: FunctionRef<MakeError, Unknown<'static>>,
    /// Whether a wake-up is on its way, so that many events cost one.
    woken: AtomicBool,
    /// `None` once the isolate is gone.
    queue: Mutex<Option<VecDeque<Event>>>,
    /// Jobs handed to JavaScript and not finished.
    jobs: Mutex<HashMap<u64, Job>>,
    last_job: AtomicU64,
    caches: Mutex<Vec<WeakCache>>,
    /// Promises that wait for an event.
    pending: AtomicUsize,
    /// Whether the loop is kept alive. Used on the isolate's thread alone.
    held: AtomicBool,
}

impl Shared {
    /// Queues an event. One for an isolate that is gone fails its job.
    pub(crate) fn push(&self, event: Event) {
        let lazy =
            matches!(event, Event::Released(_)) && std::thread::current().id() == self.thread;
        let refused = match &mut *self.queue.lock() {
            Some(queue) => {
                queue.push_back(event);
                if lazy && queue.len() < LAZY_RELEASES {
                    return;
                }
                None
            }
            None => Some(event),
        };
        match refused {
            Some(event) => event.abandon(),
            None if !self.woken.swap(true, Ordering::AcqRel) => {
                self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
            None => {}
        }
    }

    /// The next event, on the isolate's thread.
    fn pop(&self) -> Option<Event> {
        let pop = || self.queue.lock().as_mut().and_then(VecDeque::pop_front);
        pop().or_else(|| {
            self.woken.store(false, Ordering::Release);
            // One that came just before saw that a wake-up is on its way.
            pop()
        })
    }

    /// Keeps a job until it is taken by this number.
    pub(crate) fn keep(&self, job: Job) -> u64 {
        let key = self.last_job.fetch_add(1, Ordering::Relaxed);
        self.jobs.lock().insert(key, job);
        key
    }

    /// The job, once.
    pub(crate) fn take(&self, key: u64) -> Option<Job> {
        self.jobs.lock().remove(&key)
    }

    pub(crate) fn make_error(&self) -> &FunctionRef<MakeError, Unknown<'static>> {
        &self.make_error
    }

    pub(crate) fn add_cache(&self, cache: &Cache) {
        let mut caches = self.caches.lock();
        caches.retain(|c| c.upgrade().is_some());
        caches.push(cache.downgrade());
    }

    /// A promise begins to wait: the loop stays alive until it is settled.
    pub(crate) fn begin(&self, env: &Env) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        self.hold(env);
    }

    /// Keeps the loop alive until [`release_if_idle`](Shared::release_if_idle) finds nothing to do.
    pub(crate) fn hold(&self, env: &Env) {
        if !self.held.swap(true, Ordering::Relaxed) {
            self.wake.handle.with_read_aborted(|aborted| {
                if !aborted {
                    // SAFETY: the function is not aborted, and this is the thread of its env.
                    unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.wake.raw()) };
                }
            });
        }
    }

    /// As [`hold`](Shared::hold), if events wait: until they have been seen.
    pub(crate) fn hold_if_told(&self, env: &Env) {
        if self.queue.lock().as_ref().is_some_and(|queue| !queue.is_empty()) {
            self.hold(env);
        }
    }

    /// As [`hold`](Shared::hold), if a cache of this isolate has anything to do.
    pub(crate) fn hold_if_busy(&self, env: &Env) {
        if self.is_busy() {
            self.hold(env);
        }
    }

    /// Lets the loop end if no promise waits and no cache has anything to do. Whether it is still held.
    pub(crate) fn release_if_idle(&self, env: &Env) -> bool {
        if !self.held.load(Ordering::Relaxed) {
            return false;
        }
        if self.pending.load(Ordering::Relaxed) > 0 || self.is_busy() {
            return true;
        }
        self.held.store(false, Ordering::Relaxed);
        self.wake.handle.with_read_aborted(|aborted| {
            if !aborted {
                // SAFETY: the function is not aborted, and this is the thread of its env.
                unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.wake.raw()) };
            }
        });
        false
    }

    fn is_busy(&self) -> bool {
        let caches: Vec<Cache> = self.caches.lock().iter().filter_map(WeakCache::upgrade).collect();
        caches.iter().any(Cache::is_busy)
    }

    /// The isolate ends: nothing of it may leave others waiting.
    fn end(&self) {
        let caches = std::mem::take(&mut *self.caches.lock());
        // First: what another isolate waits for begins again there, once it is given up by who has closed.
        for cache in caches.iter().filter_map(WeakCache::upgrade) {
            cache.close(Duration::ZERO);
        }
        let events = self.queue.lock().take();
        let jobs = std::mem::take(&mut *self.jobs.lock());
        events.into_iter().flatten().for_each(Event::abandon);
        jobs.into_values().for_each(Job::abandon);
    }
}

/// A value kept in JavaScript under a number until this is dropped, on whatever thread.
pub(crate) struct Kept {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: i64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared.push(Event::Released(self.number));
    }
}

/// The isolate's end of the queue. One for each load of the module.
#[napi]
pub struct Isolate {
    pub(crate) shared: Arc<Shared>,
}

#[napi]
impl Isolate {
    /// `drain` is called when events wait; `make_error` makes the error objects that are thrown.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: &Env,
        drain: Function<'_, (), Unknown<'static>>,
        make_error: Function<'_, MakeError, Unknown<'static>>,
    ) -> Result<Isolate> {
        let wake = drain
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .build()?;
        let shared = Arc::new(Shared {
            thread: std::thread::current().id(),
            wake,
            make_error: make_error.create_ref()?,
            woken: AtomicBool::new(false),
            queue: Mutex::new(Some(VecDeque::new())),
            jobs: Mutex::default(),
            last_job: AtomicU64::new(0),
            caches: Mutex::default(),
            pending: AtomicUsize::new(0),
            held: AtomicBool::new(false),
        });
        env.add_env_cleanup_hook(shared.clone(), |shared| shared.end())?;
        Ok(Isolate { shared })
    }

    /// The next event. After the last one the caller is woken again; until then it comes back by itself.
    #[napi(catch_unwind)]
    pub fn next(&self, env: &Env) -> Result<Option<JsEvent>> {
        let Some(event) = self.shared.pop() else { return Ok(None) };
        match event {
            Event::Done { .. } => {
                self.shared.pending.fetch_sub(1, Ordering::Relaxed);
            }
            // It may be for another isolate, and this one may have nothing else to do.
            Event::Render { .. } | Event::Load { .. } => self.shared.hold(env),
            _ => {}
        }
        event.into_js(env, &self.shared).map(Some)
    }

    /// Lets the loop end if nothing is left to do. Whether it is still kept alive.
    #[napi(catch_unwind)]
    pub fn settle(&self, env: &Env) -> bool {
        self.shared.release_if_idle(env)
    }
}
