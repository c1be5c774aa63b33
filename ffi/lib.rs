//! libisr: incremental static regeneration for every server.
//!
//! A cache of rendered pages. You add routes with a callback that renders; the cache answers requests with what is stored,
//! regenerates what is stale in the background, renders what is missing once for all who wait, keeps the last good page when a
//! render fails, and forgets by path or by tag.
//!
//! Open it with `isr_cache_open`, add routes with `isr_cache_add_route`, ask with `isr_get` (or `isr_try_get` and `isr_get_async` on an
//! event loop), send what `isr_answer_head` gives, invalidate with `isr_revalidate_tag` and `isr_revalidate_path`.
//!
//! Conventions
//! - Status: `ISR_STATUS_OK` is 0, failures are negative. `isr_last_error` gives the text: it names the value and the rule.
//!   Accessors that give a value give 0, NULL or `{NULL, 0}` for a wrong handle, and keep status and text in the same way.
//! - Results: out parameters come last, and are written on success alone.
//! - Texts: `isr_str` is UTF-8 with a length. Names that a program writes down (options, params, headers to look up) are
//!   NUL-terminated. Inputs are copied before a call returns.
//! - Ownership: "borrowed" is valid as long as the object that it came from; "owned" is given back with the `_free` or `_unref` that
//!   the text names; "consumed" is the library's from then on, also where the call fails. Every `_free` and `_unref` takes NULL.
//! - Seconds are `double`, with a fraction; `ISR_NEVER` (infinity) is never, or no limit.
//! - Structs that begin with `struct_size` start from their `_INIT` macro.
//! - Callbacks get `user_data` first. The free function that comes with it is called exactly once, on every path. They run with no lock
//!   held, may run concurrently, may call back into the cache, and must not throw.
//! - Threads: "any" means any thread at any time; "one at a time per object" means that the caller keeps others away from that object.
//! - A handle that is NULL, of another type, or was freed a short while ago is noticed: `ISR_STATUS_INVALID_ARGUMENT`.
//! - A panic inside the library is caught at its edge: `ISR_STATUS_PANIC`.
//! - Fork: parent and child go on with the cache; jobs of the parent are `ISR_STATUS_FINISHED` in the child.
//!
//! The whole story is in docs/c-api.md; what the words mean exactly, in the semantics of libisr.
#![allow(non_camel_case_types, reason = "the names are those of the C header")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the docs become the C header, and say it in C's words"
)]

mod answer;
mod cache;
mod callback;
mod clock;
mod context;
mod data;
mod draft;
mod get;
mod given;
mod guard;
mod handle;
mod head;
mod load;
mod lock;
mod named;
mod options;
mod page;
mod params;
mod prerender;
mod put;
mod render;
mod request;
mod result;
mod route;
mod stats;
mod status;
mod types;
mod version;
