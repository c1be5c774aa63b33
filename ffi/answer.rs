//! What a request gets: a page, and how it came about.

use std::ffi::{CStr, c_char};

use isr_core::{CacheWord, State};

use crate::handle::{acquire, release};
use crate::page::isr_page;
use crate::status::isr_status;
use crate::{given, guard};

/// An answer to a request. Immutable and counted; it keeps its page alive.
pub struct isr_answer {
    _opaque: (),
}

/// How an answer came about.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum isr_cache_word {
    /// No answer: the handle was wrong.
    None = 0,
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

impl From<CacheWord> for isr_cache_word {
    fn from(word: CacheWord) -> isr_cache_word {
        match word {
            CacheWord::Hit => isr_cache_word::Hit,
            CacheWord::Stale => isr_cache_word::Stale,
            CacheWord::Miss => isr_cache_word::Miss,
            CacheWord::Revalidated => isr_cache_word::Revalidated,
            CacheWord::StaleError => isr_cache_word::StaleError,
            CacheWord::Bypass => isr_cache_word::Bypass,
        }
    }
}

/// The state of what is stored.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum isr_state {
    /// Nothing is stored.
    Missing = 0,
    /// Served as it is.
    Fresh = 1,
    /// Served, and due for a regeneration.
    Stale = 2,
    /// Served in place of an error only.
    Expired = 3,
}

impl From<State> for isr_state {
    fn from(state: State) -> isr_state {
        match state {
            State::Missing => isr_state::Missing,
            State::Fresh => isr_state::Fresh,
            State::Stale => isr_state::Stale,
            State::Expired => isr_state::Expired,
        }
    }
}

const WORDS: [&CStr; 7] =
    [c"none", c"hit", c"stale", c"miss", c"revalidated", c"stale-error", c"bypass"];
const STATES: [&CStr; 4] = [c"missing", c"fresh", c"stale", c"expired"];

/// The lower-case name of an `isr_cache_word`: `stale-error`; `unknown` for a number that is none.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_cache_word_name(word: i32) -> *const c_char {
    name_of(&WORDS, word)
}

/// The lower-case name of an `isr_state`; `unknown` for a number that is none.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_state_name(state: i32) -> *const c_char {
    name_of(&STATES, state)
}

pub(crate) fn name_of(names: &[&'static CStr], number: i32) -> *const c_char {
    usize::try_from(number).ok().and_then(|n| names.get(n)).unwrap_or(&c"unknown").as_ptr()
}

/// Adds a reference and gives the answer back; NULL for a wrong handle.
///
/// Ownership: give each reference back with `isr_answer_unref`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_ref(answer: *const isr_answer) -> *mut isr_answer {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null_mut(), || unsafe { acquire(answer) })
}

/// Gives a reference back. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_unref(answer: *mut isr_answer) -> isr_status {
    // SAFETY: the header demands NULL or a reference that the caller owns.
    guard::status(|| unsafe { release(answer) })
}

/// The page; NULL for a wrong handle.
///
/// Ownership: borrowed from the answer; `isr_page_ref` keeps it longer.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_page(answer: *const isr_answer) -> *const isr_page {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null(), || unsafe { given::page_of(answer) })
}

/// How the answer came about.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_cache(answer: *const isr_answer) -> isr_cache_word {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_cache_word::None, || Ok(unsafe { given::read(answer) }?.cache().into()))
}

/// Whole seconds since the page was generated, at the time of the answer.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_age(answer: *const isr_answer) -> u64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { given::read(answer) }?.age_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_core() {
        for word in CacheWord::ALL {
            assert_eq!(isr_cache_word::from(*word) as i32, *word as i32);
            assert_eq!(WORDS[*word as usize].to_str(), Ok(word.name()));
        }
        for state in [State::Missing, State::Fresh, State::Stale, State::Expired] {
            assert_eq!(isr_state::from(state) as i32, state as i32);
            assert_eq!(STATES[state as usize].to_str(), Ok(state.name()));
        }
    }
}
