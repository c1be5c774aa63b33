//! Data entries: stored values that renders read (semantics, section 8).

use std::sync::Arc;

use crate::answer::CacheWord;
use crate::engine::Engine;
use crate::error::Error;
use crate::flight::{DataTarget, Flight};
use crate::lifetime::Lifetime;
use crate::page::Page;
use crate::render::{Context, drop_unfinished};

/// Options of one read.
#[derive(Clone, Debug)]
pub struct DataOptions {
    /// Tags of the entry that a load stores.
    pub tags: Vec<String>,
    /// Seconds until the entry is stale. Default never.
    pub revalidate: Lifetime,
}

impl Default for DataOptions {
    fn default() -> DataOptions {
        DataOptions { tags: Vec::new(), revalidate: Lifetime::NEVER }
    }
}

/// Loads the value of a data entry: on the asking thread in the foreground, on a pool thread in the background.
pub trait Loader: Send + Sync {
    /// Loads one value; the job may be finished later, from any thread.
    fn load(&self, job: LoadJob);
}

impl<F: Fn(LoadJob) + Send + Sync> Loader for F {
    fn load(&self, job: LoadJob) {
        self(job);
    }
}

/// One load in progress. Dropping it unfinished is a failure.
pub struct LoadJob {
    engine: Arc<Engine>,
    flight: Arc<Flight>,
    target: Arc<DataTarget>,
    finished: bool,
}

impl LoadJob {
    pub(crate) fn new(
        engine: Arc<Engine>,
        flight: Arc<Flight>,
        target: Arc<DataTarget>,
    ) -> LoadJob {
        LoadJob { engine, flight, target, finished: false }
    }

    /// The entry's key.
    pub fn key(&self) -> &[String] {
        &self.target.parts
    }

    /// The load as a place from which the cache is asked: data that it reads counts for its own entry, too.
    pub fn context(&self) -> Context {
        Context(self.flight.clone())
    }

    /// Reads another data entry for this one, as [`RenderJob::data`](crate::RenderJob::data).
    ///
    /// # Errors
    /// As there.
    pub fn data(
        &self,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
    ) -> Result<DataAnswer, Error> {
        self.flight.check_process()?;
        self.engine.data(&self.flight.owner, Some(self.context()), key, options, loader)
    }

    /// Finishes with a value.
    ///
    /// # Errors
    /// `Finished` if the load was over (timed out, closed); `Render` if it has more than 128 tags with those of what it read:
    /// the load has then failed with that error.
    pub fn complete(mut self, value: Vec<u8>) -> Result<(), Error> {
        self.finished = true;
        self.engine.complete_data(&self.flight, value)
    }

    /// Finishes with a failure; see [`Error::render`].
    ///
    /// # Errors
    /// `Finished` if the load was over.
    pub fn fail(mut self, error: Error) -> Result<(), Error> {
        self.finished = true;
        self.engine.fail(&self.flight, error)
    }
}

impl Drop for LoadJob {
    fn drop(&mut self) {
        if self.flight.is_foreign() {
            // The parent's, whose last reference never goes here.
            std::mem::forget(self.engine.clone());
        } else if !self.finished {
            drop_unfinished(&self.engine, &self.flight, "load");
        }
    }
}

/// A data entry's value and how it came about.
#[derive(Clone, Debug)]
pub struct DataAnswer {
    pub(crate) entry: Page,
    pub(crate) word: CacheWord,
}

impl DataAnswer {
    /// The value; lives as long as this answer.
    pub fn value(&self) -> &[u8] {
        self.entry.body()
    }

    /// How it came about: `Hit`, `Stale`, `Miss`, `Revalidated`, `StaleError`, or `Bypass` for one that is not stored.
    pub fn cache(&self) -> CacheWord {
        self.word
    }
}

/// Called once with the outcome of [`Cache::data_then`](crate::Cache::data_then).
pub type DataDone = Box<dyn FnOnce(Result<DataAnswer, Error>) + Send>;
