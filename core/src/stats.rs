//! Counters, and what runs at the moment.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, global};

macro_rules! stats {
    (counted { $($(#[$doc:meta])* $name:ident,)* } measured { $($(#[$mdoc:meta])* $mname:ident,)* }) => {
        /// Counters since the cache was opened, and the size of the store.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* $($(#[$mdoc])* pub $mname: u64,)* }

        impl Stats {
            /// Every counter by its stable name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)* $((stringify!($mname), self.$mname),)*]
            }
        }

        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.read(),)* ..Stats::default() }
            }
        }
    };
}

stats! {
    counted {
        /// Requests answered with a fresh stored page.
        hits,
        /// Requests answered with a stale page.
        stale,
        /// Requests that waited for a missing page.
        misses,
        /// Requests that waited for an expired page.
        revalidated,
        /// Requests answered with the last good page because a regeneration failed.
        stale_errors,
        /// Requests answered past the store.
        bypasses,
        /// Requests that got an error.
        errors,
        /// Renders begun.
        renders,
        /// Renders that failed, time-outs included.
        render_failures,
        /// Renders that timed out.
        render_timeouts,
        /// Loads of data entries begun.
        loads,
        /// Loads that failed.
        load_failures,
        /// Results that were too large to be stored.
        too_large,
        /// Calls of `revalidate_path`, `revalidate_tag` and `remove`.
        invalidations,
        /// Pages and data entries read from the directory.
        disk_reads,
        /// Pages and data entries written to the directory.
        disk_writes,
        /// Operations on the directory that failed, and files of it that were damaged.
        disk_errors,
    }
    measured {
        /// Entries evicted to keep `max_bytes`.
        evictions,
        /// Stored pages and data entries at the moment.
        entries_stored,
        /// Bytes they take, the engine's own cost included.
        bytes_stored,
        /// Bytes that the files of the directory take, of all processes; whole blocks of 4 KiB count.
        disk_bytes,
    }
}

const STRIPES: usize = 16;

/// A counter that many threads raise without sharing a cache line.
#[derive(Default)]
pub(crate) struct Counter([Stripe; STRIPES]);

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        STRIPE.with(|s| self.0[*s].0.fetch_add(1, Ordering::Relaxed));
    }

    fn read(&self) -> u64 {
        self.0.iter().map(|s| s.0.load(Ordering::Relaxed)).sum()
    }
}

crate::sync::thread_local! {
    static STRIPE: usize = {
        global! { static NEXT: AtomicU64 = AtomicU64::new(0); }
        NEXT.fetch_add(1, Ordering::Relaxed) as usize % STRIPES
    };
}

/// What runs and waits at one moment. Nothing goes on when `running == waiting` and `queued == 0`; with callbacks that the
/// embedder itself holds up, when `running == waiting + held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Renders and background loads that wait for a thread.
    pub queued: usize,
    /// Renders and loads that have a thread, or are finished elsewhere, and have not ended. One that timed out has ended.
    pub running: usize,
    /// Of these, those that wait for another one.
    pub waiting: usize,
    /// Grows with each change of the other numbers: two equal values mean that nothing happened in between.
    pub version: u64,
}

/// Counts unfinished flights, so that closing can wait for them.
#[derive(Default)]
pub(crate) struct Flights {
    state: Mutex<Alive>,
    none: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Alive {
    unfinished: usize,
    waiting: usize,
    version: u64,
}

impl Flights {
    pub(crate) fn begin(&self) {
        let mut s = self.state.lock();
        s.unfinished += 1;
        s.version += 1;
    }

    pub(crate) fn end(&self) {
        let mut s = self.state.lock();
        s.unfinished -= 1;
        s.version += 1;
        if s.unfinished == 0 {
            self.none.notify_all();
        }
    }

    pub(crate) fn begin_waiting(&self) {
        let mut s = self.state.lock();
        s.waiting += 1;
        s.version += 1;
    }

    pub(crate) fn end_waiting(&self) {
        let mut s = self.state.lock();
        s.waiting -= 1;
        s.version += 1;
    }

    /// `queued` is read while nothing can begin or end.
    pub(crate) fn snapshot(&self, queued: impl FnOnce() -> usize) -> Activity {
        let s = self.state.lock();
        let queued = queued();
        Activity {
            queued,
            running: s.unfinished.saturating_sub(queued),
            waiting: s.waiting,
            version: s.version,
        }
    }

    /// Waits until none is unfinished; whether that came in time.
    pub(crate) fn wait_for_none(&self, timeout: std::time::Duration) -> bool {
        let mut s = self.state.lock();
        self.none.wait_while_for(&mut s, |s| s.unfinished > 0, timeout);
        s.unfinished == 0
    }
}
