//! What an answer may be, given what had been promised when it was asked for.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use isr_core::{Answer, CacheWord, Error, ErrorKind};

use super::content::{Facts, key, path, tags};
use super::truth::{Truth, Violations};

/// What had been promised of a page before it was asked for.
#[derive(Debug)]
pub struct Promised {
    page: usize,
    /// No less as a hit.
    soft: Facts,
    /// No less as anything but the last good page.
    hard: Facts,
    /// No less at all.
    gone: u64,
}

impl Promised {
    pub fn of(truth: &Truth, page: usize) -> Promised {
        let of = &truth.pages[page];
        let soft: BTreeMap<_, _> =
            tags(page).into_iter().map(|t| (t, truth.tags[t].soft())).collect();
        let hard: BTreeMap<_, _> =
            tags(page).into_iter().map(|t| (t, truth.tags[t].hard())).collect();
        let facts = |tags, data: Option<u64>| Facts {
            path: path(page),
            version: of.version.hard(),
            tags,
            data,
            ..Facts::default()
        };
        let data_hard = key(page).map(|k| truth.keys[k].hard().max(of.data()));
        let data_soft = key(page).map(|k| truth.keys[k].soft());
        Promised {
            page,
            soft: facts(soft, data_soft),
            hard: facts(hard, data_hard),
            gone: of.version.gone(),
        }
    }

    /// What a render that begins now shows.
    pub fn renewed(truth: &Truth, page: usize) -> Promised {
        let mut promised = Promised::of(truth, page);
        let now = Facts::read(truth, page);
        promised.hard = Facts { data: promised.hard.data, ..now };
        promised
    }
}

fn older(got: &Facts, least: &Facts) -> bool {
    got.version < least.version
        || least.tags.iter().any(|(tag, version)| got.tags.get(tag).is_none_or(|v| v < version))
        || (least.data.is_some() && got.data < least.data)
}

pub struct Checker {
    pub truth: &'static Truth,
    pub violations: Violations,
}

impl Checker {
    fn count(&self, word: CacheWord, foreign: bool) {
        let c = &self.truth.counters;
        let counter = match word {
            CacheWord::Hit => &c.hits,
            CacheWord::Stale => &c.stale,
            CacheWord::StaleError => &c.stale_errors,
            CacheWord::Bypass => &c.bypasses,
            CacheWord::Miss | CacheWord::Revalidated => &c.waited,
        };
        counter.fetch_add(1, SeqCst);
        if word == CacheWord::Hit && foreign {
            c.foreign_hits.fetch_add(1, SeqCst);
        }
    }

    /// Checks one answer; the number of the render that made it.
    pub fn answer(&self, what: &str, promised: &Promised, answer: &Answer) -> u64 {
        let (page, word) = (answer.page(), answer.cache());
        let wanted = path(promised.page);
        let Some(facts) = Facts::of_page(page) else {
            let len = page.body().len();
            self.violations.add(&format!(
                "torn: {what} {wanted}: {word:?}, {len} bytes, {:?}",
                page.headers().collect::<Vec<_>>()
            ));
            return 0;
        };
        self.count(word, facts.process != std::process::id());
        if facts.path != wanted || page.path() != wanted {
            self.violations.add(&format!("wrong path: {what} {wanted}: got {facts:?}"));
        }
        let too_old = match word {
            CacheWord::Hit => older(&facts, &promised.soft) || older(&facts, &promised.hard),
            CacheWord::StaleError => false,
            _ => older(&facts, &promised.hard),
        };
        if too_old {
            self.violations.add(&format!(
                "too old: {what} {wanted}: {word:?} {facts:?}, promised {promised:?}"
            ));
        }
        if facts.version < promised.gone {
            self.violations.add(&format!(
                "came back after remove: {what} {wanted}: {word:?} {facts:?}, promised {promised:?}"
            ));
        }
        if let Some(cookie) = page.header("set-cookie") {
            let id = cookie.trim_start_matches("id=").parse().unwrap_or(0);
            if word != CacheWord::Bypass || !self.truth.first_to_get(id) {
                self.violations
                    .add(&format!("personal answer shared: {what} {wanted}: {word:?} {cookie}"));
            }
        }
        facts.id
    }

    pub fn error(&self, what: &str, path: &str, error: &Error) {
        let c = &self.truth.counters;
        let counter = match error.kind() {
            ErrorKind::Render => &c.errors,
            ErrorKind::Timeout => &c.timeouts,
            ErrorKind::Busy => &c.busy,
            _ => {
                self.violations.add(&format!("{what} {path}: {error}"));
                return;
            }
        };
        counter.fetch_add(1, SeqCst);
    }
}
