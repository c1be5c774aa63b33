//! Counters, and what runs at the moment.

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the cache was opened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Every counter by its stable name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

stats! {
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
    /// Entries evicted to keep `max_bytes`.
    evictions,
    /// Stored pages and data entries at the moment.
    entries_stored,
    /// Bytes they take, the engine's own cost included.
    bytes_stored,
}

/// What runs and waits at one moment. Quiet: `running == waiting`, and `queued == 0` unless all threads are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Renders and background loads that wait for a thread.
    pub queued: usize,
    /// Renders and loads begun and not ended.
    pub running: usize,
    /// Of these, those that wait for another one.
    pub waiting: usize,
    /// Grows with each change of the other numbers: two equal values mean that nothing happened in between.
    pub version: u64,
}
