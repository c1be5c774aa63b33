//! The routes of a cache as they were added: options resolved, static paths listed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::invalidation::{Invalidations, MAX_TAGS, Tags, check_tag};
use crate::lifetime::Lifetime;
use crate::options::{Options, RouteOptions};
use crate::render::Renderer;
use crate::route::{Params, Pattern};
use crate::sync::RwLock;

/// A route.
pub(crate) struct Route {
    pub(crate) pattern: Pattern,
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
    pub(crate) timeout: Lifetime,
    pub(crate) tags: Tags,
    /// Names of query values that are part of the variant.
    pub(crate) query: Vec<String>,
    /// Request headers that are the sources of variants, in lower case.
    pub(crate) vary: Vec<Box<str>>,
    /// The canonical paths to prerender, in the order given.
    pub(crate) listed: Vec<String>,
    /// Where only listed paths are served.
    closed: Option<HashSet<String>>,
    /// Taken away when the cache closes: a callback may keep the cache alive.
    renderer: RwLock<Option<Arc<dyn Renderer>>>,
}

impl Route {
    pub(crate) fn new(
        pattern: &str,
        options: RouteOptions,
        defaults: &Options,
        inv: &Invalidations,
        renderer: Arc<dyn Renderer>,
    ) -> Result<Route, Error> {
        let pattern = Pattern::parse(pattern)?;
        if options.tags.len() > MAX_TAGS {
            let n = options.tags.len();
            return Err(Error::new(
                ErrorKind::InvalidTag,
                format!("a page has at most {MAX_TAGS} tags; the route gives {n}"),
            ));
        }
        for tag in &options.tags {
            check_tag(tag)?;
        }
        let mut listed = Vec::with_capacity(options.static_params.len());
        let mut seen = HashSet::new();
        let params = options.static_params.iter().map(|p| pattern.path_for(p));
        let own = pattern.is_static().then(|| pattern.path_for(&Params::new()));
        for path in own.into_iter().chain(params) {
            let path = path?;
            if seen.insert(path.clone()) {
                listed.push(path);
            }
        }
        let mut vary: Vec<Box<str>> = Vec::new();
        for (name, header) in &options.vary {
            let header = vary_header(name, header)?;
            if !vary.contains(&header) {
                vary.push(header);
            }
        }
        Ok(Route {
            revalidate: options.revalidate.unwrap_or(defaults.default_revalidate),
            expire: options.expire.unwrap_or(defaults.default_expire),
            timeout: options.timeout.unwrap_or(defaults.default_timeout),
            tags: Tags::of(options.tags.iter().map(|t| inv.tag(t))),
            query: options.query,
            vary,
            listed,
            closed: (!options.dynamic_params).then_some(seen),
            renderer: RwLock::new(Some(renderer)),
            pattern,
        })
    }

    /// The same route for another cache's engine.
    pub(crate) fn again(&self, inv: &Invalidations, renderer: Arc<dyn Renderer>) -> Route {
        Route {
            pattern: self.pattern.clone(),
            revalidate: self.revalidate,
            expire: self.expire,
            timeout: self.timeout,
            tags: Tags::of(self.tags.iter().map(|t| inv.tag(t.name()))),
            query: self.query.clone(),
            vary: self.vary.clone(),
            listed: self.listed.clone(),
            closed: self.closed.clone(),
            renderer: RwLock::new(Some(renderer)),
        }
    }

    /// Whether a path of this route is served at all (`dynamic_params`).
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.closed.as_ref().is_none_or(|listed| listed.contains(path))
    }

    pub(crate) fn renderer(&self) -> Option<Arc<dyn Renderer>> {
        self.renderer.read().clone()
    }

    pub(crate) fn drop_renderer(&self) {
        let taken = self.renderer.write().take();
        drop(taken);
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({})", self.pattern.text())
    }
}

fn vary_header(name: &str, header: &str) -> Result<Box<str>, Error> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if header.is_empty() || header == "*" || !header.bytes().all(token) {
        return Err(Error::invalid(format!(
            "vary of variant \"{name}\" must name a request header; got {header:?}"
        )));
    }
    Ok(header.to_ascii_lowercase().into())
}
