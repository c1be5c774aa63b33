//! What the benches share: pages to look up, in which order, how long it took, and how it is told.

mod rows;
mod timing;
mod workload;

pub use rows::Rows;
pub use timing::{Stopwatch, median, thread_nanos};
pub use workload::{available_bytes, cache, fill, get, paths, put, resident_bytes, zipf};
