//! The public Rust API beyond the scenarios: wrong input, jobs, closing, re-entrancy, time-outs, many threads, bounds.

mod bad_input;
mod bounds;
mod clock;
mod close;
mod damage;
mod directory;
mod directory_load;
mod directory_renders;
mod directory_restart;
mod ends;
mod flight;
mod ground;
mod headers;
mod jobs;
mod kept;
mod owners;
mod owners_close;
mod passive;
mod prerender;
mod reentrancy;
mod storm;
mod support;
mod timeouts;
mod window;
