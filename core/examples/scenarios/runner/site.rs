//! The site that a scenario describes: its renders and loads, counted and held.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isr_core::{
    DataAnswer, DataOptions, Error, LoadJob, Loader, PageResult, ParamValue, Params, RenderJob,
    WeakCache,
};
use parking_lot::Mutex;

use super::format::{
    Element, LoadElement, Read, Scenario, data_key_text, optional_lifetime, render_key,
};
use super::frames::Frames;
use super::step::Gate;

/// Shared by all callbacks of one scenario; outlives a `reopen`.
pub struct Site {
    renders: BTreeMap<String, Vec<Element>>,
    data: BTreeMap<String, Vec<LoadElement>>,
    begun: Mutex<BTreeMap<(Gate, String), u64>>,
    pub frames: Arc<Frames>,
    cache: Mutex<Option<WeakCache>>,
}

/// Why a callback does not return what it should.
enum Failure {
    Error(String),
    Panic(String),
}

impl From<Error> for Failure {
    /// The kind goes into the text: whatever fails inside a callback makes the callback fail.
    fn from(e: Error) -> Failure {
        Failure::Error(e.to_string())
    }
}

impl Site {
    pub fn new(scenario: &Scenario) -> Arc<Site> {
        Arc::new(Site {
            renders: scenario.renders.clone(),
            data: scenario.data.clone(),
            begun: Mutex::default(),
            frames: Arc::new(Frames::default()),
            cache: Mutex::new(None),
        })
    }

    /// The cache through which loads read other entries.
    pub fn set_cache(&self, cache: WeakCache) {
        *self.cache.lock() = Some(cache);
    }

    pub fn count(&self, gate: Gate, key: &str) -> u64 {
        self.begun.lock().get(&(gate, key.to_string())).copied().unwrap_or(0)
    }

    /// The number of this one among those of its key, from 0.
    fn begin(&self, gate: Gate, key: &str) -> usize {
        let mut begun = self.begun.lock();
        let n = begun.entry((gate, key.to_string())).or_default();
        *n += 1;
        *n as usize - 1
    }

    /// What every route renders.
    pub fn render(self: &Arc<Self>, job: RenderJob) {
        let key = render_key(job.path(), job.variant());
        let frame = self.frames.enter(Gate::Render, &key, job.context());
        let n = self.begin(Gate::Render, &key);
        let element = match self.renders.get(&key) {
            Some(list) => nth(list, n).clone(),
            None => Element { body: Some(job.path().to_string()), ..Element::default() },
        };
        let read = self.read_all(&element.reads, |r, options, loader| {
            frame.asking(|| job.data(&r.data.parts(), options, loader))
        });
        let outcome = read.and_then(|values| page(&element, &values, job.params()));
        frame.hold();
        // A render that has timed out is told so; it has nobody left to tell.
        let _ = match outcome {
            Ok(page) => job.complete(page),
            Err(Failure::Error(text)) => job.fail(Error::render(text, None)),
            // As `panic!`, without the hook's noise.
            Err(Failure::Panic(text)) => std::panic::resume_unwind(Box::new(text)),
        };
    }

    /// The loader of an entry whose load reads others.
    pub fn loader(
        self: &Arc<Self>,
        reads: Vec<Read>,
        begun: impl Fn() + Send + Sync + 'static,
    ) -> Arc<dyn Loader> {
        let site = self.clone();
        Arc::new(move |job: LoadJob| {
            begun();
            site.load(&reads, job);
        })
    }

    fn load(self: &Arc<Self>, reads: &[Read], job: LoadJob) {
        let key = data_key_text(job.key());
        let frame = self.frames.enter(Gate::Load, &key, job.context());
        let n = self.begin(Gate::Load, &key);
        let element = self.data.get(&key).map(|list| nth(list, n).clone());
        let cache = self.cache.lock().as_ref().and_then(WeakCache::upgrade);
        let context = job.context();
        let read = self.read_all(reads, |r, options, loader| match &cache {
            Some(cache) => {
                frame.asking(|| cache.data(Some(&context), &r.data.parts(), options, loader))
            }
            None => Err(Error::render("the cache is closed", None)),
        });
        // Not kept while this load is held: the cache closes with its last handle.
        drop(cache);
        let outcome = read.and_then(|_| match element {
            None => Ok(key.clone()),
            Some(LoadElement { value: Some(value), .. }) => Ok(value),
            Some(LoadElement { error, .. }) => Err(Failure::Error(error.unwrap_or_default())),
        });
        frame.hold();
        // As for a render: a load whose cache is closed has nobody left to tell.
        let _ = match outcome {
            Ok(value) => job.complete(value.into_bytes()),
            Err(Failure::Error(text) | Failure::Panic(text)) => job.fail(Error::render(text, None)),
        };
    }

    /// The values read, by key, in order; the first failure that is not handled ends it.
    fn read_all(
        self: &Arc<Self>,
        reads: &[Read],
        read: impl Fn(&Read, &DataOptions, Arc<dyn Loader>) -> Result<DataAnswer, Error>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let mut values = BTreeMap::new();
        for r in reads {
            let mut options = DataOptions { tags: r.tags.clone(), ..DataOptions::default() };
            if let Some(revalidate) = optional_lifetime("revalidate", &r.revalidate)? {
                options.revalidate = revalidate;
            }
            let value = match (read(r, &options, self.loader(r.reads.clone(), || {})), &r.or) {
                (Ok(answer), _) => String::from_utf8_lossy(answer.value()).into_owned(),
                (Err(_), Some(or)) => or.clone(),
                (Err(e), None) => return Err(e.into()),
            };
            values.insert(r.data.text(), value);
        }
        Ok(values)
    }
}

fn nth<T>(list: &[T], n: usize) -> &T {
    &list[n.min(list.len() - 1)]
}

/// The page of a `put`.
pub fn plain_page(element: &Element) -> Result<PageResult, String> {
    page(element, &BTreeMap::new(), &Params::default()).map_err(|failure| match failure {
        Failure::Error(text) | Failure::Panic(text) => text,
    })
}

fn page(
    element: &Element,
    values: &BTreeMap<String, String>,
    params: &Params,
) -> Result<PageResult, Failure> {
    if let Some(error) = &element.error {
        return Err(if element.panic {
            Failure::Panic(error.clone())
        } else {
            Failure::Error(error.clone())
        });
    }
    let body = match (&element.body, &element.body_base64) {
        (Some(text), _) => fill(text, values, params).into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|e| Failure::Error(format!("body_base64: {e}")))?
        }
        (None, None) => Vec::new(),
    };
    let mut page = match &element.redirect {
        Some(redirect) => {
            PageResult { body, ..PageResult::redirect(&redirect.to, redirect.status) }
        }
        None if element.not_found => PageResult::not_found(body),
        None => PageResult::new(body),
    };
    page.status = element.status.unwrap_or(page.status);
    for (name, value) in &element.headers {
        page = page.header(name, value);
    }
    page.revalidate = optional_lifetime("revalidate", &element.revalidate)?;
    page.expire = optional_lifetime("expire", &element.expire)?;
    page.tags.clone_from(&element.tags);
    page.no_store = element.no_store;
    page.remove = element.remove;
    Ok(page)
}

/// Replaces `{data:KEY}` and `{param:NAME}` in one pass; what is not known stays.
fn fill(text: &str, values: &BTreeMap<String, String>, params: &Params) -> String {
    let mut known: BTreeMap<String, String> =
        values.iter().map(|(key, value)| (format!("{{data:{key}}}"), value.clone())).collect();
    known.extend(params.iter().map(|(name, value)| {
        let value = match value {
            ParamValue::One(text) => text.clone(),
            ParamValue::Many(list) => list.join(","),
        };
        (format!("{{param:{name}}}"), value)
    }));
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out += &rest[..at];
        rest = &rest[at..];
        match known.iter().find(|(name, _)| rest.starts_with(name.as_str())) {
            Some((name, value)) => {
                out += value;
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}
