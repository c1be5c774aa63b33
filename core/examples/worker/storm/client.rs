//! One thread that does everything at random.

use std::sync::atomic::Ordering::SeqCst;

use isr_core::{Cache, Clock, Error, Lifetime, PathType, Request, TagOptions, Time};

use super::Storm;
use super::check::{Checker, Promised};
use super::content::{Facts, Kind, key, key_tag, pages_of, path, tag_name};
use super::site;
use super::truth::{KEYS, PAGES, TAGS, Truth, Version};

/// `soft` with an `expire`: hard after this time.
const SOFT_EXPIRE: Lifetime = Lifetime::from_nanos(300_000_000);
/// The coarse clock's steps, twice.
const CLOCK_STEP: Lifetime = Lifetime::from_nanos(10_000_000);

pub struct Client<'a> {
    pub storm: &'a Storm,
    /// Soft calls that become hard: when, which tag, which version.
    due: Vec<(Time, usize, u64)>,
    flooded: u64,
}

impl<'a> Client<'a> {
    pub fn new(storm: &'a Storm) -> Client<'a> {
        Client { storm, due: Vec::new(), flooded: 0 }
    }

    fn cache(&self) -> &Cache {
        &self.storm.cache
    }

    fn truth(&self) -> &'static Truth {
        self.storm.truth
    }

    fn checker(&self) -> &Checker {
        &self.storm.checker
    }

    /// One call of the cache, and its check.
    pub fn step(&mut self) {
        self.tell_what_is_due();
        let page = fastrand::usize(0..PAGES);
        let done = match fastrand::u32(0..1000) {
            0..10 => self.revalidate_path(page),
            10..13 => self.pattern(),
            13..15 => self.layout(),
            15..30 => self.tag(),
            30..38 => self.key_tag(),
            38..46 => self.remove(page),
            46..54 => self.regenerate(page),
            54..64 => self.put(page),
            64..100 => self.data(fastrand::usize(0..KEYS)),
            100..120 => self.flood(),
            120..150 => self.get(page, Ask::Try),
            150..160 => self.get(page, Ask::Prefetch),
            _ => self.get(page, Ask::Wait),
        };
        if let Err(error) = done {
            self.checker().error("call", &path(page), &error);
        }
    }

    fn tell_what_is_due(&mut self) {
        if self.due.is_empty() {
            return;
        }
        let (now, truth) = (Clock::system().now(), self.truth());
        self.due.retain(|(at, tag, version)| {
            let due = *at < now;
            if due {
                truth.tags[*tag].tell_hard(*version);
                truth.counters.hard_after_soft.fetch_add(1, SeqCst);
            }
            !due
        });
    }

    fn get(&self, page: usize, ask: Ask) -> Result<(), Error> {
        self.truth().counters.requests.fetch_add(1, SeqCst);
        let path = path(page);
        let promised = Promised::of(self.truth(), page);
        let request = Request { prefetch: ask == Ask::Prefetch, ..Request::new(&path) };
        let got = match ask {
            Ask::Try => self.cache().try_get(&request),
            _ => self.cache().get(&request).map(Some),
        };
        match got {
            Ok(None) => {}
            // A prefetch may get what has expired, as `stale`.
            Ok(Some(answer))
                if ask == Ask::Prefetch && answer.cache() == isr_core::CacheWord::Stale => {}
            Ok(Some(answer)) => drop(self.checker().answer(ask.name(), &promised, &answer)),
            Err(error) => self.checker().error(ask.name(), &path, &error),
        }
        Ok(())
    }

    /// Changes versions, calls the cache, and promises when the call has returned.
    fn change<'v>(
        &self,
        versions: impl Iterator<Item = &'v Version>,
        call: impl FnOnce() -> Result<(), Error>,
        promise: impl Fn(&Version, u64),
    ) -> Result<(), Error> {
        let changed: Vec<_> = versions.map(|v| (v, v.change())).collect();
        call()?;
        changed.into_iter().for_each(|(version, now)| promise(version, now));
        Ok(())
    }

    /// Its data changes with the page: renders after the call read no older data.
    fn revalidate_path(&self, page: usize) -> Result<(), Error> {
        let truth = self.truth();
        let data = key(page).map(|k| truth.keys[k].change());
        let call = || self.cache().revalidate_path(&[&path(page)], None).map(drop);
        let own = std::iter::once(&truth.pages[page].version);
        self.change(own, call, Version::tell_hard)?;
        if let Some(data) = data {
            truth.pages[page].tell_data(data);
        }
        truth.counters.path_calls.fetch_add(1, SeqCst);
        Ok(())
    }

    fn pattern(&self) -> Result<(), Error> {
        let (kind, pattern) = match fastrand::u32(0..3) {
            0 => (Kind::Steady, "/s/[id]"),
            1 => (Kind::Short, "/t/[id]"),
            _ => (Kind::Odd, "/u/[...rest]"),
        };
        let versions = pages_of(kind).map(|p| &self.truth().pages[p].version);
        let call = || self.cache().revalidate_path(&[pattern], Some(PathType::Page)).map(drop);
        self.change(versions, call, Version::tell_hard)?;
        self.truth().counters.pattern_calls.fetch_add(1, SeqCst);
        Ok(())
    }

    fn layout(&self) -> Result<(), Error> {
        let (kind, at) = match fastrand::u32(0..3) {
            0 => (Kind::Steady, "/s"),
            1 => (Kind::Short, "/t"),
            _ => (Kind::Odd, "/u/deep"),
        };
        let versions = pages_of(kind).map(|p| &self.truth().pages[p].version);
        let call = || self.cache().revalidate_path(&[at], Some(PathType::Layout)).map(drop);
        self.change(versions, call, Version::tell_hard)?;
        self.truth().counters.layout_calls.fetch_add(1, SeqCst);
        Ok(())
    }

    /// One tag or two, in one of three ways.
    fn tag(&mut self) -> Result<(), Error> {
        let first = fastrand::usize(0..TAGS);
        let mut tags = vec![first];
        if fastrand::bool() {
            tags.push((first + 1) % TAGS);
        }
        let names: Vec<String> = tags.iter().map(|t| tag_name(*t)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let truth = self.truth();
        let versions = tags.iter().map(|t| &truth.tags[*t]);
        let call =
            |soft, expire| self.storm.cache.revalidate_tag(&names, TagOptions { soft, expire });
        match fastrand::u32(0..3) {
            0 => {
                self.change(
                    versions,
                    || call(false, None),
                    |v, n| {
                        v.tell_hard(n);
                        v.tell_soft(n);
                    },
                )?;
                truth.counters.tag_calls.fetch_add(1, SeqCst);
            }
            1 => {
                self.change(versions, || call(true, None), Version::tell_soft)?;
                truth.counters.soft_calls.fetch_add(1, SeqCst);
            }
            _ => {
                let changed: Vec<_> = tags.iter().map(|t| (*t, truth.tags[*t].change())).collect();
                call(true, Some(SOFT_EXPIRE))?;
                let at = Clock::system().now().plus(SOFT_EXPIRE).plus(CLOCK_STEP);
                for (tag, version) in changed {
                    truth.tags[tag].tell_soft(version);
                    self.due.push((at, tag, version));
                }
                truth.counters.soft_calls.fetch_add(1, SeqCst);
            }
        }
        Ok(())
    }

    fn key_tag(&self) -> Result<(), Error> {
        let key = fastrand::usize(0..KEYS);
        let soft = fastrand::bool();
        let options = TagOptions { soft, expire: None };
        let call = || self.cache().revalidate_tag(&[&key_tag(key)], options);
        self.change(std::iter::once(&self.truth().keys[key]), call, |v, n| {
            v.tell_soft(n);
            if !soft {
                v.tell_hard(n);
            }
        })?;
        self.truth().counters.tag_calls.fetch_add(1, SeqCst);
        Ok(())
    }

    fn remove(&self, page: usize) -> Result<(), Error> {
        let call = || self.cache().remove(&[&path(page)]);
        self.change(std::iter::once(&self.truth().pages[page].version), call, |v, n| {
            v.tell_hard(n);
            v.tell_gone(n);
        })?;
        self.truth().counters.removes.fetch_add(1, SeqCst);
        Ok(())
    }

    /// Never joins a render that had started before.
    fn regenerate(&self, page: usize) -> Result<(), Error> {
        let path = path(page);
        let promised = Promised::renewed(self.truth(), page);
        match self.cache().regenerate(&Request::new(&path), false) {
            Ok(Some(answer)) => drop(self.checker().answer("regenerate", &promised, &answer)),
            Ok(None) => self.checker().violations.add(&format!("regenerate {path}: no answer")),
            Err(error) => self.checker().error("regenerate", &path, &error),
        }
        self.truth().counters.regenerated.fetch_add(1, SeqCst);
        Ok(())
    }

    /// As a render would, from outside.
    fn put(&self, page: usize) -> Result<(), Error> {
        let started = self.cache().started();
        let mut facts = Facts::read(self.truth(), page);
        facts.data = key(page).map(|k| self.truth().keys[k].now());
        let mut result = facts.page();
        result.tags.extend(key(page).map(key_tag));
        let counter = match self.cache().put(&path(page), None, result, started)? {
            isr_core::Put::Stored => &self.truth().counters.puts,
            isr_core::Put::NotStored => &self.truth().counters.puts_refused,
        };
        counter.fetch_add(1, SeqCst);
        Ok(())
    }

    fn data(&self, key: usize) -> Result<(), Error> {
        let truth = self.truth();
        truth.counters.data.fetch_add(1, SeqCst);
        let (hard, soft) = (truth.keys[key].hard(), truth.keys[key].soft());
        let name = site::data_key(key);
        let name = [name[0].as_str(), name[1].as_str()];
        let options = site::data_options(key);
        let got = self.cache().data(None, &name, &options, site::loader(truth, key))?;
        let least = match got.cache() {
            isr_core::CacheWord::Hit => hard.max(soft),
            isr_core::CacheWord::StaleError => 0,
            _ => hard,
        };
        match Facts::of_value(got.value()) {
            None => self
                .checker()
                .violations
                .add(&format!("torn: data {key}, {} bytes", got.value().len())),
            Some(facts) if facts.path != name.join("/") => {
                self.checker().violations.add(&format!("wrong data: {key}: got {facts:?}"));
            }
            Some(facts) if facts.version < least => {
                self.checker().violations.add(&format!(
                    "too old: data {key}: {:?} {facts:?}, promised {least}",
                    got.cache()
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A path that nobody asks for again.
    fn flood(&mut self) -> Result<(), Error> {
        self.flooded += 1;
        let path = format!("/flood/{}-{}-{}", std::process::id(), fastrand::u32(..), self.flooded);
        let answer = site::get(self.cache(), &path)?;
        if Facts::of_page(answer.page()).is_none_or(|facts| facts.path != path) {
            self.checker().violations.add(&format!("torn or wrong: {path}"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Wait,
    Try,
    Prefetch,
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Ask::Wait => "get",
            Ask::Try => "try_get",
            Ask::Prefetch => "prefetch",
        }
    }
}
