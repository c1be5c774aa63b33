//! Windows: a few words of memory by which a door knows, without a call of the core, that a kept page still answers.
//!
//! Whatever could change the answer of a kept page raises the generation before the call that did it returns; time is shown
//! by a thread that ticks while windows are looked through.

use std::ffi::c_void;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::answer::Answer;
use crate::cache::Cache;
use crate::clock::{Clock, Time, TimeWatcher};
use crate::kept::Kept;
use crate::lifetime::Lifetime;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;

/// How often the time is shown: as coarse as the clock itself.
const TICK: Duration = Duration::from_millis(4);
/// After so many ticks, about a second, it is looked whether anybody looks.
const TICKS_UNSEEN: u32 = 256;
const SECOND: Lifetime = Lifetime::from_nanos(1_000_000_000);
const MILLISECOND: Lifetime = Lifetime::from_nanos(1_000_000);
/// Shown where no time is.
const NO_TIME: f64 = f64::INFINITY;
/// Kept pages that the store has let go may take this part of its bytes, one in so many, before the door is asked to let go
/// of them as well.
const LOST_PART: u64 = 64;
const MAX_LOST: u64 = 16 << 20;

/// Words that one thread of a door reads, laid out as [`Window::words`] says.
#[repr(C)]
struct Words {
    generation: AtomicU32,
    let_go: AtomicU32,
    now: AtomicU64,
    hits: AtomicU64,
    /// Not for the door.
    lost: AtomicU64,
}

impl Words {
    fn change(&self) {
        // What changed was written before.
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn show(&self, now: f64) {
        self.now.store(now.to_bits(), Ordering::Release);
    }

    fn hits(&self) -> u64 {
        f64::from_bits(self.hits.load(Ordering::Relaxed)) as u64
    }
}

/// A view of a cache for one thread of a door, such as an isolate of Node. The door keeps the answers of hits, and gives them
/// again as long as [`hit_in`](Cache::hit_in) and the words allow, without a call.
///
/// Its hits count for the cache as long as it lives and after.
pub struct Window {
    words: Arc<Words>,
    windows: Arc<Windows>,
}

/// For how long an answer may be given again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// As long as the window's `now` is below, which is not after it may be refreshed early: whole milliseconds since 1970. 0: not without asking.
    pub fresh: f64,
    /// The next time at which its age grows: whole milliseconds since 1970, at or before. Then each second after that.
    pub age_turns: f64,
    /// The same for the time that is left, which its head shows.
    pub left_turns: f64,
}

impl Window {
    /// Bytes of [`words`](Window::words).
    pub const LEN: usize = 24;

    /// The words, which lie there as long as the window lives, each of them whole for who reads it, aligned to 8 bytes:
    ///
    /// - bytes 0 to 3, an integer: the generation. It is another one as soon as a call has returned that could change what a
    ///   kept page answers.
    /// - bytes 4 to 7, an integer: not 0 where the door should let go of what [is gone](Kept::is_gone), and say so by
    ///   [`has_let_go`](Window::has_let_go).
    /// - bytes 8 to 15, a double: now, in milliseconds since 1970, at or after the cache's clock when it was last read;
    ///   infinity where it is not shown, until the core is asked again.
    /// - bytes 16 to 23, a double: hits that were answered without a call. The door's thread alone writes here.
    pub fn words(&self) -> *mut c_void {
        Arc::as_ptr(&self.words).cast_mut().cast()
    }

    /// After the door has let go of pages that are gone.
    pub fn has_let_go(&self) {
        self.words.lost.store(0, Ordering::Relaxed);
        self.words.let_go.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.words.generation.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.windows.clock
    }

    #[inline]
    pub(crate) fn is_of(&self, windows: &Arc<Windows>) -> bool {
        Arc::ptr_eq(&self.windows, windows)
    }

    /// By the one thread that counts here.
    #[inline]
    pub(crate) fn count_hit(&self) {
        let hits = f64::from_bits(self.words.hits.load(Ordering::Relaxed)) + 1.0;
        self.words.hits.store(hits.to_bits(), Ordering::Relaxed);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut s = self.windows.state.lock();
        s.open.retain(|words| !Arc::ptr_eq(words, &self.words));
        s.hits_before += self.words.hits();
    }
}

impl Cache {
    /// A view of this cache for one thread.
    pub fn window(&self) -> Window {
        self.engine().windows.open()
    }

    /// As [`hit_kept`](Cache::hit_kept), and for how long the answer may be given again by this window, without a call: as
    /// long as its generation is the one that the door read *before* this call, and its `now` is below [`Seen::fresh`].
    ///
    /// `None` also for a window of another process or cache.
    pub fn hit_in(&self, window: &Window, kept: &Kept) -> Option<(Answer, Seen)> {
        let engine = self.present()?;
        if !window.is_of(&engine.windows) {
            return None;
        }
        let answer = self.hit_kept(kept)?;
        engine.windows.asked();
        let page = answer.page();
        // Other processes say in the directory what they have done: it must be looked at each time.
        let fresh = match engine.store {
            Some(_) => 0.0,
            None => millis_before(page.look_after()),
        };
        let given = answer.given();
        let left_turns = match page.generated().plus(page.revalidate()).next_second(given) {
            // It has just come to whole seconds, and leaves them at once.
            turns if turns == given.plus(SECOND) => given.plus(MILLISECOND),
            turns => turns,
        };
        let seen = Seen {
            fresh,
            age_turns: millis_before(page.generated().next_second(given)),
            left_turns: millis_before(left_turns),
        };
        Some((answer, seen))
    }
}

/// All windows of a cache.
#[derive(Default)]
pub(crate) struct Windows {
    clock: Clock,
    max_lost: u64,
    state: Mutex<State>,
    /// Somebody has asked since this was last looked at.
    asked: AtomicBool,
    ticks: AtomicBool,
    closed: Condvar,
    threads: Arc<Threads>,
}

#[derive(Default)]
struct State {
    open: Vec<Arc<Words>>,
    /// Of windows that are no more.
    hits_before: u64,
    shown: Option<Time>,
    is_closed: bool,
}

impl State {
    fn hits(&self) -> u64 {
        self.hits_before + self.open.iter().map(|words| words.hits()).sum::<u64>()
    }

    fn show(&mut self, now: Time) {
        if self.shown.is_some_and(|shown| now < shown) {
            // Set back: what was in time may be from the future now.
            self.open.iter().for_each(|words| words.change());
        }
        self.shown = Some(now);
        self.open.iter().for_each(|words| words.show(millis_after(now)));
    }

    fn hide(&mut self) {
        self.open.iter().for_each(|words| words.show(NO_TIME));
    }
}

impl Windows {
    pub(crate) fn new(clock: Clock, max_bytes: u64) -> Arc<Windows> {
        let max_lost = (max_bytes / LOST_PART).min(MAX_LOST);
        let windows = Arc::new(Windows { clock, max_lost, ..Windows::default() });
        if let Some(manual) = windows.clock.manual() {
            let watcher: Weak<dyn TimeWatcher> = Arc::<Windows>::downgrade(&windows);
            manual.watch(watcher);
        }
        windows
    }

    fn open(self: &Arc<Self>) -> Window {
        let words = Arc::new(Words {
            generation: AtomicU32::new(0),
            let_go: AtomicU32::new(0),
            now: AtomicU64::new(NO_TIME.to_bits()),
            hits: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut s = self.state.lock();
        s.open.push(words.clone());
        if self.clock.manual().is_some() {
            s.show(self.clock.now());
        }
        drop(s);
        Window { words, windows: self.clone() }
    }

    /// Something has happened that could change what kept pages answer. To be called after it was written, and before who
    /// did it is told that it is done: who asks the core after this sees what was written, who does not sees this.
    pub(crate) fn change(&self) {
        self.state.lock().open.iter().for_each(|words| words.change());
    }

    /// A kept page is not stored any more.
    pub(crate) fn lose(&self, bytes: u64) {
        for words in &self.state.lock().open {
            words.change();
            if words.lost.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max_lost {
                words.let_go.store(1, Ordering::Relaxed);
            }
        }
    }

    /// Hits that were answered without a call.
    pub(crate) fn hits(&self) -> u64 {
        self.state.lock().hits()
    }

    /// A window was looked through: the time is shown from here on.
    fn asked(self: &Arc<Self>) {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
        if !self.ticks.load(Ordering::Acquire) && self.clock.manual().is_none() {
            self.start();
        }
    }

    #[cold]
    fn start(self: &Arc<Self>) {
        let mut s = self.state.lock();
        if s.is_closed || self.ticks.load(Ordering::Acquire) {
            return;
        }
        let windows = self.clone();
        if self.threads.spawn("isr-tick", move || windows.tick()).is_ok() {
            self.ticks.store(true, Ordering::Release);
            s.show(self.clock.now());
        }
    }

    /// Shows the time until nobody looks any more.
    fn tick(&self) {
        let mut s = self.state.lock();
        let mut hits = s.hits();
        let mut ticks = 0;
        while !s.is_closed && !s.open.is_empty() {
            s.show(self.clock.now());
            self.closed.wait_for(&mut s, TICK);
            ticks += 1;
            if ticks % TICKS_UNSEEN == 0 {
                let before = std::mem::replace(&mut hits, s.hits());
                if !self.asked.swap(false, Ordering::Relaxed) && hits == before {
                    break;
                }
            }
        }
        s.hide();
        self.ticks.store(false, Ordering::Release);
    }

    /// Nothing is shown any more.
    pub(crate) fn close(&self) {
        let mut s = self.state.lock();
        s.is_closed = true;
        s.open.iter().for_each(|words| words.change());
        drop(s);
        self.closed.notify_all();
    }

    /// After [`close`](Windows::close): waits for the thread; see [`Threads::join`].
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.threads.join(timeout)
    }
}

impl TimeWatcher for Windows {
    fn time_moved(&self) {
        self.state.lock().show(self.clock.now());
    }
}

/// A double holds whole milliseconds exactly.
fn millis_before(time: Time) -> f64 {
    (time.nanos() / 1_000_000) as f64
}

fn millis_after(time: Time) -> f64 {
    time.nanos().div_ceil(1_000_000) as f64
}
