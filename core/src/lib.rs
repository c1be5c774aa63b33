//! The core of libisr: all semantics of incremental static regeneration.
//!
//! Start with [`Cache`]. The bindings (C, Python, Node) convert, and decide nothing.
#![deny(missing_docs)]

mod answer;
mod cache;
mod clock;
mod data;
mod draft;
mod engine;
mod error;
mod flight;
mod fork;
pub mod http;
mod invalidation;
mod kept;
mod lanes;
mod lifetime;
mod links;
mod memory;
mod oneshot;
mod opening;
mod options;
mod owner;
mod page;
mod policy;
mod pool;
mod queue;
mod render;
mod route;
mod site;
mod stats;
mod store;
mod sync;
mod threads;
mod timers;
mod window;

pub use answer::{Answer, CacheWord, Peek, State};
pub use cache::{
    AnswerDone, Cache, OnProgress, PathType, PrerenderDone, PrerenderProgress, PrerenderReport,
    Put, RegenerateDone, Request, Started, TagOptions, WeakCache,
};
pub use clock::{Clock, ManualClock, Time};
pub use data::{DataAnswer, DataDone, DataOptions, LoadJob, Loader};
pub use error::{Error, ErrorKind, OnTrouble, target_utf8, utf8};
pub use kept::{Kept, Stood};
pub use lifetime::Lifetime;
pub use options::{OptionValue, Options, RouteOptions};
pub use page::{Page, PageResult};
pub use render::{Context, Entered, Reason, RenderJob, Renderer};
pub use route::{Canonical, ParamValue, Params, Variant, canonical};
pub use stats::{Activity, Stats};
pub use window::{Seen, Window};
