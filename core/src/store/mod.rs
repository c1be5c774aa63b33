//! The directory: pages, data entries and invalidations that outlive a process and are shared by all of a machine.
#![allow(dead_code)]

pub(crate) mod codec;
mod dirs;
pub(crate) mod files;
pub(crate) mod janitor;
pub(crate) mod place;
