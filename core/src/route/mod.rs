//! Which route serves a path, and under which key: canonical paths, patterns, params, variants. Pure.

mod path;
mod pattern;
mod router;
mod variant;

pub use path::{Canonical, canonical};
pub use pattern::{ParamValue, Params, Pattern};
pub use variant::Variant;

pub(crate) use router::Router;
