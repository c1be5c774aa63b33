//! What callbacks get: a job that is finished exactly once, now or later, from any thread.

use std::cell::RefCell;
use std::sync::Arc;

use crate::data::{DataAnswer, DataOptions, Loader};
use crate::engine::Engine;
use crate::error::Error;
use crate::flight::{Flight, Target};
use crate::page::{Page, PageResult};
use crate::route::{Params, Variant};
use crate::sync::thread;

/// Why a page is rendered. Codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Reason {
    /// Nothing was stored (also drafts and pages that may not be stored).
    Miss = 1,
    /// The stored page is stale, or will be soon (`early_refresh`); nobody waits.
    Stale = 2,
    /// The stored page is expired.
    Expired = 3,
    /// `regenerate` was called.
    Regenerate = 4,
    /// `prerender` was called.
    Prerender = 5,
}

impl Reason {
    /// The lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Miss => "miss",
            Reason::Stale => "stale",
            Reason::Expired => "expired",
            Reason::Regenerate => "regenerate",
            Reason::Prerender => "prerender",
        }
    }
}

/// Renders the pages of a route. Called on pool threads, concurrently, with no lock held; may call back into the cache.
///
/// The job may be finished inside the call or be handed elsewhere and finished later; until then it holds one of the
/// cache's `threads` places. A panic, or a job dropped unfinished, is a failure.
pub trait Renderer: Send + Sync {
    /// Renders one page.
    fn render(&self, job: RenderJob);
}

impl<F: Fn(RenderJob) + Send + Sync> Renderer for F {
    fn render(&self, job: RenderJob) {
        self(job);
    }
}

/// One render in progress. Finish it with [`complete`](RenderJob::complete) or [`fail`](RenderJob::fail).
pub struct RenderJob {
    engine: Arc<Engine>,
    flight: Arc<Flight>,
    target: Arc<Target>,
    finished: bool,
}

impl RenderJob {
    pub(crate) fn new(engine: Arc<Engine>, flight: Arc<Flight>, target: Arc<Target>) -> RenderJob {
        RenderJob { engine, flight, target, finished: false }
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        &self.target.path
    }

    /// The route's pattern as it was added.
    pub fn pattern(&self) -> &str {
        self.target.route.pattern.text()
    }

    /// The path's parameters, decoded.
    pub fn params(&self) -> &Params {
        &self.target.params
    }

    /// The variant asked for, listed query values included.
    pub fn variant(&self) -> &Variant {
        &self.target.variant
    }

    /// Why this page is rendered.
    pub fn reason(&self) -> Reason {
        self.flight.reason
    }

    /// The stored page that the result may replace.
    pub fn previous(&self) -> Option<&Page> {
        self.flight.previous.as_ref()
    }

    /// Whether this is a draft: rendered live for one request and not stored.
    pub fn is_draft(&self) -> bool {
        self.flight.live
    }

    /// Whether nobody waits for the result any more: it timed out, or the cache is closed.
    pub fn is_cancelled(&self) -> bool {
        self.flight.is_over()
    }

    /// Ties calls made for this render, on whatever thread, to it: pass it as [`Request::within`](crate::Request::within).
    /// On the thread that runs [`Renderer::render`] this happens by itself.
    pub fn context(&self) -> Context {
        Context(self.flight.clone())
    }

    /// Reads a data entry and blocks until it is there (semantics, section 8). The loader runs on this thread if this render
    /// is the first to ask.
    ///
    /// # Errors
    /// The load's failure; `InvalidArgument` for a wrong key or option, and for a load that would wait for itself.
    pub fn data(
        &self,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
    ) -> Result<DataAnswer, Error> {
        self.flight.check_process()?;
        self.engine.data(&self.flight.owner, Some(self.context()), key, options, loader)
    }

    /// Finishes with a page.
    ///
    /// # Errors
    /// `Finished` if the render was over (timed out, closed): the page is thrown away. `Render` if the page is invalid: the
    /// render has then failed with that error.
    pub fn complete(mut self, page: PageResult) -> Result<(), Error> {
        self.finished = true;
        self.engine.complete_page(&self.flight, page)
    }

    /// Finishes with a failure; see [`Error::render`].
    ///
    /// # Errors
    /// `Finished` if the render was over.
    pub fn fail(mut self, error: Error) -> Result<(), Error> {
        self.finished = true;
        self.engine.fail(&self.flight, error)
    }
}

impl Drop for RenderJob {
    fn drop(&mut self) {
        if self.flight.is_foreign() {
            // The parent's, whose last reference never goes here.
            std::mem::forget(self.engine.clone());
        } else if !self.finished {
            drop_unfinished(&self.engine, &self.flight, "render");
        }
    }
}

/// Fails a job that was dropped. In a panic on the thread that runs the callback, whoever catches it knows the message.
pub(crate) fn drop_unfinished(engine: &Arc<Engine>, flight: &Arc<Flight>, what: &str) {
    let caught =
        thread::panicking() && Context::current().is_some_and(|c| Arc::ptr_eq(&c.0, flight));
    if !caught {
        let how = if thread::panicking() { "panicked" } else { "ended without a result" };
        let name = flight.what.name();
        // Over already: then there is nobody to tell.
        let _ = engine
            .fail(flight, Error::render(format!("the {what} callback of {name} {how}"), None));
    }
}

/// A render or load in progress, as the place from which the cache is asked. Cheap to clone; outliving the job is harmless.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Flight>);

crate::sync::thread_local! {
    static CURRENT: RefCell<Vec<Context>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    /// The context of the callback that runs on this thread, until its job has ended.
    pub fn current() -> Option<Context> {
        let innermost = CURRENT.try_with(|c| c.borrow().last().cloned()).ok().flatten();
        innermost.filter(|c| !c.0.is_over())
    }

    /// The context from which the cache is asked: the one given, unless it is of the process that was forked, or the current.
    pub(crate) fn asking(given: Option<Context>) -> Option<Context> {
        given.filter(|c| !c.0.is_foreign()).or_else(Context::current)
    }

    /// Makes this the current context of the thread until the guard is dropped: for hosts that run callbacks on threads
    /// of their own.
    pub fn enter(&self) -> Entered {
        let _ = CURRENT.try_with(|c| c.borrow_mut().push(self.clone()));
        Entered { _not_send: std::marker::PhantomData }
    }

    /// Whether nobody waits for the result any more.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_over()
    }

    /// Whether it is of this process.
    ///
    /// # Errors
    /// `Finished` where it began before the process was forked: then it is none from which the cache is asked.
    pub fn check_process(&self) -> Result<(), Error> {
        self.0.check_process()
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", String::from_utf8_lossy(self.0.key()))
    }
}

/// Restores the thread's former context when dropped.
pub struct Entered {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|c| c.borrow_mut().pop());
    }
}
