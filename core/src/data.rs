//! Data entries: stored values that renders read (semantics, section 8).

use std::sync::Arc;

use crate::answer::CacheWord;
use crate::error::Error;
use crate::lifetime::Lifetime;
use crate::render::Context;

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
    _private: (),
}

impl LoadJob {
    /// The entry's key.
    pub fn key(&self) -> &[String] {
        todo!()
    }
    /// The load as a place from which the cache is asked: data that it reads counts for its own entry, too.
    pub fn context(&self) -> Context {
        todo!()
    }
    /// Finishes with a value.
    ///
    /// # Errors
    /// `Finished` if the cache was closed; `Render` if tags read on the way are too many.
    pub fn complete(self, value: Vec<u8>) -> Result<(), Error> {
        let _ = value;
        todo!()
    }
    /// Finishes with a failure; see [`Error::render`].
    ///
    /// # Errors
    /// `Finished` if the cache was closed.
    pub fn fail(self, error: Error) -> Result<(), Error> {
        let _ = error;
        todo!()
    }
}

/// A data entry's value and how it came about.
#[derive(Clone, Debug)]
pub struct DataAnswer {
    pub(crate) entry: Arc<crate::page::Page>,
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
