//! What a request gets.

use crate::clock::Time;
use crate::http::{Conditions, Head};
use crate::page::Page;

/// How an answer came about (semantics, section 3). Codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CacheWord {
    /// A fresh stored page.
    Hit = 1,
    /// A stored page that is no longer fresh, at once; it regenerates in the background.
    Stale = 2,
    /// Nothing was stored: rendered.
    Miss = 3,
    /// The stored page had expired: rendered again.
    Revalidated = 4,
    /// The last good page, because its regeneration failed.
    StaleError = 5,
    /// Not from the store and not for it.
    Bypass = 6,
}

impl CacheWord {
    /// All words.
    pub const ALL: &'static [CacheWord] = &[
        CacheWord::Hit,
        CacheWord::Stale,
        CacheWord::Miss,
        CacheWord::Revalidated,
        CacheWord::StaleError,
        CacheWord::Bypass,
    ];

    /// The lower-case name (`stale-error`).
    pub const fn name(self) -> &'static str {
        match self {
            CacheWord::Hit => "hit",
            CacheWord::Stale => "stale",
            CacheWord::Miss => "miss",
            CacheWord::Revalidated => "revalidated",
            CacheWord::StaleError => "stale-error",
            CacheWord::Bypass => "bypass",
        }
    }
}

/// The state of what is stored (semantics, section 3). Codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum State {
    /// Nothing is stored.
    Missing = 0,
    /// Served as it is.
    Fresh = 1,
    /// Served, and due for a regeneration.
    Stale = 2,
    /// Served in place of an error only.
    Expired = 3,
}

impl State {
    /// The lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            State::Missing => "missing",
            State::Fresh => "fresh",
            State::Stale => "stale",
            State::Expired => "expired",
        }
    }
}

/// An answer to a request: a page and how it came about. Cheap to clone; keeps the page alive.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) page: Page,
    pub(crate) word: CacheWord,
    pub(crate) stored: bool,
    pub(crate) invalidated: bool,
    pub(crate) now: Time,
}

impl Answer {
    /// The page.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// How the answer came about.
    pub fn cache(&self) -> CacheWord {
        self.word
    }

    /// Whole seconds since the page was generated, at the time of the answer.
    pub fn age_secs(&self) -> u64 {
        self.now.since(self.page.generated()).nanos().unwrap_or(0) / 1_000_000_000
    }

    /// When it was given.
    pub fn given(&self) -> Time {
        self.now
    }

    /// The same answer as it is at another time: for who gives it again by a [`Window`](crate::Window).
    pub fn at(&self, now: Time) -> Answer {
        Answer { now, ..self.clone() }
    }

    /// Status, headers and body to send for this request (semantics, section 10).
    pub fn head(&self, conditions: &Conditions<'_>) -> Head<'_> {
        self.page.head(self, conditions)
    }
}

/// What is stored under a path, without touching it.
#[derive(Clone, Debug)]
pub struct Peek {
    pub(crate) state: State,
    pub(crate) page: Option<Page>,
    pub(crate) age_secs: u64,
}

impl Peek {
    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The stored page; `None` where missing.
    pub fn page(&self) -> Option<&Page> {
        self.page.as_ref()
    }

    /// Whole seconds since it was generated; 0 where missing.
    pub fn age_secs(&self) -> u64 {
        self.age_secs
    }
}
