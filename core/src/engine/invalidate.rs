//! The calls that invalidate (semantics, section 6): checked whole, then carried out whole.

use crate::cache::{PathType, TagOptions};
use crate::engine::Engine;
use crate::error::Error;
use crate::invalidation::{Strength, Subject, check_tag};
use crate::route::{Pattern, canonical};

/// A path or pattern with what it covers.
enum Place {
    Page(String),
    PathLayout(String),
    Route(Pattern),
    RouteLayout(Pattern),
}

impl Place {
    fn parse(text: &str, kind: Option<PathType>) -> Result<Place, Error> {
        if !Pattern::looks_like_pattern(text) {
            let path = canonical(text)?.path.into_owned();
            return Ok(match kind {
                Some(PathType::Layout) => Place::PathLayout(path),
                _ => Place::Page(path),
            });
        }
        let pattern = Pattern::parse(text)?;
        match kind {
            Some(PathType::Page) => Ok(Place::Route(pattern)),
            Some(PathType::Layout) => Ok(Place::RouteLayout(pattern)),
            None => Err(Error::invalid(format!(
                "revalidate_path of the pattern \"{text}\" needs a type: page or layout"
            ))),
        }
    }

    fn subject(&self) -> Subject<'_> {
        match self {
            Place::Page(path) => Subject::Page(path),
            Place::PathLayout(path) => Subject::PathLayout(path),
            Place::Route(pattern) => Subject::Route(pattern.identity()),
            Place::RouteLayout(pattern) => Subject::RouteLayout(pattern.identity()),
        }
    }
}

impl Engine {
    pub(crate) fn revalidate_path(
        &self,
        paths: &[&str],
        kind: Option<PathType>,
    ) -> Result<bool, Error> {
        let places = paths.iter().map(|p| Place::parse(p, kind)).collect::<Result<Vec<_>, _>>()?;
        let subjects: Vec<Subject<'_>> = places.iter().map(Place::subject).collect();
        self.inv.invalidate_places(&subjects, self.clock.now());
        self.counters.invalidations.add();
        let routes = self.routes.read();
        Ok(places.iter().any(|place| match place {
            Place::Page(path) => routes.find(path).is_some(),
            Place::PathLayout(path) => routes.any_below_path(path),
            Place::Route(pattern) => routes.has_identity(pattern.identity()),
            Place::RouteLayout(pattern) => routes.any_below_pattern(pattern.identity()),
        }))
    }

    pub(crate) fn revalidate_tag(&self, tags: &[&str], options: TagOptions) -> Result<(), Error> {
        for tag in tags {
            check_tag(tag)?;
        }
        let now = self.clock.now();
        let strength = match (options.soft, options.expire) {
            (false, None) => Strength::Hard,
            (false, Some(_)) => {
                return Err(Error::invalid("revalidate_tag takes expire only together with soft"));
            }
            (true, Some(s)) if s.is_zero() => Strength::Hard,
            (true, Some(s)) if !s.is_never() => Strength::SoftUntil(now.plus(s)),
            (true, _) => Strength::Soft,
        };
        self.inv.invalidate_tags(tags, strength, now);
        self.counters.invalidations.add();
        Ok(())
    }

    pub(crate) fn remove(&self, paths: &[&str]) -> Result<(), Error> {
        let paths = paths
            .iter()
            .map(|p| match Pattern::looks_like_pattern(p) {
                true => {
                    Err(Error::invalid(format!("remove takes paths, not patterns; got \"{p}\"")))
                }
                false => canonical(p).map(|c| c.path.into_owned()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = paths.iter().map(String::as_str).collect();
        let epoch = self.inv.remove_pages(&names, None, self.clock.now());
        for path in &names {
            self.forget(path, epoch);
        }
        self.counters.invalidations.add();
        Ok(())
    }
}
