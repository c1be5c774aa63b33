//! Renders and loads that run in JavaScript.

use std::sync::Arc;

use isr_core::{
    Context, Error, ErrorKind, LoadJob, Loader, PageResult, ParamValue, RenderJob, Renderer,
};
use napi::bindgen_prelude::{Either, Uint8Array, Unknown};
use napi::{Env, Result};
use napi_derive::napi;

use crate::convert::{JsNamed, JsResult, bytes, page_result, variant_to_js};
use crate::error;
use crate::event::Event;
use crate::isolate::{Kept, Shared};
use crate::page::NativePage;

/// A job that JavaScript has to finish.
pub(crate) enum Job {
    Render(RenderJob),
    Load(LoadJob),
}

impl Job {
    /// The isolate that runs it is gone.
    pub(crate) fn abandon(self) {
        self.fail(Error::new(ErrorKind::Closed, "the isolate that runs this callback has ended"));
    }

    /// A job that was over already is no error: nobody waits for it.
    fn fail(self, error: Error) {
        let _ = match self {
            Job::Render(job) => job.fail(error),
            Job::Load(job) => job.fail(error),
        };
    }
}

/// Hands the renders of one route to its isolate.
pub(crate) struct RouteRenderer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cache: u32,
    pub(crate) route: u32,
}

impl Renderer for RouteRenderer {
    fn render(&self, job: RenderJob) {
        self.shared.push(Event::Render { cache: self.cache, route: self.route, job });
    }
}

/// Hands the loads of one read to its isolate.
pub(crate) struct JsLoader(pub(crate) Kept);

impl Loader for JsLoader {
    fn load(&self, job: LoadJob) {
        self.0.shared.push(Event::Load { loader: self.0.number, job });
    }
}

/// A render or load as the place from which the cache is asked.
#[napi]
pub struct NativeContext {
    pub(crate) context: Context,
}

#[napi]
impl NativeContext {
    /// Whether nobody waits for the result any more.
    #[napi(catch_unwind)]
    pub fn cancelled(&self) -> bool {
        self.context.is_cancelled()
    }
}

/// The right to finish a job. Collected unfinished, the job fails.
#[napi]
pub struct NativeJob {
    shared: Arc<Shared>,
    key: u64,
}

impl NativeJob {
    fn new(shared: &Arc<Shared>, job: Job) -> NativeJob {
        NativeJob { shared: shared.clone(), key: shared.keep(job) }
    }

    fn finish(&self, env: &Env, f: impl FnOnce(Job)) {
        if let Some(job) = self.shared.take(self.key) {
            f(job);
        }
        self.shared.release_if_idle(env);
    }
}

#[napi]
impl NativeJob {
    /// Finishes a render with a page. Gives the error that the render has failed with where the core refuses the page: the
    /// core tells those who wait. A render that was over already is no error.
    #[napi(catch_unwind)]
    pub fn complete_render(&self, env: &Env, result: JsResult) -> Result<Option<Unknown<'static>>> {
        let page: PageResult =
            page_result(result).map_err(|e| error::throw(env, &self.shared, &e))?;
        let mut refused = None;
        self.finish(env, |job| {
            if let Job::Render(job) = job {
                refused = job.complete(page).err();
            }
        });
        refused
            .filter(|error| error.kind() != ErrorKind::Finished)
            .map(|error| error::object(env, &self.shared, &error))
            .transpose()
    }

    /// Finishes a load with a value.
    #[napi(catch_unwind)]
    pub fn complete_load(&self, env: &Env, value: Either<String, Uint8Array>) {
        self.finish(env, |job| {
            if let Job::Load(job) = job {
                let _ = job.complete(bytes(value));
            }
        });
    }

    /// Finishes with a failure; `cause` is the number of what was thrown.
    #[napi(catch_unwind)]
    pub fn fail(&self, env: &Env, message: String, cause: i64) {
        let failure = error::failure(&self.shared, message, Some(cause));
        self.finish(env, |job| job.fail(failure));
    }
}

impl Drop for NativeJob {
    fn drop(&mut self) {
        drop(self.shared.take(self.key));
    }
}

/// A render to begin.
#[napi(object, object_from_js = false)]
pub struct JsRender {
    pub cache: u32,
    pub route: u32,
    pub job: NativeJob,
    pub context: NativeContext,
    pub path: String,
    pub pattern: String,
    pub params: Vec<JsNamed>,
    pub variant: Vec<JsNamed>,
    pub reason: &'static str,
    pub draft: bool,
    pub previous: Option<NativePage>,
}

impl JsRender {
    pub(crate) fn new(shared: &Arc<Shared>, cache: u32, route: u32, job: RenderJob) -> JsRender {
        let params = job.params().iter().map(|(name, value)| JsNamed {
            name: name.clone(),
            value: match value {
                ParamValue::One(text) => Either::A(text.clone()),
                ParamValue::Many(texts) => Either::B(texts.clone()),
            },
        });
        JsRender {
            cache,
            route,
            context: NativeContext { context: job.context() },
            path: job.path().to_string(),
            pattern: job.pattern().to_string(),
            params: params.collect(),
            variant: variant_to_js(job.variant()),
            reason: job.reason().name(),
            draft: job.is_draft(),
            previous: job.previous().cloned().map(NativePage::new),
            job: NativeJob::new(shared, Job::Render(job)),
        }
    }
}

/// A load to begin.
#[napi(object, object_from_js = false)]
pub struct JsLoad {
    pub job: NativeJob,
    pub context: NativeContext,
    pub key: Vec<String>,
}

impl JsLoad {
    pub(crate) fn new(shared: &Arc<Shared>, job: LoadJob) -> JsLoad {
        JsLoad {
            context: NativeContext { context: job.context() },
            key: job.key().to_vec(),
            job: NativeJob::new(shared, Job::Load(job)),
        }
    }
}
