//! What callbacks get: a job that is finished exactly once, now or later, from any thread.

use std::sync::Arc;

use crate::data::{DataAnswer, DataOptions, Loader};
use crate::error::Error;
use crate::page::{Page, PageResult};
use crate::route::{Params, Variant};

/// Why a page is rendered. Codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Reason {
    /// Nothing was stored (also drafts and pages that may not be stored).
    Miss = 1,
    /// The stored page is stale; nobody waits.
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
    _private: (),
}

impl RenderJob {
    /// The canonical path.
    pub fn path(&self) -> &str {
        todo!()
    }
    /// The route's pattern as it was added.
    pub fn pattern(&self) -> &str {
        todo!()
    }
    /// The path's parameters, decoded.
    pub fn params(&self) -> &Params {
        todo!()
    }
    /// The variant asked for, listed query values included.
    pub fn variant(&self) -> &Variant {
        todo!()
    }
    /// Why this page is rendered.
    pub fn reason(&self) -> Reason {
        todo!()
    }
    /// The stored page that the result may replace.
    pub fn previous(&self) -> Option<&Arc<Page>> {
        todo!()
    }
    /// Whether this is a draft: rendered live for one request and not stored.
    pub fn is_draft(&self) -> bool {
        todo!()
    }
    /// Whether nobody waits for the result any more: it timed out, or the cache is closed.
    pub fn is_cancelled(&self) -> bool {
        todo!()
    }
    /// Ties calls made for this render, on whatever thread, to it: pass it as [`Request::within`](crate::Request::within).
    /// On the thread that runs [`Renderer::render`] this happens by itself.
    pub fn context(&self) -> Context {
        todo!()
    }

    /// Reads a data entry and blocks until it is there (semantics, section 8). The loader runs on this thread if this render
    /// is the first to ask.
    ///
    /// # Errors
    /// The load's failure; `InvalidArgument` for a wrong key or option, and for a load that would wait for itself.
    pub fn data(&self, key: &[&str], options: &DataOptions, loader: Arc<dyn Loader>) -> Result<DataAnswer, Error> {
        let _ = (key, options, loader);
        todo!()
    }

    /// Finishes with a page.
    ///
    /// # Errors
    /// `Finished` if the render was over (timed out, closed): the page is thrown away. `Render` if the page is invalid: the
    /// render has then failed with that error.
    pub fn complete(self, page: PageResult) -> Result<(), Error> {
        let _ = page;
        todo!()
    }

    /// Finishes with a failure; see [`Error::render`].
    ///
    /// # Errors
    /// `Finished` if the render was over.
    pub fn fail(self, error: Error) -> Result<(), Error> {
        let _ = error;
        todo!()
    }
}

/// A render or load in progress, as the place from which the cache is asked. Cheap to clone; outliving the job is harmless.
#[derive(Clone)]
pub struct Context {
    _private: (),
}

impl Context {
    /// The context of the callback that runs on this thread.
    pub fn current() -> Option<Context> {
        todo!()
    }

    /// Makes this the current context of the thread until the guard is dropped: for hosts that run callbacks on threads
    /// of their own.
    pub fn enter(&self) -> Entered {
        todo!()
    }

    /// Whether nobody waits for the result any more.
    pub fn is_cancelled(&self) -> bool {
        todo!()
    }
}

/// Restores the thread's former context when dropped.
pub struct Entered {
    _not_send: std::marker::PhantomData<*const ()>,
}
