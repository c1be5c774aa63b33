//! The routes of a cache as they were added: options resolved, static paths listed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::invalidation::{Invalidations, MAX_TAGS, Tags, check_tag};
use crate::lifetime::Lifetime;
use crate::options::{Options, RouteOptions};
use crate::owner::Owner;
use crate::render::Renderer;
use crate::route::{Params, Pattern};
use crate::sync::RwLock;

/// An owner and its renderer.
type Renders = (Arc<Owner>, Arc<dyn Renderer>);

/// A route.
pub(crate) struct Route {
    pub(crate) pattern: Pattern,
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
    pub(crate) timeout: Lifetime,
    /// Renders at a time.
    pub(crate) max_concurrent: Option<usize>,
    /// XFetch's beta; 0: never.
    pub(crate) early_refresh: f64,
    pub(crate) tags: Tags,
    /// Names of query values that are part of the variant.
    pub(crate) query: Vec<String>,
    /// Request headers that are the sources of variants, in lower case.
    pub(crate) vary: Vec<Box<str>>,
    /// The canonical paths to prerender, in the order given.
    pub(crate) listed: Vec<String>,
    /// Where only listed paths are served.
    closed: Option<HashSet<String>>,
    /// Of each owner that has added it. Taken away when that closes: a callback may keep the cache alive.
    renderers: RwLock<Vec<Renders>>,
}

impl Route {
    pub(crate) fn new(
        pattern: &str,
        options: RouteOptions,
        defaults: &Options,
        inv: &Invalidations,
    ) -> Result<Route, Error> {
        let pattern = Pattern::parse(pattern)?;
        options.check()?;
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
            max_concurrent: options.max_concurrent,
            early_refresh: options.early_refresh.unwrap_or(defaults.early_refresh),
            tags: Tags::of(options.tags.iter().map(|t| inv.tag(t))),
            query: options.query,
            vary,
            listed,
            closed: (!options.dynamic_params).then_some(seen),
            renderers: RwLock::new(Vec::new()),
            pattern,
        })
    }

    /// The same route for another cache's engine, without renderers.
    pub(crate) fn again(&self, inv: &Invalidations) -> Route {
        Route {
            pattern: self.pattern.clone(),
            revalidate: self.revalidate,
            expire: self.expire,
            timeout: self.timeout,
            max_concurrent: self.max_concurrent,
            early_refresh: self.early_refresh,
            tags: Tags::of(self.tags.iter().map(|t| inv.tag(t.name()))),
            query: self.query.clone(),
            vary: self.vary.clone(),
            listed: self.listed.clone(),
            closed: self.closed.clone(),
            renderers: RwLock::new(Vec::new()),
        }
    }

    /// Whether a path of this route is served at all (`dynamic_params`).
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.closed.as_ref().is_none_or(|listed| listed.contains(path))
    }

    /// Whether it was added by this very pattern.
    pub(crate) fn is_for(&self, pattern: &Pattern) -> bool {
        self.pattern.text() == pattern.text()
    }

    /// `Conflict` where the options of another owner's route for the same pattern are not the same.
    pub(crate) fn check_same(&self, other: &Route) -> Result<(), Error> {
        let tags = self.tags.iter().map(|tag| tag.name());
        let differs = if self.revalidate != other.revalidate {
            "revalidate"
        } else if self.expire != other.expire {
            "expire"
        } else if self.timeout != other.timeout {
            "timeout"
        } else if self.max_concurrent != other.max_concurrent {
            "max_concurrent"
        } else if self.early_refresh != other.early_refresh {
            "early_refresh"
        } else if !tags.eq(other.tags.iter().map(|tag| tag.name())) {
            "tags"
        } else if self.query != other.query {
            "query"
        } else if self.vary != other.vary {
            "vary"
        } else if self.listed != other.listed {
            "static_params"
        } else if self.closed.is_some() != other.closed.is_some() {
            "dynamic_params"
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{differs} of \"{}\" must be the same for all who share the cache; it was added before with another one",
                self.pattern.text()
            ),
        ))
    }

    pub(crate) fn add_renderer(&self, owner: &Arc<Owner>, renderer: Arc<dyn Renderer>) {
        self.renderers.write().push((owner.clone(), renderer));
    }

    pub(crate) fn is_of(&self, owner: &Arc<Owner>) -> bool {
        self.renderer(owner).is_some()
    }

    pub(crate) fn renderer(&self, owner: &Arc<Owner>) -> Option<Arc<dyn Renderer>> {
        let renderers = self.renderers.read();
        renderers.iter().find(|(o, _)| Arc::ptr_eq(o, owner)).map(|(_, r)| r.clone())
    }

    /// Who renders for this owner: itself if it can, else who has least to do.
    pub(crate) fn runner(&self, asks: &Arc<Owner>) -> Option<Arc<Owner>> {
        let renderers = self.renderers.read();
        let owners = || renderers.iter().map(|(owner, _)| owner).filter(|o| !o.is_closed());
        let itself = owners().find(|o| Arc::ptr_eq(o, asks));
        itself.or_else(|| owners().min_by_key(|o| o.busy())).cloned()
    }

    pub(crate) fn has_renderers(&self) -> bool {
        !self.renderers.read().is_empty()
    }

    /// To be dropped with no lock held.
    pub(crate) fn remove_renderer(&self, owner: &Arc<Owner>) -> Option<Arc<dyn Renderer>> {
        let mut renderers = self.renderers.write();
        let place = renderers.iter().position(|(o, _)| Arc::ptr_eq(o, owner))?;
        Some(renderers.remove(place).1)
    }

    pub(crate) fn drop_renderers(&self) {
        let taken = std::mem::take(&mut *self.renderers.write());
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
