//! The cache: what every binding calls.

use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Answer, Peek};
use crate::data::{DataAnswer, DataDone, DataOptions, Loader};
use crate::error::Error;
use crate::lifetime::Lifetime;
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
/// It closes when the last clone is dropped. A render callback that keeps a clone of its own cache keeps it open: call
/// [`close`](Cache::close), or keep a [`WeakCache`].
#[derive(Clone)]
pub struct Cache {
    _private: (),
}

/// A cache that does not stay open for this handle.
#[derive(Clone)]
pub struct WeakCache {
    _private: (),
}

impl WeakCache {
    /// The cache, if a handle is left.
    pub fn upgrade(&self) -> Option<Cache> {
        todo!()
    }
}

impl Cache {
    /// Opens a cache. Threads start with the first render.
    ///
    /// # Errors
    /// `InvalidArgument` for an option out of its range.
    pub fn open(options: Options) -> Result<Cache, Error> {
        let _ = options;
        todo!()
    }

    /// A handle that does not keep the cache open.
    pub fn downgrade(&self) -> WeakCache {
        todo!()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed pattern or option, `InvalidTag`, `InvalidPath` for a static path that cannot be,
    /// `Conflict` where a route matches the same paths, `Closed`.
    pub fn add_route(&self, pattern: &str, options: RouteOptions, renderer: Arc<dyn Renderer>) -> Result<(), Error> {
        let _ = (pattern, options, renderer);
        todo!()
    }

    /// Answers a request; blocks where it must wait for a render (semantics, section 3).
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Render`, `Timeout`, `Busy`, `Closed`; `InvalidArgument` inside a render that would wait
    /// for itself.
    pub fn get(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let _ = request;
        todo!()
    }

    /// Answers as [`get`](Cache::get) would if that needs no waiting; else `None`, and nothing is started. Never blocks.
    ///
    /// # Errors
    /// As `get`.
    pub fn try_get(&self, request: &Request<'_>) -> Result<Option<Answer>, Error> {
        let _ = request;
        todo!()
    }

    /// Answers as [`get`](Cache::get), by a callback: at once on this thread where no waiting is needed, else later on a
    /// thread of the cache. Never blocks.
    pub fn get_then(&self, request: &Request<'_>, done: AnswerDone) {
        let _ = (request, done);
        todo!()
    }

    /// What is stored, with its state. Starts and touches nothing, never blocks.
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Closed`.
    pub fn peek(&self, path: &str, variant: Option<&Variant>) -> Result<Peek, Error> {
        let _ = (path, variant);
        todo!()
    }

    /// The present epoch, to be taken before a page is rendered outside of the cache.
    pub fn started(&self) -> Started {
        todo!()
    }

    /// Stores a page that was rendered outside of the cache; the rules of invalidation hold for it (sections 3 to 7).
    ///
    /// # Errors
    /// `InvalidPath`, `NoRoute`, `Render` for an invalid page, `Closed`.
    pub fn put(&self, path: &str, variant: Option<&Variant>, page: PageResult, started: Started) -> Result<Put, Error> {
        let _ = (path, variant, page, started);
        todo!()
    }

    /// Renders now, even if the page is fresh, and waits. With `only_generated` nothing happens where nothing is stored:
    /// `None`.
    ///
    /// # Errors
    /// As [`get`](Cache::get); a failed render is an error although the stored page stays.
    pub fn regenerate(&self, request: &Request<'_>, only_generated: bool) -> Result<Option<Answer>, Error> {
        let _ = (request, only_generated);
        todo!()
    }

    /// [`regenerate`](Cache::regenerate) by a callback. Never blocks.
    pub fn regenerate_then(&self, request: &Request<'_>, only_generated: bool, done: RegenerateDone) {
        let _ = (request, only_generated, done);
        todo!()
    }

    /// Invalidates pages by paths or patterns, hard (section 6). Whether any route could match.
    ///
    /// # Errors
    /// `InvalidPath`; `InvalidArgument` for a malformed pattern, or one without a type. Then nothing has happened.
    pub fn revalidate_path(&self, paths: &[&str], kind: Option<PathType>) -> Result<bool, Error> {
        let _ = (paths, kind);
        todo!()
    }

    /// Invalidates pages and data entries by tags (section 6).
    ///
    /// # Errors
    /// `InvalidTag`; `InvalidArgument` for `expire` without `soft`. Then nothing has happened.
    pub fn revalidate_tag(&self, tags: &[&str], options: TagOptions) -> Result<(), Error> {
        let _ = (tags, options);
        todo!()
    }

    /// Removes the stored pages of these paths, all variants.
    ///
    /// # Errors
    /// `InvalidPath`. Then nothing has happened.
    pub fn remove(&self, paths: &[&str]) -> Result<(), Error> {
        let _ = paths;
        todo!()
    }

    /// Renders every path that the routes' static params list (section 9), and waits.
    ///
    /// # Errors
    /// `Closed`. Failed paths are in the report.
    pub fn prerender(&self, on_progress: Option<OnProgress>) -> Result<PrerenderReport, Error> {
        let _ = on_progress;
        todo!()
    }

    /// [`prerender`](Cache::prerender) by a callback. Never blocks.
    pub fn prerender_then(&self, on_progress: Option<OnProgress>, done: PrerenderDone) {
        let _ = (on_progress, done);
        todo!()
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
        let _ = (within, key, options, loader);
        todo!()
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
        let _ = (within, key, options, loader, done);
        todo!()
    }

    /// A signed token that lets its bearer see drafts for this long.
    ///
    /// # Errors
    /// `InvalidArgument` for never.
    pub fn draft_token(&self, valid_for: Lifetime) -> Result<String, Error> {
        let _ = valid_for;
        todo!()
    }

    /// Whether a draft token is genuine and has not expired.
    pub fn verify_draft(&self, token: &str) -> bool {
        let _ = token;
        todo!()
    }

    /// What runs and waits at this moment.
    pub fn activity(&self) -> Activity {
        todo!()
    }

    /// Counters since the cache was opened.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Closes: new calls get `Closed`, queued renders fail with it, running ones may finish within `timeout`; what still runs
    /// then is given up. Whether all ended in time. Calling it again is harmless. Not from within a callback.
    pub fn close(&self, timeout: Duration) -> bool {
        let _ = timeout;
        todo!()
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
}
