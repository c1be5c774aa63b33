//! Invalidations of paths, routes and layouts.

use ahash::RandomState;
use hashbrown::HashMap;

use crate::invalidation::overflow::{Overflow, Subject};
use crate::invalidation::record::Record;
use crate::sync::RwLock;

type Map = HashMap<Box<str>, Record, RandomState>;

/// Records by what they name.
pub(crate) struct PathRecords {
    maps: RwLock<Maps>,
    max_records: usize,
}

#[derive(Default)]
struct Maps {
    pages: Map,
    routes: Map,
    path_layouts: Map,
    route_layouts: Map,
}

impl Maps {
    fn of(&mut self, subject: Subject<'_>) -> Option<&mut Map> {
        match subject {
            Subject::Page(_) => Some(&mut self.pages),
            Subject::Route(_) => Some(&mut self.routes),
            Subject::PathLayout(_) => Some(&mut self.path_layouts),
            Subject::RouteLayout(_) => Some(&mut self.route_layouts),
            Subject::Tag(_) => None,
        }
    }
}

impl PathRecords {
    pub(crate) fn new(max_records: usize) -> PathRecords {
        PathRecords { maps: RwLock::new(Maps::default()), max_records }
    }

    pub(crate) fn write(
        &self,
        subject: Subject<'_>,
        overflow: &Overflow,
        f: impl FnOnce(&mut Record),
    ) {
        let mut maps = self.maps.write();
        let Some(map) = maps.of(subject) else { return };
        f(map.entry(subject.name().into()).or_default());
        if map.len() > self.max_records {
            merge_older_half(map, |n, record| overflow.absorb(same_kind(subject, n), record));
        }
    }

    /// Calls `f` with each record.
    pub(crate) fn each(&self, mut f: impl FnMut(Subject<'_>, &Record)) {
        let maps = self.maps.read();
        maps.pages.iter().for_each(|(n, r)| f(Subject::Page(n), r));
        maps.routes.iter().for_each(|(n, r)| f(Subject::Route(n), r));
        maps.path_layouts.iter().for_each(|(n, r)| f(Subject::PathLayout(n), r));
        maps.route_layouts.iter().for_each(|(n, r)| f(Subject::RouteLayout(n), r));
    }

    /// Calls `f` for each record that covers a page: its path's, its route's, and those of the layouts above.
    pub(crate) fn read_covering(&self, path: &str, identity: &str, mut f: impl FnMut(&Record)) {
        let maps = self.maps.read();
        if let Some(r) = maps.pages.get(path) {
            f(r);
        }
        if let Some(r) = maps.routes.get(identity) {
            f(r);
        }
        if !maps.path_layouts.is_empty() {
            for prefix in prefixes(path) {
                if let Some(r) = maps.path_layouts.get(prefix) {
                    f(r);
                }
            }
        }
        if !maps.route_layouts.is_empty() {
            for prefix in prefixes(identity) {
                if let Some(r) = maps.route_layouts.get(prefix) {
                    f(r);
                }
            }
        }
    }
}

/// All subjects of path calls that cover a page.
pub(crate) fn covering<'a>(path: &'a str, identity: &'a str) -> impl Iterator<Item = Subject<'a>> {
    [Subject::Page(path), Subject::Route(identity)]
        .into_iter()
        .chain(prefixes(path).map(Subject::PathLayout))
        .chain(prefixes(identity).map(Subject::RouteLayout))
}

/// `/`, `/a`, `/a/b` for `/a/b`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.match_indices('/').skip(1).map(|(i, _)| &path[..i]);
    let own = (path != "/").then_some(path);
    std::iter::once("/").chain(inner).chain(own)
}

fn same_kind<'n>(subject: Subject<'_>, name: &'n str) -> Subject<'n> {
    match subject {
        Subject::Page(_) => Subject::Page(name),
        Subject::Route(_) => Subject::Route(name),
        Subject::PathLayout(_) => Subject::PathLayout(name),
        Subject::RouteLayout(_) => Subject::RouteLayout(name),
        Subject::Tag(_) => Subject::Tag(name),
    }
}

fn merge_older_half(map: &mut Map, mut merge: impl FnMut(&str, &Record)) {
    let mut epochs: Vec<u64> = map.values().map(Record::latest).collect();
    epochs.sort_unstable();
    let newest_merged = epochs[epochs.len() / 2];
    map.retain(|name, record| {
        let old = record.latest() <= newest_merged;
        if old {
            merge(name, record);
        }
        !old
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        assert_eq!(prefixes("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(prefixes("/a").collect::<Vec<_>>(), ["/", "/a"]);
        assert_eq!(prefixes("/a/b/c").collect::<Vec<_>>(), ["/", "/a", "/a/b", "/a/b/c"]);
    }
}
