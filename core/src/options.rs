//! The one table of options of a cache and of a route.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::error::{Error, OnTrouble};
use crate::lifetime::Lifetime;
use crate::route::Params;

/// Options of a cache. Start from [`Options::default`], or set by name with [`Options::set`] as the bindings do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Separates builds: another deployment's pages are never served. Default empty.
    pub deployment: String,
    /// Bytes of memory for pages and data entries, the engine's own cost included. Default 256 MiB.
    pub max_bytes: u64,
    /// Largest body that is stored. Default 16 MiB.
    pub max_entry_bytes: u64,
    /// For how long after its expiry a page is served in place of an error. Default no limit; zero switches it off.
    pub stale_if_error: Lifetime,
    /// Up to this part of a back-off is added at random, 0 to 1. Default 0.1.
    pub backoff_jitter: f64,
    /// How many renders may wait for a thread. The last quarter of them, rounded down, is for those that somebody waits for.
    /// Default 1000.
    pub max_queue: usize,
    /// Renders at a time. Default 8.
    pub threads: usize,
    /// Regenerations in the background (and background loads of data entries) at a time, at least 1. Default `None`: three
    /// quarters of `threads`, rounded up, so that a missing page finds a thread.
    pub max_regenerations: Option<usize>,
    /// Of these, those of pages (or data entries) with the same tag, at least 1. Default `None`: no limit.
    pub max_regenerations_per_tag: Option<usize>,
    /// How eagerly pages are regenerated before they are stale (XFetch's beta), 0 to 100, for routes that do not say.
    /// 1 is the usual choice. Default 0: not at all.
    pub early_refresh: f64,
    /// `revalidate` of routes that give none. Default never.
    pub default_revalidate: Lifetime,
    /// `expire` of routes that give none. Default one year.
    pub default_expire: Lifetime,
    /// `timeout` of routes that give none. Default 60 s.
    pub default_timeout: Lifetime,
    /// Variants of one path that are stored. Default 64.
    pub max_variants: usize,
    /// Invalidations that are remembered one by one; beyond, the oldest are merged. Default 100,000.
    pub max_invalidations: usize,
    /// Statuses that may be stored. Default: section 7 of the semantics.
    pub storable_statuses: Vec<u16>,
    /// Signs draft tokens; at least 16 bytes. Default: random for each cache.
    pub draft_secret: Option<Vec<u8>>,
    /// Encodings in which pages are kept beside the plain one. Default none.
    pub precompress: Vec<crate::http::Encoding>,
    /// Where pages, data entries and invalidations are kept over restarts and shared with the other processes of the machine
    /// that open the same directory (semantics, section 11). Made if it is not there. Default none: memory alone.
    pub directory: Option<PathBuf>,
    /// Bytes of the directory's disk that pages and data entries may take; whole blocks of 4 KiB count. Default 16 GiB.
    pub max_disk_bytes: u64,
    /// Whether an invalidation and a stored page are on the disk (fsync) before the call returns, so that not even a power
    /// loss undoes them. Default no: they survive the death of any process, not that of the machine.
    pub durable: bool,
    /// Names the cache in its process: all who open this name there share one cache, with its memory, renders and counters,
    /// and must give the same options. See [`Cache::open`](crate::Cache::open). Default none: a cache of one's own.
    pub name: Option<String>,
    /// Told once of each kind of trouble with the directory, from any thread; memory goes on alone. Default nobody.
    pub on_trouble: Option<OnTrouble>,
    /// Where time is read. Default the system.
    pub clock: Clock,
}

/// A value of an option, as it comes from another language.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// Seconds, bytes or a count.
    Number(f64),
    /// No limit, or never.
    Never,
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            deployment: String::new(),
            max_bytes: 256 << 20,
            max_entry_bytes: 16 << 20,
            stale_if_error: Lifetime::NEVER,
            backoff_jitter: 0.1,
            max_queue: 1000,
            threads: 8,
            max_regenerations: None,
            max_regenerations_per_tag: None,
            early_refresh: 0.0,
            default_revalidate: Lifetime::NEVER,
            default_expire: Lifetime::YEAR,
            default_timeout: Lifetime::from_secs(60),
            max_variants: 64,
            max_invalidations: 100_000,
            storable_statuses: vec![200, 203, 301, 302, 303, 307, 308, 404, 410],
            draft_secret: None,
            precompress: Vec::new(),
            directory: None,
            max_disk_bytes: 16 << 30,
            durable: false,
            name: None,
            on_trouble: None,
            clock: Clock::system(),
        }
    }
}

impl Options {
    /// Every name that [`Options::set`] knows.
    pub const NAMES: &'static [&'static str] = &[
        "deployment",
        "max_bytes",
        "max_entry_bytes",
        "stale_if_error",
        "backoff_jitter",
        "max_queue",
        "threads",
        "max_regenerations",
        "max_regenerations_per_tag",
        "early_refresh",
        "default_revalidate",
        "default_expire",
        "default_timeout",
        "max_variants",
        "max_invalidations",
        "storable_statuses",
        "draft_secret",
        "precompress",
        "directory",
        "max_disk_bytes",
        "durable",
        "name",
    ];

    /// Sets one option by its name.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name, a wrong type or a value out of range; the text names the value and the rule.
    pub fn set(&mut self, name: &str, value: OptionValue) -> Result<(), Error> {
        match name {
            "deployment" => self.deployment = text(name, value)?,
            "max_bytes" => self.max_bytes = whole(name, value, 0)?,
            "max_entry_bytes" => self.max_entry_bytes = whole(name, value, 0)?,
            "stale_if_error" => self.stale_if_error = lifetime(name, value)?,
            "backoff_jitter" => self.backoff_jitter = fraction(name, value)?,
            "max_queue" => self.max_queue = whole(name, value, 0)? as usize,
            "threads" => self.threads = whole(name, value, 1)?.min(MAX_THREADS) as usize,
            "max_regenerations" => {
                self.max_regenerations = Some(limit(name, value)?.unwrap_or(usize::MAX));
            }
            "max_regenerations_per_tag" => self.max_regenerations_per_tag = limit(name, value)?,
            "early_refresh" => self.early_refresh = early_refresh(value)?,
            "default_revalidate" => self.default_revalidate = lifetime(name, value)?,
            "default_expire" => self.default_expire = lifetime(name, value)?,
            "default_timeout" => self.default_timeout = lifetime(name, value)?,
            "max_variants" => self.max_variants = whole(name, value, 0)? as usize,
            "max_invalidations" => self.max_invalidations = whole(name, value, 1)? as usize,
            "storable_statuses" => {
                self.storable_statuses =
                    texts(name, value)?.iter().map(|s| status(s)).collect::<Result<_, _>>()?;
            }
            "draft_secret" => self.draft_secret = Some(text(name, value)?.into_bytes()),
            "precompress" => {
                self.precompress =
                    texts(name, value)?.iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
            }
            "directory" => self.directory = Some(text(name, value)?.into()),
            "max_disk_bytes" => self.max_disk_bytes = whole(name, value, 0)?,
            "durable" => self.durable = flag(name, value)?,
            "name" => self.name = Some(text(name, value)?),
            _ => {
                return Err(Error::invalid(format!(
                    "unknown option \"{name}\"; known are {}",
                    Options::NAMES.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Checks values that were set as fields.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.threads == 0 || self.threads as u64 > MAX_THREADS {
            return Err(Error::invalid(format!(
                "threads must be 1 to {MAX_THREADS}; got {}",
                self.threads
            )));
        }
        fraction("backoff_jitter", OptionValue::Number(self.backoff_jitter))?;
        early_refresh(OptionValue::Number(self.early_refresh))?;
        let limits = [
            ("max_regenerations", self.max_regenerations),
            ("max_regenerations_per_tag", self.max_regenerations_per_tag),
        ];
        for (name, limit) in limits {
            check_limit(name, limit)?;
        }
        for s in &self.storable_statuses {
            if !(200..500).contains(s) || matches!(s, 206 | 304) {
                return Err(Error::invalid(format!(
                    "storable_statuses takes 200 to 499 but not 206 and 304; got {s}"
                )));
            }
        }
        if self.name.as_ref().is_some_and(String::is_empty) {
            return Err(Error::invalid("name must not be empty"));
        }
        if self.directory.as_ref().is_some_and(|d| d.as_os_str().is_empty()) {
            return Err(Error::invalid("directory must not be empty"));
        }
        if self.draft_secret.as_ref().is_some_and(|s| s.len() < 16) {
            return Err(Error::invalid("draft_secret must have at least 16 bytes"));
        }
        Ok(())
    }

    /// How many regenerations may run in the background at a time.
    pub(crate) fn most_regenerations(&self) -> usize {
        let most = self.max_regenerations.unwrap_or(self.threads - self.threads / 4);
        most.min(self.threads)
    }
}

/// More threads than this help nobody and cost address space.
const MAX_THREADS: u64 = 1024;

fn wrong(name: &str, rule: &str, value: &OptionValue) -> Error {
    let got = match value {
        OptionValue::Number(n) => n.to_string(),
        OptionValue::Never => "never".to_string(),
        OptionValue::Text(t) => format!("\"{t}\""),
        OptionValue::Texts(t) => format!("{t:?}"),
    };
    Error::invalid(format!("{name} must be {rule}; got {got}"))
}

fn text(name: &str, value: OptionValue) -> Result<String, Error> {
    match value {
        OptionValue::Text(t) => Ok(t),
        other => Err(wrong(name, "a text", &other)),
    }
}

fn texts(name: &str, value: OptionValue) -> Result<Vec<String>, Error> {
    match value {
        OptionValue::Texts(t) => Ok(t),
        OptionValue::Text(t) => {
            Ok(t.split(',').map(|s| s.trim().to_string()).filter(|s| !s.is_empty()).collect())
        }
        other => Err(wrong(name, "a list of texts", &other)),
    }
}

fn whole(name: &str, value: OptionValue, least: u64) -> Result<u64, Error> {
    match value {
        OptionValue::Number(n) if n.fract() == 0.0 && n >= least as f64 && n <= 9e15 => {
            Ok(n as u64)
        }
        other => Err(wrong(name, &format!("a whole number from {least} to 9e15"), &other)),
    }
}

fn flag(name: &str, value: OptionValue) -> Result<bool, Error> {
    match value {
        OptionValue::Number(0.0) => Ok(false),
        OptionValue::Number(1.0) => Ok(true),
        other => Err(wrong(name, "0 or 1", &other)),
    }
}

fn fraction(name: &str, value: OptionValue) -> Result<f64, Error> {
    match value {
        OptionValue::Number(n) if (0.0..=1.0).contains(&n) => Ok(n),
        other => Err(wrong(name, "a number from 0 to 1", &other)),
    }
}

/// A bound of at least 1; never is none.
fn limit(name: &str, value: OptionValue) -> Result<Option<usize>, Error> {
    match value {
        OptionValue::Never => Ok(None),
        value => Ok(Some(whole(name, value, 1)? as usize)),
    }
}

/// The same for one that was set as a field.
fn check_limit(name: &str, limit: Option<usize>) -> Result<(), Error> {
    if limit == Some(0) {
        return Err(Error::invalid(format!("{name} must be at least 1; got 0")));
    }
    Ok(())
}

fn early_refresh(value: OptionValue) -> Result<f64, Error> {
    match value {
        OptionValue::Number(n) if (0.0..=100.0).contains(&n) => Ok(n),
        other => Err(wrong("early_refresh", "a number from 0 to 100", &other)),
    }
}

fn lifetime(name: &str, value: OptionValue) -> Result<Lifetime, Error> {
    match value {
        OptionValue::Number(n) => Lifetime::from_secs_f64(name, n),
        OptionValue::Never => Ok(Lifetime::NEVER),
        other => Err(wrong(name, "a number of seconds, or never", &other)),
    }
}

fn status(s: &str) -> Result<u16, Error> {
    s.parse().map_err(|_| Error::invalid(format!("storable_statuses takes numbers; got \"{s}\"")))
}

/// Options of a route.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// Seconds until a page is stale. `None`: the cache's `default_revalidate`.
    pub revalidate: Option<Lifetime>,
    /// Seconds until a page is expired. `None`: the cache's `default_expire`.
    pub expire: Option<Lifetime>,
    /// Whether paths that `static_params` does not list are rendered (Next.js `dynamicParams`).
    pub dynamic_params: bool,
    /// The paths to prerender (Next.js `generateStaticParams`).
    pub static_params: Vec<Params>,
    /// Tags of every page of this route.
    pub tags: Vec<String>,
    /// Seconds a render may take. `None`: the cache's `default_timeout`.
    pub timeout: Option<Lifetime>,
    /// Names of query values that become part of the variant.
    pub query: Vec<String>,
    /// Variant name and the request header that it comes from; the header is named in `vary`.
    pub vary: Vec<(String, String)>,
    /// Renders of this route at a time, whatever they are for; at least 1. One that waits for another page does not count
    /// meanwhile. `None`: no limit but the cache's `threads`.
    pub max_concurrent: Option<usize>,
    /// How eagerly its pages are regenerated before they are stale; 0 to 100. `None`: the cache's `early_refresh`.
    pub early_refresh: Option<f64>,
}

impl RouteOptions {
    /// Sets an option that is a number by its name: `revalidate`, `expire`, `timeout`, `max_concurrent`, `early_refresh`.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown name, a wrong type or a value out of range; the text names the value and the rule.
    pub fn set(&mut self, name: &str, value: OptionValue) -> Result<(), Error> {
        match name {
            "revalidate" => self.revalidate = Some(lifetime(name, value)?),
            "expire" => self.expire = Some(lifetime(name, value)?),
            "timeout" => self.timeout = Some(lifetime(name, value)?),
            "max_concurrent" => self.max_concurrent = limit(name, value)?,
            "early_refresh" => self.early_refresh = Some(early_refresh(value)?),
            _ => {
                return Err(Error::invalid(format!(
                    "unknown route option \"{name}\"; known numbers are revalidate, expire, timeout, max_concurrent, \
                     early_refresh"
                )));
            }
        }
        Ok(())
    }

    /// Checks values that were set as fields.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_limit("max_concurrent", self.max_concurrent)?;
        if let Some(beta) = self.early_refresh {
            early_refresh(OptionValue::Number(beta))?;
        }
        Ok(())
    }
}

impl Default for RouteOptions {
    fn default() -> RouteOptions {
        RouteOptions {
            revalidate: None,
            expire: None,
            dynamic_params: true,
            static_params: Vec::new(),
            tags: Vec::new(),
            timeout: None,
            query: Vec::new(),
            vary: Vec::new(),
            max_concurrent: None,
            early_refresh: None,
        }
    }
}
