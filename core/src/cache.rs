//! The cache: what every binding calls.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::answer::{Answer, Peek};
use crate::data::{DataAnswer, DataDone, DataOptions, Loader};
use crate::draft;
use crate::engine::{self, Engine, Step};
use crate::error::Error;
use crate::flight::Purpose;
use crate::fork::{self, PerProcess};
use crate::lifetime::Lifetime;
use crate::oneshot::oneshot;
use crate::opening::Opening;
use crate::options::{Options, RouteOptions};
use crate::page::PageResult;
use crate::render::{Context, Renderer};
use crate::route::Variant;
use crate::stats::{Activity, Stats};

/// A request for a page.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// The request target: path, with query and fragment as they came.
    pub path: &'a str,
    /// An explicit variant.
    pub variant: Option<&'a Variant>,
    /// Rendered live for this request alone (section 12).
    pub draft: bool,
    /// Never regenerates a stored page (section 3).
    pub prefetch: bool,
    /// The render or load from which the request comes. `None`: that of the calling thread, if it is in one.
    pub within: Option<&'a Context>,
}

impl<'a> Request<'a> {
    /// A plain request.
    pub fn new(path: &'a str) -> Request<'a> {
        Request { path, ..Request::default() }
    }
}

/// Which pages `revalidate_path` covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PathType {
    /// The page of a path, or every page of a route's pattern.
    Page = 1,
    /// Every page whose path or route is at or below.
    Layout = 2,
}

/// How `revalidate_tag` invalidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagOptions {
    /// Served stale once more while it regenerates. Default: hard.
    pub soft: bool,
    /// With `soft`: hard after this time, for entries older than the call.
    pub expire: Option<Lifetime>,
}

/// When an embedder began to render: taken before, given to [`Cache::put`] after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Started(pub(crate) u64);

impl Started {
    /// As a number, for languages that keep it as one.
    pub fn as_u64(self) -> u64 {
        self.0
    }
    /// From [`as_u64`](Started::as_u64). A number from the future counts as now.
    pub fn from_u64(n: u64) -> Started {
        Started(n)
    }
}

/// What became of a page given to [`Cache::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Put {
    /// It is stored. It may already count as stale or expired if it was invalidated since `started`.
    Stored = 1,
    /// A newer page is stored, its path was removed since `started`, or it may not be stored (section 7).
    NotStored = 2,
}

/// How far a prerender has come.
#[derive(Clone, Debug)]
pub struct PrerenderProgress {
    /// Paths rendered.
    pub done: usize,
    /// Paths that failed for good.
    pub failed: usize,
    /// Paths that were stored and fresh.
    pub skipped: usize,
    /// All paths.
    pub total: usize,
    /// The path that has just ended.
    pub path: String,
}

/// What a prerender did.
#[derive(Clone, Debug, Default)]
pub struct PrerenderReport {
    /// Paths rendered.
    pub rendered: usize,
    /// Paths that were stored and fresh.
    pub skipped: usize,
    /// Paths that failed after all attempts, with their last error.
    pub failed: Vec<(String, Error)>,
}

/// Called with progress of a prerender, from any thread, one call at a time.
pub type OnProgress = Arc<dyn Fn(&PrerenderProgress) + Send + Sync>;
/// Called once with an answer.
pub type AnswerDone = Box<dyn FnOnce(Result<Answer, Error>) + Send>;
/// Called once with the outcome of `regenerate`: `None` where nothing was stored and `only_generated` was given.
pub type RegenerateDone = Box<dyn FnOnce(Result<Option<Answer>, Error>) + Send>;
/// Called once with the outcome of `prerender`.
pub type PrerenderDone = Box<dyn FnOnce(Result<PrerenderReport, Error>) + Send>;

/// A cache of rendered pages. Cheap to clone; all clones are one cache, usable from any thread.
///
/// It may be forked, also while it is used: parent and child go on with it. The child has the options, the routes and the draft
/// secret; its memory, counters and threads are its own, and empty at first. Jobs of the parent are `Finished` there, answers
/// and pages stay readable. A child that was forked inside a callback may use the cache, but must not return from the callback.
///
/// It closes when the last clone is dropped. A render callback that keeps a clone of its own cache keeps it open: call
/// [`close`](Cache::close), or keep a [`WeakCache`].
#[derive(Clone)]
pub struct Cache(Arc<Handle>);

/// One for each process that uses the cache. That of this process goes with the last handle; the parent's goes on in the parent.
struct Handle(PerProcess<Opening>);

/// A cache that does not stay open for this handle.
#[derive(Clone)]
pub struct WeakCache(Weak<Handle>);

impl WeakCache {
    /// The cache, if a handle is left.
    pub fn upgrade(&self) -> Option<Cache> {
        self.0.upgrade().map(Cache)
    }
}

impl Cache {
    /// Opens a cache. Threads start with the first render.
    ///
    /// With a [`name`](Options::name) that is open in this process it becomes one of the *owners* of that cache: they share
    /// memory, renders, invalidations and counters. Each adds its own routes, those of the others with the same options. A
    /// callback runs for the owner that asks where it has one, else for another. When an owner closes, its callbacks and
    /// requests end with it; others who wait for one of these have another owner's begin. The cache closes with the last
    /// owner.
    ///
    /// # Errors
    /// `InvalidArgument` for an option out of its range; `Conflict` for one that is not as another owner gave it.
    pub fn open(options: Options) -> Result<Cache, Error> {
        Cache::opened_by(Opening::open(options, false)?)
    }

    /// As [`open`](Cache::open), and without a name the directory (and deployment) is the name: whoever opens it so in this
    /// process shares one cache. Those that [`open`](Cache::open) it are caches of their own, as those of other processes.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_shared(options: Options) -> Result<Cache, Error> {
        Cache::opened_by(Opening::open(options, true)?)
    }

    fn opened_by(opening: Opening) -> Result<Cache, Error> {
        Ok(Cache(Arc::new(Handle(PerProcess::new(fork::generation(), opening)))))
    }

    /// A handle that does not keep the cache open.
    pub fn downgrade(&self) -> WeakCache {
        WeakCache(Arc::downgrade(&self.0))
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed pattern or option, `InvalidTag`, `InvalidPath` for a static path that cannot be,
    /// `Conflict` where a route matches the same paths or another owner gave it other options, `Closed`.
    pub fn add_route(
        &self,
        pattern: &str,
        options: RouteOptions,
        renderer: Arc<dyn Renderer>,
    ) -> Result<(), Error> {
        let Opening { engine, owner, .. } = self.opened()?;
        engine.add_route(owner, pattern, options, renderer)
    }

    /// Answers a request; blocks where it must wait for a render (semantics, section 3).
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Render`, `Timeout`, `Busy`, `Closed`; `InvalidArgument` inside a render that would wait
    /// for itself.
    #[inline]
    pub fn get(&self, request: &Request<'_>) -> Result<Answer, Error> {
        match self.hit(request) {
            Some(hit) => Ok(hit),
            None => self.get_or_wait(request),
        }
    }

    #[cold]
    fn get_or_wait(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let (done, answer) = oneshot();
        self.ask(request, done);
        answer.wait()
    }

    /// The answer to a plain request from memory alone, where the page is fresh; else `None`, which says nothing of what is
    /// stored. Reads no file and takes no lock: for hosts that ask with a lock of their own held.
    #[inline]
    pub fn hit(&self, request: &Request<'_>) -> Option<Answer> {
        if request.draft || request.variant.is_some_and(|v| !v.is_empty()) {
            return None;
        }
        self.hit_bytes(request.path.as_bytes())
    }

    /// As [`hit`](Cache::hit), for a path that is not known to be text: what is none is not found.
    #[inline]
    pub fn hit_bytes(&self, path: &[u8]) -> Option<Answer> {
        self.present()?.hit(path)
    }

    /// The engine of this process, if it has been used here and this owner has not closed.
    #[inline]
    pub(crate) fn present(&self) -> Option<&Arc<Engine>> {
        self.0.0.present().filter(|opening| !opening.is_closed()).map(|opening| &opening.engine)
    }

    /// Answers as [`get`](Cache::get) would if that needs no waiting; else `None`, and nothing is started. Never waits for a
    /// render; with a directory it may read a file.
    ///
    /// # Errors
    /// As `get`.
    pub fn try_get(&self, request: &Request<'_>) -> Result<Option<Answer>, Error> {
        match self.hit(request) {
            Some(hit) => Ok(Some(hit)),
            None => self.try_get_stored(request),
        }
    }

    #[cold]
    fn try_get_stored(&self, request: &Request<'_>) -> Result<Option<Answer>, Error> {
        let Opening { engine, owner, .. } = self.opening();
        let target = self
            .opening()
            .target(request.path, request.variant)
            .inspect_err(|_| engine.counters.errors.add())?;
        let ask = engine.page_ask(owner, target, request.purpose(), request.within);
        match engine.step(ask, None) {
            Step::Ready(result, _) => {
                engine.count(request.purpose(), &result);
                result.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Answers as [`get`](Cache::get), by a callback: at once on this thread where no waiting is needed, else later on the
    /// thread that ends the render (one of the cache, or one that calls `complete`, `close` or moves a manual clock). Never
    /// blocks. While `done` blocks, others who wait for the same render wait, too.
    pub fn get_then(&self, request: &Request<'_>, done: AnswerDone) {
        match self.hit(request) {
            Some(hit) => done(Ok(hit)),
            None => self.ask(request, done),
        }
    }

    /// What is stored, with its state. Starts and touches nothing, never blocks.
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Closed`.
    pub fn peek(&self, path: &str, variant: Option<&Variant>) -> Result<Peek, Error> {
        self.opened()?.engine.peek(path, variant)
    }

    /// The present epoch, to be taken before a page is rendered outside of the cache.
    pub fn started(&self) -> Started {
        Started(self.engine().inv.next_epoch())
    }

    /// Stores a page that was rendered outside of the cache; the rules of invalidation hold for it (sections 3 to 7).
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Render` for an invalid page, `Closed`.
    pub fn put(
        &self,
        path: &str,
        variant: Option<&Variant>,
        page: PageResult,
        started: Started,
    ) -> Result<Put, Error> {
        self.opened()?.engine.put(path, variant, page, started.0)
    }

    /// Renders now, even if the page is fresh, and waits. With `only_generated` nothing happens where nothing is stored:
    /// `None`.
    ///
    /// # Errors
    /// As [`get`](Cache::get); a failed render is an error although the stored page stays.
    pub fn regenerate(
        &self,
        request: &Request<'_>,
        only_generated: bool,
    ) -> Result<Option<Answer>, Error> {
        let (done, answer) = oneshot();
        self.regenerate_then(request, only_generated, done);
        answer.wait()
    }

    /// [`regenerate`](Cache::regenerate) by a callback. Never blocks.
    pub fn regenerate_then(
        &self,
        request: &Request<'_>,
        only_generated: bool,
        done: RegenerateDone,
    ) {
        let Opening { engine, owner, .. } = self.opening();
        let target = match self.opening().target(request.path, request.variant) {
            Ok(target) => target,
            Err(error) => return done(Err(error)),
        };
        if only_generated && !engine.is_stored(&target) {
            return done(Ok(None));
        }
        let ask = engine.page_ask(owner, target, Purpose::Regenerate, request.within);
        let done: AnswerDone =
            Box::new(move |result: Result<Answer, Error>| done(result.map(Some)));
        if let Step::Ready(result, Some(done)) = engine.step(ask, Some(done)) {
            done(result);
        }
    }

    /// Invalidates pages by paths or patterns, hard (section 6). Whether any route could match.
    ///
    /// # Errors
    /// `InvalidPath`; `InvalidArgument` for a malformed pattern, or one without a type. Then nothing has happened.
    pub fn revalidate_path(&self, paths: &[&str], kind: Option<PathType>) -> Result<bool, Error> {
        self.opened()?.engine.revalidate_path(paths, kind)
    }

    /// Invalidates pages and data entries by tags (section 6).
    ///
    /// # Errors
    /// `InvalidTag`; `InvalidArgument` for `expire` without `soft`. Then nothing has happened.
    pub fn revalidate_tag(&self, tags: &[&str], options: TagOptions) -> Result<(), Error> {
        self.opened()?.engine.revalidate_tag(tags, options)
    }

    /// Removes the stored pages of these paths, all variants.
    ///
    /// # Errors
    /// `InvalidPath`; `InvalidArgument` for a pattern. Then nothing has happened.
    pub fn remove(&self, paths: &[&str]) -> Result<(), Error> {
        self.opened()?.engine.remove(paths)
    }

    /// Renders every path that the routes' static params list (section 9), and waits. Results that may not be stored count as
    /// rendered, too.
    ///
    /// # Errors
    /// `Closed`. Failed paths are in the report.
    pub fn prerender(&self, on_progress: Option<OnProgress>) -> Result<PrerenderReport, Error> {
        let (done, report) = oneshot();
        self.prerender_then(on_progress, done);
        report.wait()
    }

    /// [`prerender`](Cache::prerender) by a callback. Never blocks.
    pub fn prerender_then(&self, on_progress: Option<OnProgress>, done: PrerenderDone) {
        match self.opened() {
            Ok(Opening { engine, owner, .. }) => {
                engine::prerender(engine, owner, on_progress, done)
            }
            Err(error) => done(Err(error)),
        }
    }

    /// Reads a data entry, inside or outside of a render, and blocks where it must wait (section 8). The loader runs on
    /// this thread if this call is the first to ask, on a pool thread in the background.
    ///
    /// # Errors
    /// The load's failure; `InvalidArgument`, `InvalidTag`, `Busy`, `Closed`.
    pub fn data(
        &self,
        within: Option<&Context>,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
    ) -> Result<DataAnswer, Error> {
        let Opening { engine, owner, .. } = self.opening();
        engine.data(owner, within.cloned(), key, options, loader)
    }

    /// [`data`](Cache::data) by a callback. Never blocks, unless the loader does.
    pub fn data_then(
        &self,
        within: Option<&Context>,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
        done: DataDone,
    ) {
        let Opening { engine, owner, .. } = self.opening();
        engine.data_then(owner, within.cloned(), key, options, loader, done);
    }

    /// A signed token that lets its bearer see drafts for this long.
    ///
    /// # Errors
    /// `InvalidArgument` for never.
    pub fn draft_token(&self, valid_for: Lifetime) -> Result<String, Error> {
        if valid_for.is_never() {
            return Err(Error::invalid("a draft token must expire; got never"));
        }
        let engine = self.engine();
        Ok(draft::sign(&engine.draft_secret, engine.clock.now().plus(valid_for)))
    }

    /// Whether a draft token is genuine and has not expired.
    pub fn verify_draft(&self, token: &str) -> bool {
        let engine = self.engine();
        draft::verify(&engine.draft_secret, token, engine.clock.now())
    }

    /// What runs and waits at this moment.
    pub fn activity(&self) -> Activity {
        self.engine().activity()
    }

    /// Whether callbacks of this owner run or wait for a thread, or its requests wait; of those who share a cache, another may
    /// be busy, or all idle. See [`open`](Cache::open).
    pub fn is_busy(&self) -> bool {
        self.opening().owner.busy() > 0
    }

    /// Counters since the cache was opened.
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// Closes: new calls get `Closed`, queued renders fail with it, running ones may finish within `timeout`; what still runs
    /// then is given up. Whether all ended in time: then no callback runs any more, and no thread of the cache. Calling it
    /// again is harmless. Inside a callback of this cache it waits for nothing. What is stored is dropped; pages that somebody
    /// holds stay readable.
    ///
    /// Where others share the cache this holds for this owner alone, and what is stored stays: see [`open`](Cache::open).
    pub fn close(&self, timeout: Duration) -> bool {
        // In a child nothing is opened only to be closed.
        self.0.0.get(|parent| Opening::after_fork(parent, true), |_| ()).close(timeout)
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.0.0.nearest().owner.is_closed()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.opening().engine
    }

    fn opening(&self) -> &Opening {
        self.0.0.get(|parent| Opening::after_fork(parent, false), Opening::tell_open_trouble)
    }

    fn opened(&self) -> Result<&Opening, Error> {
        let opening = self.opening();
        opening.owner.check_open().map(|()| opening)
    }

    fn ask(&self, request: &Request<'_>, done: AnswerDone) {
        let Opening { engine, owner, .. } = self.opening();
        let purpose = request.purpose();
        match self.opening().target(request.path, request.variant) {
            Err(error) => engine.deliver(purpose, Err(error), done),
            Ok(target) => {
                let ask = engine.page_ask(owner, target, purpose, request.within);
                if let Step::Ready(result, Some(done)) = engine.step(ask, Some(done)) {
                    engine.deliver(purpose, result, done);
                }
            }
        }
    }
}

impl Request<'_> {
    fn purpose(&self) -> Purpose {
        match (self.draft, self.prefetch) {
            (true, _) => Purpose::Draft,
            (false, true) => Purpose::Prefetch,
            (false, false) => Purpose::Get,
        }
    }
}
