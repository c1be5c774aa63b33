//! The Node addon: converts between JavaScript and the core, and decides nothing.
//!
//! `lib/` (TypeScript) is the public face. What is exported here is private to it, so arguments come with the types that the
//! signatures say; everything else about them is checked by the core.
//!
//! Threads of the cache never run JavaScript: they put an [`event::Event`] into the queue of the isolate that has to act and
//! wake its loop once.
// Exports are registered in the addon alone; a test build sees no use of them.
#![cfg_attr(test, allow(dead_code))]

mod cache;
mod clock;
mod convert;
mod error;
mod event;
mod hits;
mod isolate;
mod job;
mod page;
