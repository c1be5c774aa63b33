//! What threads of the cache tell an isolate.

use std::sync::Arc;

use isr_core::{Answer, DataAnswer, Error, LoadJob, PrerenderProgress, PrerenderReport, RenderJob};
use napi::bindgen_prelude::Unknown;
use napi::{Env, Result};
use napi_derive::napi;

use crate::error;
use crate::isolate::Shared;
use crate::job::{Job, JsLoad, JsRender};
use crate::page::{NativeAnswer, NativeData};

/// One event.
pub(crate) enum Event {
    /// A render callback has to run.
    Render { cache: u32, route: u32, job: RenderJob },
    /// A load callback has to run.
    Load { loader: i64, job: LoadJob },
    /// What a promise waits for is there.
    Done { id: i64, outcome: std::result::Result<Outcome, Error> },
    /// A prerender has come on.
    Progress { id: i64, progress: PrerenderProgress },
    /// Something is wrong with a cache's directory.
    Trouble { cache: u32, error: Error },
    /// A value kept in JavaScript is not needed any more.
    Released(i64),
}

/// What promises are resolved with.
pub(crate) enum Outcome {
    Answer(Answer),
    /// `regenerate` had nothing to do.
    Nothing,
    Data(DataAnswer),
    Report(PrerenderReport),
    /// Whether all renders ended in time.
    Closed(bool),
}

/// An event as JavaScript sees it: `kind` says which of the other fields are there.
#[napi(object, object_from_js = false)]
pub struct JsEvent {
    /// `render`, `load`, `resolve`, `reject`, `progress`, `trouble` or `release`.
    pub kind: &'static str,
    /// Of the promise, the loader, the cache, or the kept value.
    pub id: Option<i64>,
    pub render: Option<JsRender>,
    pub load: Option<JsLoad>,
    pub answer: Option<NativeAnswer>,
    pub data: Option<NativeData>,
    pub report: Option<JsReport>,
    pub closed: Option<bool>,
    pub progress: Option<JsProgress>,
    pub error: Option<Unknown<'static>>,
}

/// What a prerender did.
#[napi(object, object_from_js = false)]
pub struct JsReport {
    pub rendered: u32,
    pub skipped: u32,
    pub failed: Vec<JsFailed>,
}

/// A path that a prerender could not render.
#[napi(object, object_from_js = false)]
pub struct JsFailed {
    pub path: String,
    pub error: Unknown<'static>,
}

/// How far a prerender has come.
#[napi(object, object_from_js = false)]
pub struct JsProgress {
    pub done: u32,
    pub failed: u32,
    pub skipped: u32,
    pub total: u32,
    pub path: String,
}

impl Event {
    /// The isolate is gone: whoever waits elsewhere gets an error.
    pub(crate) fn abandon(self) {
        match self {
            Event::Render { job, .. } => Job::Render(job).abandon(),
            Event::Load { job, .. } => Job::Load(job).abandon(),
            Event::Done { .. }
            | Event::Progress { .. }
            | Event::Trouble { .. }
            | Event::Released(_) => {}
        }
    }

    pub(crate) fn into_js(self, env: &Env, shared: &Arc<Shared>) -> Result<JsEvent> {
        Ok(match self {
            Event::Render { cache, route, job } => JsEvent {
                render: Some(JsRender::new(shared, cache, route, job)),
                ..empty("render", None)
            },
            Event::Load { loader, job } => {
                JsEvent { load: Some(JsLoad::new(shared, job)), ..empty("load", Some(loader)) }
            }
            Event::Done { id, outcome: Ok(outcome) } => {
                let event = empty("resolve", Some(id));
                match outcome {
                    Outcome::Answer(answer) => {
                        JsEvent { answer: Some(NativeAnswer::new(answer)), ..event }
                    }
                    Outcome::Nothing => event,
                    Outcome::Data(data) => JsEvent { data: Some(NativeData::new(data)), ..event },
                    Outcome::Report(report) => {
                        JsEvent { report: Some(JsReport::new(env, shared, report)?), ..event }
                    }
                    Outcome::Closed(closed) => JsEvent { closed: Some(closed), ..event },
                }
            }
            Event::Done { id, outcome: Err(error) } => JsEvent {
                error: Some(error::object(env, shared, &error)?),
                ..empty("reject", Some(id))
            },
            Event::Progress { id, progress } => {
                JsEvent { progress: Some(progress.into()), ..empty("progress", Some(id)) }
            }
            Event::Trouble { cache, error } => JsEvent {
                error: Some(error::object(env, shared, &error)?),
                ..empty("trouble", Some(i64::from(cache)))
            },
            Event::Released(id) => empty("release", Some(id)),
        })
    }
}

fn empty(kind: &'static str, id: Option<i64>) -> JsEvent {
    JsEvent {
        kind,
        id,
        render: None,
        load: None,
        answer: None,
        data: None,
        report: None,
        closed: None,
        progress: None,
        error: None,
    }
}

impl JsReport {
    fn new(env: &Env, shared: &Arc<Shared>, report: PrerenderReport) -> Result<JsReport> {
        let failed = report
            .failed
            .into_iter()
            .map(|(path, error)| Ok(JsFailed { path, error: error::object(env, shared, &error)? }));
        Ok(JsReport {
            rendered: report.rendered as u32,
            skipped: report.skipped as u32,
            failed: failed.collect::<Result<_>>()?,
        })
    }
}

impl From<PrerenderProgress> for JsProgress {
    fn from(p: PrerenderProgress) -> JsProgress {
        JsProgress {
            done: p.done as u32,
            failed: p.failed as u32,
            skipped: p.skipped as u32,
            total: p.total as u32,
            path: p.path,
        }
    }
}
