//! Counters, and what runs at the moment.

use crate::lanes::LaneCounter;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

macro_rules! stats {
    (counted { $($(#[$doc:meta])* $name:ident: $kind:ident,)* } measured { $($(#[$mdoc:meta])* $mname:ident,)* }) => {
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
        pub(crate) struct Counters { $(pub(crate) $name: $kind,)* }

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
        hits: LaneCounter,
        /// Requests answered with a stale page.
        stale: Counter,
        /// Requests that waited for a missing page.
        misses: Counter,
        /// Requests that waited for an expired page.
        revalidated: Counter,
        /// Requests answered with the last good page because a regeneration failed.
        stale_errors: Counter,
        /// Requests answered past the store.
        bypasses: Counter,
        /// Requests that got an error.
        errors: Counter,
        /// Renders begun.
        renders: Counter,
        /// Renders that failed, time-outs included.
        render_failures: Counter,
        /// Renders that timed out.
        render_timeouts: Counter,
        /// Loads of data entries begun.
        loads: Counter,
        /// Loads that failed.
        load_failures: Counter,
        /// Results that were too large to be stored.
        too_large: Counter,
        /// Calls of `revalidate_path`, `revalidate_tag` and `remove`.
        invalidations: Counter,
        /// Pages and data entries read from the directory.
        disk_reads: Counter,
        /// Pages and data entries written to the directory.
        disk_writes: Counter,
        /// Operations on the directory that failed, and files of it that were damaged.
        disk_errors: Counter,
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

/// Of what is rare beside a hit.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
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
