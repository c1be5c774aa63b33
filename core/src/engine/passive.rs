//! The passive half: looking without starting anything, and storing what was rendered elsewhere.

use std::sync::Arc;

use crate::answer::{Peek, State};
use crate::cache::Put;
use crate::engine::Engine;
use crate::engine::result::Outcome;
use crate::error::Error;
use crate::flight::Deps;
use crate::memory::Inserted;
use crate::page::{Page, PageResult};
use crate::route::Variant;

impl Engine {
    pub(crate) fn peek(&self, path: &str, variant: Option<&Variant>) -> Result<Peek, Error> {
        let target = self.target(path, variant)?;
        let page = self
            .memory
            .peek(&target.key)
            .filter(|page| page.is_of(&target.route) && target.route.serves(&target.path));
        let now = self.clock.now();
        Ok(match page {
            None => Peek { state: State::Missing, page: None, age_secs: 0 },
            Some(page) => Peek {
                state: self.judge(&page, now).state,
                age_secs: now.since(page.generated()).nanos().unwrap_or(0) / 1_000_000_000,
                page: Some(page),
            },
        })
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
        if started < self.inherited {
            return Ok(Put::NotStored);
        }
        match self.page_outcome(&target, result, started, &Deps::none()) {
            Outcome::Fail(error) => Err(error),
            Outcome::Pass { remove, .. } => {
                if remove {
                    self.remove_older(&target.path, started);
                }
                Ok(Put::NotStored)
            }
            Outcome::Store(page) => {
                let mut shard = self.table.lock(&target.key);
                page.set_routes_seen(target.routes_version);
                if self.insert_unless_removed(&target.path, &page) != Inserted::Stored {
                    return Ok(Put::NotStored);
                }
                shard.troubles.pop(&target.key);
                Ok(Put::Stored)
            }
        }
    }

    /// Stores a page, unless its path was removed after it began.
    pub(crate) fn insert_unless_removed(&self, path: &str, page: &Arc<Page>) -> Inserted {
        self.memory.insert(page.clone(), || self.inv.removed_after(path, page.started()))
    }

    /// A render says that what was stored before it goes.
    pub(crate) fn remove_older(&self, path: &str, started: u64) {
        self.inv.remove_pages(&[path], Some(started));
        self.memory.remove_path(path, started);
    }
}
