//! What is true outside of the cache, for all processes: versions and counters in one mapped file, which outlives any of them.
//!
//! Whoever changes content raises its version (`now`), calls the cache, and when the call has returned writes down that from
//! here on nobody may be served less (`told`). A process that is killed in between has promised nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub const TAGS: usize = 8;
pub const KEYS: usize = 6;
pub const PAGES: usize = 32;
const COLD: usize = 1 << 12;
const PERSONAL: usize = 1 << 16;

/// Declares counters with their names.
macro_rules! counters {
    ($($name:ident,)*) => {
        #[repr(C)]
        pub struct Counters { $(pub $name: AtomicU64,)* }
        impl Counters {
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(SeqCst)),)*]
            }
        }
    };
}

counters! {
    requests, hits, foreign_hits, stale, stale_errors, bypasses, waited, errors, busy, timeouts,
    renders, loads, late, regenerated, puts, puts_refused, data,
    path_calls, pattern_calls, layout_calls, tag_calls, soft_calls, removes, hard_after_soft, violations,
}

/// A version that only grows.
#[repr(C)]
pub struct Version {
    now: AtomicU64,
    hard: AtomicU64,
    soft: AtomicU64,
    gone: AtomicU64,
}

impl Version {
    pub fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }
    pub fn change(&self) -> u64 {
        self.now.fetch_add(1, SeqCst) + 1
    }
    /// Nobody may be served less, unless as the last good page.
    pub fn hard(&self) -> u64 {
        self.hard.load(SeqCst)
    }
    pub fn tell_hard(&self, version: u64) {
        self.hard.fetch_max(version, SeqCst);
    }
    /// Nobody may be served less as a hit.
    pub fn soft(&self) -> u64 {
        self.soft.load(SeqCst)
    }
    pub fn tell_soft(&self, version: u64) {
        self.soft.fetch_max(version, SeqCst);
    }
    /// Nobody may be served less at all.
    pub fn gone(&self) -> u64 {
        self.gone.load(SeqCst)
    }
    pub fn tell_gone(&self, version: u64) {
        self.gone.fetch_max(version, SeqCst);
    }
}

/// A page's own version, and the version of its data that a `revalidate_path` of it promised.
#[repr(C)]
pub struct PageTruth {
    pub version: Version,
    data: AtomicU64,
}

impl PageTruth {
    pub fn data(&self) -> u64 {
        self.data.load(SeqCst)
    }
    pub fn tell_data(&self, version: u64) {
        self.data.fetch_max(version, SeqCst);
    }
}

/// The file: atomics alone, and right where all bytes are zero.
#[repr(C)]
pub struct Truth {
    pub counters: Counters,
    ids: AtomicU64,
    pub pages: [PageTruth; PAGES],
    pub tags: [Version; TAGS],
    pub keys: [Version; KEYS],
    /// Renders and loads of the pages that all processes ask for at once.
    pub cold: [AtomicU64; COLD],
    personal: [AtomicU64; PERSONAL],
}

impl Truth {
    /// Maps the file for the rest of the process's life.
    pub fn open(path: &Path) -> &'static Truth {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.expect("the truth opens");
        if file.metadata().expect("the truth is there").len() < size_of::<Truth>() as u64 {
            file.set_len(size_of::<Truth>() as u64).expect("the truth has room");
        }
        // SAFETY: nobody truncates the file, and all who map it use it as the atomics that it consists of.
        let map = unsafe { memmap2::MmapMut::map_mut(&file) }.expect("the truth maps");
        let map = Box::leak(Box::new(map));
        // SAFETY: the mapping is large enough, page aligned, never unmapped, and any bytes are atomics.
        unsafe { &*map.as_ptr().cast::<Truth>() }
    }

    /// A number that no other render or load has.
    pub fn id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst) + 1
    }

    /// Whether nobody else got this personal answer.
    pub fn first_to_get(&self, id: u64) -> bool {
        let (word, bit) = ((id / 64) as usize % PERSONAL, 1 << (id % 64));
        self.personal[word].fetch_or(bit, SeqCst) & bit == 0
    }
}

/// Where broken promises are written down.
pub struct Violations {
    file: std::fs::File,
    truth: &'static Truth,
}

impl Violations {
    pub fn open(path: &Path, truth: &'static Truth) -> Violations {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Violations { file: file.expect("the list of violations opens"), truth }
    }

    pub fn add(&self, text: &str) {
        // A fault that repeats need not fill the disk.
        if self.truth.counters.violations.fetch_add(1, SeqCst) < 200 {
            let line = format!("[{}] {text}\n", std::process::id());
            (&self.file).write_all(line.as_bytes()).expect("violations are written");
        }
    }
}
