//! Properties of the core that must hold in every order in which its threads may run.
//!
//! `shuttle` runs each test many times, one thread at a time, and chooses at each lock, atomic and channel who goes next: at
//! random, and by PCT, which finds what few well-placed switches break. It knows no weak memory: all atomics count as
//! sequentially consistent. The seed is fixed; `SHUTTLE_RANDOM_SEED` sets another. A failure prints its schedule, which
//! `shuttle::replay` runs again.
//!
//! `cargo test -p libisr-core --features shuttle --test shuttle`

mod ending;
mod flights;
mod forks;
mod invalidation;
mod model;
mod owners;
mod readers;
mod seats;
mod store;
mod waits;

// `seats` takes the pool's source on its own, and the pool takes its locks and threads from here.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../src/sync/mod.rs"]
mod sync;

#[allow(dead_code)]
#[path = "../../src/fork.rs"]
mod fork;

#[allow(dead_code)]
#[path = "../../src/queue.rs"]
mod queue;

#[allow(dead_code)]
#[path = "../../src/lanes.rs"]
mod lanes;

#[allow(dead_code)]
#[path = "../../src/threads.rs"]
mod threads;
