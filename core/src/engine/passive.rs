//! The passive half: looking without starting anything, and storing what was rendered elsewhere.

use std::sync::Arc;

use crate::answer::{Peek, State};
use crate::cache::Put;
use crate::engine::Engine;
use crate::engine::pages::Stored;
use crate::engine::result::{Outcome, Run};
use crate::error::Error;
use crate::flight::{Deps, Target, What};
use crate::memory::Inserted;
use crate::page::PageResult;
use crate::route::Variant;

impl Engine {
    pub(crate) fn peek(&self, path: &str, variant: Option<&Variant>) -> Result<Peek, Error> {
        let target = self.target(path, variant)?;
        let what = What::Page(target.clone());
        let page = self
            .look_up(&what)
            .page
            .filter(|page| page.is_of(&target.route) && target.route.serves(&target.path));
        let now = self.clock.now();
        Ok(match page.and_then(|page| self.judged(page, now)) {
            None => Peek { state: State::Missing, page: None, age_secs: 0 },
            Some(Stored { page, judged }) => Peek {
                state: judged.state,
                age_secs: now.since(page.generated()).nanos().unwrap_or(0) / 1_000_000_000,
                page: Some(page),
            },
        })
    }

    /// Whether anything is stored for a target.
    pub(crate) fn is_stored(&self, target: &Arc<Target>) -> bool {
        let found = self.look_up(&What::Page(target.clone()));
        self.stored(target, &found, self.clock.now()).is_some()
    }

    /// Stores a page that was rendered elsewhere.
    pub(crate) fn put(
        self: &Arc<Self>,
        path: &str,
        variant: Option<&Variant>,
        result: PageResult,
        started: u64,
    ) -> Result<Put, Error> {
        let target = self.target(path, variant)?;
        if !target.route.serves(&target.path) {
            return Ok(Put::NotStored);
        }
        let started = started.min(self.inv.now());
        match self.page_outcome(&target, result, Run { started, micros: 0 }, &Deps::none()) {
            Outcome::Fail(error) => Err(error),
            Outcome::Pass { remove, .. } => {
                if remove {
                    self.remove_older(&target.path, started);
                }
                Ok(Put::NotStored)
            }
            Outcome::Store(page) => {
                let what = What::Page(target.clone());
                let saved = self.save(&what, &page);
                let mut shard = self.table.lock(&target.key);
                if self.insert(&what, &page, saved) != Inserted::Stored {
                    return Ok(Put::NotStored);
                }
                shard.troubles.pop(&target.key);
                Ok(Put::Stored)
            }
        }
    }

    /// A render says that what was stored before it goes.
    pub(crate) fn remove_older(&self, path: &str, started: u64) {
        self.inv.remove_pages(&[path], Some(started), self.clock.now());
        self.forget(path, started);
    }

    /// Frees the room of a path that was removed, as far as it began before `epoch`.
    pub(crate) fn forget(&self, path: &str, epoch: u64) {
        self.memory.remove_path(path, epoch);
        if let Some(store) = &self.store {
            store.remove_path(path.as_bytes(), epoch);
        }
    }
}
