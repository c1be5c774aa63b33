//! Hits without a call: the pages that JavaScript keeps, and the words that say whether they still answer.

use isr_core::{Cache, Kept, Seen, Window};
use napi::Env;
use napi::bindgen_prelude::{BufferSlice, Int32ArraySlice, Result};
use napi_derive::napi;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::NativeCache;
use crate::page::{JsTime, NativeAnswer};

/// Doubles that say what a kept page answers: [`Seen`], and when it was asked in seconds and nanoseconds. JavaScript reads them
/// instead of an object, which would take longer to make than the rest of a call.
type Said = [AtomicU64; 5];

/// The kept pages of a cache object, by number.
#[napi]
pub struct NativeHits {
    cache: Cache,
    window: Arc<Window>,
    said: Arc<Said>,
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
}

#[napi]
impl NativeHits {
    /// Those of a cache.
    #[napi(constructor, catch_unwind)]
    pub fn new(cache: &NativeCache) -> NativeHits {
        let cache = cache.cache.clone();
        let window = Arc::new(cache.window());
        NativeHits { cache, window, said: Arc::default(), kept: Vec::new(), free: Vec::new() }
    }

    /// The words of the window, see [`Window::words`].
    #[napi(catch_unwind)]
    pub fn words<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        let words = self.window.words().cast();
        // SAFETY: the words live as long as the window, which the finalizer drops after the buffer is gone. Others write to them
        // as atomics of the same size, and JavaScript reads and writes each of them whole.
        unsafe {
            BufferSlice::from_external(env, words, Window::LEN, self.window.clone(), |_, window| {
                drop(window);
            })
        }
    }

    /// The doubles that [`again`](NativeHits::again) writes.
    #[napi(catch_unwind)]
    pub fn seen<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        let said = Arc::as_ptr(&self.said).cast_mut().cast();
        // SAFETY: the doubles live as long as what the finalizer drops after the buffer is gone. They are written as atomics, on
        // the one thread that has the buffer.
        unsafe {
            BufferSlice::from_external(
                env,
                said,
                size_of::<Said>(),
                self.said.clone(),
                |_, said| {
                    drop(said);
                },
            )
        }
    }

    /// Keeps the page of a hit; its number. Not for targets with a query, of which one page may have any number.
    #[napi(catch_unwind)]
    pub fn keep(&mut self, path: String, answer: &NativeAnswer) -> Option<u32> {
        if path.contains(['?', '#']) {
            return None;
        }
        let kept = answer.answer.keep()?;
        Some(match self.free.pop() {
            Some(number) => {
                self.kept[number as usize] = Some(kept);
                number
            }
            None => {
                self.kept.push(Some(kept));
                (self.kept.len() - 1) as u32
            }
        })
    }

    /// A hit of a kept page, what it answers in [`seen`](NativeHits::seen); false where the cache must be asked in full.
    #[napi(catch_unwind)]
    pub fn again(&self, number: u32) -> bool {
        let kept = self.kept.get(number as usize).and_then(Option::as_ref);
        let Some((answer, seen)) = kept.and_then(|kept| self.cache.hit_in(&self.window, kept))
        else {
            return false;
        };
        let Seen { fresh, age_turns, left_turns } = seen;
        let JsTime { secs, nanos } = JsTime::new(answer.given());
        for (word, value) in self.said.iter().zip([fresh, age_turns, left_turns, secs, nanos]) {
            word.store(value.to_bits(), Ordering::Relaxed);
        }
        true
    }

    /// Kept pages were used.
    #[napi(catch_unwind)]
    pub fn mark(&self, numbers: Int32ArraySlice<'_>) {
        for number in numbers.iter().filter_map(|n| usize::try_from(*n).ok()) {
            if let Some(Some(kept)) = self.kept.get(number) {
                kept.mark();
            }
        }
    }

    /// Lets a page go.
    #[napi(catch_unwind)]
    pub fn release(&mut self, number: u32) {
        if self.kept.get_mut(number as usize).and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }

    /// Lets all go that the cache has let go; their numbers.
    #[napi(catch_unwind)]
    pub fn let_go(&mut self) -> Vec<u32> {
        self.window.has_let_go();
        let is_gone = |n: &u32| self.kept[*n as usize].as_ref().is_some_and(Kept::is_gone);
        let gone: Vec<u32> = (0..self.kept.len() as u32).filter(is_gone).collect();
        for number in &gone {
            self.release(*number);
        }
        gone
    }
}
