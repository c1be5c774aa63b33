//! Turns what a callback gave into an entry, by section 7 of the semantics.

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::flight::{DataTarget, Deps, Target};
use crate::http::{self, Privacy};
use crate::invalidation::{MAX_TAGS, Tag, Tags, check_tag};
use crate::lifetime::Lifetime;
use crate::page::{Page, PageResult, Parts};
use crate::policy;

/// The render or load that gave a result.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// The epoch of its begin.
    pub(crate) started: u64,
    /// How long it took, in microseconds; 0 where that is not known.
    pub(crate) micros: u32,
}

/// What a result is good for.
pub(crate) enum Outcome {
    /// May be stored and shared.
    Store(Page),
    /// Is answered and not stored.
    Pass {
        page: Page,
        /// For the request alone that began the render.
        personal: bool,
        /// What is stored goes.
        remove: bool,
    },
    Fail(Error),
}

impl Engine {
    /// Checks a render's result and makes a page of it.
    pub(crate) fn page_outcome(
        &self,
        target: &Target,
        result: PageResult,
        run: Run,
        deps: &Deps,
    ) -> Outcome {
        match self.try_page_outcome(target, result, run, deps) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Fail(error),
        }
    }

    fn try_page_outcome(
        &self,
        target: &Target,
        result: PageResult,
        run: Run,
        deps: &Deps,
    ) -> Result<Outcome, Error> {
        let route = &target.route;
        let status = result.status;
        if !(200..1000).contains(&status) {
            return Err(invalid_page(format!("a status must be 200 to 999; got {status}")));
        }
        if status >= 500 {
            return Err(Error::render(format!("the render gave status {status}"), None));
        }
        let mut fields = http::check_fields(result.headers)?;
        let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
        if is_redirect && !fields.iter().any(|(n, v)| &**n == "location" && !v.is_empty()) {
            return Err(invalid_page(format!("a redirect ({status}) needs a location header")));
        }
        http::encode_location(&mut fields);
        let own = self.tag_nodes(&result.tags)?;
        let tags = route.tags.and(own.into_iter().chain(deps.tags.iter().cloned()));
        check_tag_count(&tags)?;
        let revalidate = result.revalidate.unwrap_or(route.revalidate).min(deps.revalidate);
        let expire = policy::effective_expire(revalidate, result.expire.unwrap_or(route.expire));
        let personal = result.no_store
            || revalidate.is_zero()
            || http::privacy(&fields, &route.vary) == Privacy::Personal;
        let too_large = result.body.len() as u64 > self.options.max_entry_bytes;
        if too_large {
            self.counters.too_large.add();
        }
        let store = !personal
            && !result.remove
            && !too_large
            && self.options.storable_statuses.contains(&status);
        let etag = if store { http::etag_of(&result.body) } else { "".into() };
        let encoded = if store {
            http::precompress(&result.body, &fields, &self.options.precompress, &etag)
        } else {
            Vec::new()
        };
        let page = Page::new(Parts {
            key: target.key.clone(),
            path_len: target.path.len(),
            route: Some(route.clone()),
            status,
            fields,
            body: result.body.into(),
            etag,
            encoded,
            tags,
            revalidate,
            expire,
            started: run.started,
            render_micros: run.micros,
            generated: self.clock.now(),
            oldest: run.started,
        });
        Ok(if store {
            Outcome::Store(page)
        } else {
            Outcome::Pass { page, personal, remove: result.remove }
        })
    }

    /// Makes a data entry of a loaded value.
    pub(crate) fn data_outcome(
        &self,
        target: &DataTarget,
        value: Vec<u8>,
        run: Run,
        deps: &Deps,
    ) -> Outcome {
        let tags = Tags::of(target.tags.iter().chain(&deps.tags).cloned());
        if let Err(error) = check_tag_count(&tags) {
            return Outcome::Fail(error);
        }
        let revalidate = target.revalidate.min(deps.revalidate);
        let too_large = value.len() as u64 > self.options.max_entry_bytes;
        if too_large {
            self.counters.too_large.add();
        }
        let page = Page::new(Parts {
            key: target.key.clone(),
            path_len: 0,
            route: None,
            status: 200,
            fields: Vec::new(),
            body: value.into(),
            etag: "".into(),
            encoded: Vec::new(),
            tags,
            revalidate,
            expire: policy::effective_expire(revalidate, Lifetime::YEAR),
            started: run.started,
            render_micros: run.micros,
            generated: self.clock.now(),
            oldest: run.started.min(deps.oldest),
        });
        let personal = revalidate.is_zero();
        if personal || too_large {
            Outcome::Pass { page, personal, remove: false }
        } else {
            Outcome::Store(page)
        }
    }

    /// The nodes of tags, checked.
    pub(crate) fn tag_nodes(&self, names: &[String]) -> Result<Vec<Arc<Tag>>, Error> {
        let unique: HashSet<&String> = names.iter().collect();
        if unique.len() > MAX_TAGS {
            return Err(too_many_tags(unique.len()));
        }
        for name in names {
            check_tag(name).map_err(|e| invalid_page(e.message()))?;
        }
        Ok(names.iter().map(|n| self.inv.tag(n)).collect())
    }
}

fn check_tag_count(tags: &[Arc<Tag>]) -> Result<(), Error> {
    if tags.len() > MAX_TAGS {
        return Err(too_many_tags(tags.len()));
    }
    Ok(())
}

fn too_many_tags(n: usize) -> Error {
    invalid_page(format!(
        "a page has at most {MAX_TAGS} tags, with those of its route and of what it read; got {n}"
    ))
}

fn invalid_page(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Render, format!("invalid page: {why}"))
}
