//! The cache as JavaScript calls it.

use std::sync::Arc;
use std::time::Duration;

use isr_core::{
    Cache, CacheWord, Context, DataOptions, Error, ErrorKind, OnTrouble, PathType, Put, Request,
    Started, TagOptions, Variant,
};
use napi::bindgen_prelude::BigInt;
use napi::{Env, Result};
use napi_derive::napi;
use parking_lot::Mutex;

use crate::clock::NativeClock;
use crate::convert::{
    JsOption, JsResult, JsRoute, Seconds, camel_case, in_camel_case, in_js_spelling, lifetime,
    options, page_result, route_options, variant,
};
use crate::error;
use crate::event::{Event, Outcome};
use crate::isolate::{Isolate, Kept, Shared};
use crate::job::{JsLoader, NativeContext, RouteRenderer};
use crate::page::{JsPeek, NativeAnswer, NativeData};

/// An isolate's part of a cache.
#[napi]
pub struct NativeCache {
    shared: Arc<Shared>,
    pub(crate) cache: Cache,
    id: u32,
}

/// What runs and waits.
#[napi(object, object_from_js = false)]
pub struct JsActivity {
    pub queued: u32,
    pub running: u32,
    pub waiting: u32,
    pub version: f64,
}

/// A counter.
#[napi(object, object_from_js = false)]
pub struct JsCounter {
    pub name: String,
    pub value: f64,
}

/// An outcome that may be there before the call that asked for it returns.
struct Early {
    state: Mutex<State>,
    shared: Arc<Shared>,
    id: i64,
}

enum State {
    Open,
    There(std::result::Result<Outcome, Error>),
    /// A promise waits for it.
    Late,
}

impl Early {
    fn new(shared: &Arc<Shared>, id: i64) -> Arc<Early> {
        Arc::new(Early { state: Mutex::new(State::Open), shared: shared.clone(), id })
    }

    fn set(&self, outcome: std::result::Result<Outcome, Error>) {
        let mut state = self.state.lock();
        if let State::Late = *state {
            drop(state);
            self.shared.push(Event::Done { id: self.id, outcome });
        } else {
            *state = State::There(outcome);
        }
    }

    /// The outcome if it is there; else it comes as an event.
    fn take(&self, env: &Env) -> Result<Option<Outcome>> {
        let state = std::mem::replace(&mut *self.state.lock(), State::Late);
        if let State::There(outcome) = state {
            return outcome.map(Some).map_err(|e| error::throw(env, &self.shared, &e));
        }
        self.shared.begin(env);
        Ok(None)
    }
}

impl NativeCache {
    fn check<T>(&self, env: &Env, result: std::result::Result<T, Error>) -> Result<T> {
        result.map_err(|e| error::throw(env, &self.shared, &e))
    }
}

fn request<'a>(
    path: &'a str,
    variant: &'a Option<Variant>,
    draft: bool,
    prefetch: bool,
    within: Option<&'a NativeContext>,
) -> Request<'a> {
    Request { path, variant: variant.as_ref(), draft, prefetch, within: within.map(|w| &w.context) }
}

#[napi]
impl NativeCache {
    /// Opens a cache. `id` comes back with each of its renders, and with trouble.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: &Env,
        isolate: &Isolate,
        id: u32,
        named: Vec<JsOption>,
        clock: Option<&NativeClock>,
    ) -> Result<NativeCache> {
        let shared = isolate.shared.clone();
        let told = shared.clone();
        let opened = options(named).and_then(|mut options| {
            if let Some(manual) = clock {
                options.clock = manual.clock.clone().into();
            }
            options.on_trouble = Some(OnTrouble(Arc::new(move |error: &Error| {
                told.push(Event::Trouble { cache: id, error: error.clone() });
            })));
            Cache::open_shared(options).map_err(|e| in_camel_case(&e))
        });
        let cache = opened.map_err(|e| error::throw(env, &shared, &e))?;
        shared.add_cache(&cache);
        // Trouble with its directory shall be told even if the loop has nothing else to do.
        shared.hold_if_told(env);
        Ok(NativeCache { shared, cache, id })
    }

    /// Adds a route. `index` comes back with each of its renders.
    #[napi(catch_unwind)]
    pub fn add_route(&self, env: &Env, index: u32, pattern: String, route: JsRoute) -> Result<()> {
        let renderer = RouteRenderer { shared: self.shared.clone(), cache: self.id, route: index };
        let added = route_options(route)
            .and_then(|options| self.cache.add_route(&pattern, options, Arc::new(renderer)))
            .map_err(|e| in_camel_case(&e));
        self.check(env, added)
    }

    /// The answer, if it needs no waiting.
    #[napi(catch_unwind)]
    pub fn try_get(
        &self,
        env: &Env,
        path: String,
        variant_pairs: Option<Vec<String>>,
        draft: bool,
        prefetch: bool,
    ) -> Result<Option<NativeAnswer>> {
        let variant = variant(variant_pairs);
        let answer = self.cache.try_get(&request(&path, &variant, draft, prefetch, None));
        let answer = self.check(env, answer)?;
        if answer.as_ref().is_some_and(|a| a.cache() != CacheWord::Hit) {
            // A regeneration may have begun: it shall not be lost because the loop has nothing else to do.
            self.shared.hold_if_busy(env);
        }
        Ok(answer.map(NativeAnswer::new))
    }

    /// The answer, if it is there at once; else it comes as the event `id`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn get(
        &self,
        env: &Env,
        id: i64,
        path: String,
        variant_pairs: Option<Vec<String>>,
        draft: bool,
        prefetch: bool,
        within: Option<&NativeContext>,
    ) -> Result<Option<NativeAnswer>> {
        let variant = variant(variant_pairs);
        let early = Early::new(&self.shared, id);
        let done = early.clone();
        self.cache.get_then(
            &request(&path, &variant, draft, prefetch, within),
            Box::new(move |answer| done.set(answer.map(Outcome::Answer))),
        );
        Ok(match early.take(env)? {
            Some(Outcome::Answer(answer)) => {
                self.shared.hold_if_busy(env);
                Some(NativeAnswer::new(answer))
            }
            _ => None,
        })
    }

    /// Renders now; the outcome comes as the event `id`.
    #[napi(catch_unwind)]
    pub fn regenerate(
        &self,
        env: &Env,
        id: i64,
        path: String,
        variant_pairs: Option<Vec<String>>,
        only_generated: bool,
        within: Option<&NativeContext>,
    ) {
        let variant = variant(variant_pairs);
        let shared = self.shared.clone();
        self.shared.begin(env);
        self.cache.regenerate_then(
            &request(&path, &variant, false, false, within),
            only_generated,
            Box::new(move |answer| {
                let outcome = answer.map(|a| a.map_or(Outcome::Nothing, Outcome::Answer));
                shared.push(Event::Done { id, outcome });
            }),
        );
    }

    /// Renders every listed path; the report comes as the event `id`, before it progress.
    #[napi(catch_unwind)]
    pub fn prerender(&self, env: &Env, id: i64, with_progress: bool) {
        let shared = self.shared.clone();
        let on_progress = with_progress.then(|| {
            let shared = self.shared.clone();
            Arc::new(move |progress: &isr_core::PrerenderProgress| {
                shared.push(Event::Progress { id, progress: progress.clone() });
            }) as isr_core::OnProgress
        });
        self.shared.begin(env);
        self.cache.prerender_then(
            on_progress,
            Box::new(move |report| {
                shared.push(Event::Done { id, outcome: report.map(Outcome::Report) });
            }),
        );
    }

    /// Reads a data entry: its value, if it is there at once; else it comes as the event `id`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn data(
        &self,
        env: &Env,
        id: i64,
        within: Option<&NativeContext>,
        key: Vec<String>,
        tags: Vec<String>,
        revalidate: Option<Seconds>,
        loader: i64,
    ) -> Result<Option<NativeData>> {
        let loader = Arc::new(JsLoader(Kept { shared: self.shared.clone(), number: loader }));
        let mut options = DataOptions { tags, ..DataOptions::default() };
        if let Some(seconds) = revalidate {
            options.revalidate = self.check(env, lifetime("revalidate", &seconds))?;
        }
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let within: Option<&Context> = within.map(|w| &w.context);
        let early = Early::new(&self.shared, id);
        let done = early.clone();
        self.cache.data_then(
            within,
            &key,
            &options,
            loader,
            Box::new(move |data| done.set(data.map(Outcome::Data))),
        );
        Ok(match early.take(env)? {
            Some(Outcome::Data(data)) => {
                self.shared.hold_if_busy(env);
                Some(NativeData::new(data))
            }
            _ => None,
        })
    }

    /// What is stored.
    #[napi(catch_unwind)]
    pub fn peek(
        &self,
        env: &Env,
        path: String,
        variant_pairs: Option<Vec<String>>,
    ) -> Result<JsPeek> {
        let variant = variant(variant_pairs);
        let peek = self.check(env, self.cache.peek(&path, variant.as_ref()))?;
        Ok(JsPeek::new(&peek))
    }

    /// The present epoch.
    #[napi(catch_unwind)]
    pub fn started(&self) -> BigInt {
        self.cache.started().as_u64().into()
    }

    /// Stores a page that was rendered elsewhere. Whether it is stored.
    #[napi(catch_unwind)]
    pub fn put(
        &self,
        env: &Env,
        path: String,
        variant_pairs: Option<Vec<String>>,
        result: JsResult,
        started: BigInt,
    ) -> Result<bool> {
        let variant = variant(variant_pairs);
        let (negative, epoch, lossless) = started.get_u64();
        let put = if negative || !lossless {
            Err(Error::new(
                ErrorKind::InvalidArgument,
                "started must be what started() gave: 0 to 2^64 - 1",
            ))
        } else {
            page_result(result).and_then(|page| {
                self.cache.put(&path, variant.as_ref(), page, Started::from_u64(epoch))
            })
        };
        Ok(self.check(env, put)? == Put::Stored)
    }

    /// Invalidates by paths or patterns; `kind` is `page` or `layout`. Whether any route could match.
    #[napi(catch_unwind)]
    pub fn revalidate_path(
        &self,
        env: &Env,
        paths: Vec<String>,
        kind: Option<String>,
    ) -> Result<bool> {
        let kind = match kind.as_deref() {
            None => Ok(None),
            Some("page") => Ok(Some(PathType::Page)),
            Some("layout") => Ok(Some(PathType::Layout)),
            Some(other) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("type must be \"page\" or \"layout\"; got \"{other}\""),
            )),
        };
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let matched = kind.and_then(|kind| {
            let matched = self.cache.revalidate_path(&paths, kind);
            matched.map_err(|e| in_js_spelling(&e, "revalidate_path"))
        });
        self.check(env, matched)
    }

    /// Invalidates by tags.
    #[napi(catch_unwind)]
    pub fn revalidate_tag(
        &self,
        env: &Env,
        tags: Vec<String>,
        soft: bool,
        expire: Option<Seconds>,
    ) -> Result<()> {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let done = expire
            .map(|seconds| lifetime("expire", &seconds))
            .transpose()
            .and_then(|expire| self.cache.revalidate_tag(&tags, TagOptions { soft, expire }));
        self.check(env, done.map_err(|e| in_js_spelling(&e, "revalidate_tag")))
    }

    /// Removes stored pages.
    #[napi(catch_unwind)]
    pub fn remove(&self, env: &Env, paths: Vec<String>) -> Result<()> {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        self.check(env, self.cache.remove(&paths))
    }

    /// A signed token for drafts.
    #[napi(catch_unwind)]
    pub fn draft_token(&self, env: &Env, valid_for: Seconds) -> Result<String> {
        let token =
            lifetime("validFor", &valid_for).and_then(|valid| self.cache.draft_token(valid));
        self.check(env, token)
    }

    /// Whether a token is genuine and has not expired.
    #[napi(catch_unwind)]
    pub fn verify_draft(&self, token: String) -> bool {
        self.cache.verify_draft(&token)
    }

    /// Counters by their camelCase names.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> Vec<JsCounter> {
        let counter = |(name, value)| JsCounter { name: camel_case(name), value: value as f64 };
        self.cache.stats().entries().into_iter().map(counter).collect()
    }

    /// What runs and waits.
    #[napi(catch_unwind)]
    pub fn activity(&self) -> JsActivity {
        let activity = self.cache.activity();
        JsActivity {
            queued: activity.queued as u32,
            running: activity.running as u32,
            waiting: activity.waiting as u32,
            version: activity.version as f64,
        }
    }

    /// Closes, on a thread of its own because running renders need this one; whether all ended in time comes as the event
    /// `id`.
    #[napi(catch_unwind)]
    pub fn close(&self, env: &Env, id: i64, timeout: f64) -> Result<()> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(|_| {
            let error = Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "timeout must be a number of seconds that a clock can count; got {timeout}"
                ),
            );
            error::throw(env, &self.shared, &error)
        })?;
        let cache = self.cache.clone();
        let shared = self.shared.clone();
        let closing = move || {
            let closed = cache.close(timeout);
            shared.push(Event::Done { id, outcome: Ok(Outcome::Closed(closed)) });
        };
        std::thread::Builder::new()
            .name("isr-close".to_string())
            .spawn(closing)
            .map_err(|e| napi::Error::from_reason(format!("no thread to close the cache: {e}")))?;
        self.shared.begin(env);
        Ok(())
    }

    /// Whether it is closed.
    #[napi(catch_unwind)]
    pub fn closed(&self) -> bool {
        self.cache.is_closed()
    }
}
