//! Renders every listed path, a few at a time (semantics, section 9).

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::answer::{Answer, CacheWord};
use crate::cache::{OnProgress, PrerenderDone, PrerenderProgress, PrerenderReport};
use crate::engine::{Engine, Step};
use crate::error::{Error, ErrorKind};
use crate::flight::{Done, Purpose};
use crate::lifetime::Lifetime;
use crate::owner::Owner;
use crate::render::Context;
use crate::sync::Mutex;

/// Waits before the second, third and fourth attempt, in milliseconds; up to 30 % is added at random.
const RETRY_AFTER: [u64; 3] = [500, 1000, 2000];
const RETRY_JITTER: f64 = 0.3;

struct Prerender {
    engine: Arc<Engine>,
    owner: Arc<Owner>,
    /// The render from which it was called: its seat is free for others meanwhile.
    within: Option<Context>,
    paths: Vec<String>,
    state: Mutex<State>,
    /// Held while progress is told, so that one call comes at a time.
    progress: Mutex<()>,
    on_progress: Option<OnProgress>,
}

/// A path that waits for its next attempt; others run meanwhile. If that cannot come, for the cache is closed, the path has
/// failed.
struct Pause {
    run: Arc<Prerender>,
    next: Attempt,
    /// Its last outcome; taken when its time has come.
    result: Option<Result<Answer, Error>>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        {
            let mut s = self.run.state.lock();
            s.paused -= 1;
            match &self.result {
                Some(_) => s.running += 1,
                None => s.due.push_back(self.next),
            }
        }
        if let Some(result) = self.result.take() {
            self.run.ended(self.next.index, result);
        }
        self.run.go_on();
    }
}

/// A path, and how often it has failed before.
#[derive(Clone, Copy)]
struct Attempt {
    index: usize,
    failures: usize,
}

struct State {
    /// The first path that was not begun.
    next: usize,
    running: usize,
    /// Paths that wait for the time of their next attempt.
    paused: usize,
    /// Paths whose time has come.
    due: VecDeque<Attempt>,
    report: PrerenderReport,
    done: Option<PrerenderDone>,
}

/// Renders all listed paths that are not stored and fresh; `done` gets the report.
pub(crate) fn prerender(
    engine: &Arc<Engine>,
    owner: &Arc<Owner>,
    on_progress: Option<OnProgress>,
    done: PrerenderDone,
) {
    let mut seen = HashSet::new();
    let routes = engine.routes.read();
    // A more specific route may be closed to a path that another one lists.
    let is_served = |path: &str| routes.find(path).is_some_and(|found| found.value.serves(path));
    let paths = routes
        .iter()
        .flat_map(|(_, route)| route.listed.clone())
        .filter(|path| is_served(path) && seen.insert(path.clone()))
        .collect();
    drop(routes);
    let run = Arc::new(Prerender {
        engine: engine.clone(),
        owner: owner.clone(),
        within: Context::current(),
        paths,
        state: Mutex::new(State {
            next: 0,
            running: 0,
            paused: 0,
            due: VecDeque::new(),
            report: PrerenderReport::default(),
            done: Some(done),
        }),
        progress: Mutex::new(()),
        on_progress,
    });
    run.go_on();
}

impl State {
    /// What to begin next, counted as running.
    fn next_attempt(&mut self, paths: usize) -> Option<Attempt> {
        let attempt = self.due.pop_front().or_else(|| {
            (self.next < paths).then(|| {
                self.next += 1;
                Attempt { index: self.next - 1, failures: 0 }
            })
        })?;
        self.running += 1;
        Some(attempt)
    }
}

impl Prerender {
    /// Begins as many paths as may run at once, or ends when all have ended.
    fn go_on(self: &Arc<Self>) {
        loop {
            let attempt = {
                let mut s = self.state.lock();
                if s.running >= self.engine.options.threads {
                    return;
                }
                match s.next_attempt(self.paths.len()) {
                    Some(attempt) => attempt,
                    None if s.running + s.paused > 0 => return,
                    None => {
                        let report = std::mem::take(&mut s.report);
                        let Some(done) = s.done.take() else { return };
                        drop(s);
                        return done(Ok(report));
                    }
                }
            };
            self.attempt(attempt);
        }
    }

    fn attempt(self: &Arc<Self>, Attempt { index, failures }: Attempt) {
        let run = self.clone();
        let done: Done = Box::new(move |result| run.attempted(index, failures, result));
        let target = self.engine.target(&self.paths[index], None);
        let target = match self.owner.check_open().and(target) {
            Ok(target) => target,
            Err(error) => return self.ended(index, Err(error)),
        };
        let ask =
            self.engine.page_ask(&self.owner, target, Purpose::Prerender, self.within.as_ref());
        if let Step::Ready(result, _) = self.engine.step(ask, Some(done)) {
            self.ended(index, result);
        }
    }

    fn attempted(self: &Arc<Self>, index: usize, failures: usize, result: Result<Answer, Error>) {
        let again = matches!(&result, Err(e) if e.kind() != ErrorKind::Closed)
            && failures < RETRY_AFTER.len();
        if !again {
            self.ended(index, result);
            return self.go_on();
        }
        let engine = &self.engine;
        let next = Attempt { index, failures: failures + 1 };
        if engine.clock.manual().is_some() {
            // A manual clock moves only when it is told to: these waits take no time on it.
            self.attempt(next);
            return self.go_on();
        }
        let millis = RETRY_AFTER[failures] as f64 * (1.0 + RETRY_JITTER * fastrand::f64());
        {
            let mut s = self.state.lock();
            s.running -= 1;
            s.paused += 1;
        }
        let mut pause = Pause { run: self.clone(), next, result: Some(result) };
        let action = Box::new(move || {
            pause.result = None;
            drop(pause);
        });
        engine.timers.after(Lifetime::from_nanos((millis * 1e6) as u64), action);
        self.go_on();
    }

    /// Notes the end of a path and tells of it.
    fn ended(&self, index: usize, result: Result<Answer, Error>) {
        let path = &self.paths[index];
        let _one_at_a_time = self.progress.lock();
        let progress = {
            let mut s = self.state.lock();
            match result {
                Ok(answer) if answer.word == CacheWord::Hit => s.report.skipped += 1,
                Ok(_) => s.report.rendered += 1,
                Err(error) => s.report.failed.push((path.clone(), error)),
            }
            PrerenderProgress {
                done: s.report.rendered,
                failed: s.report.failed.len(),
                skipped: s.report.skipped,
                total: self.paths.len(),
                path: path.clone(),
            }
        };
        if let Some(tell) = &self.on_progress {
            // A listener that panics does not stop the others' pages.
            let _ = catch_unwind(AssertUnwindSafe(|| tell(&progress)));
        }
        // Only now: when none runs any more the report goes out, and nobody may be told of progress after it.
        self.state.lock().running -= 1;
    }
}
