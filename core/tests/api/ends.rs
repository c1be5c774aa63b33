//! Whatever ends a hit, and the site whose hit it ends.

use super::support::*;
use isr_core::*;

/// What it is called, and how to bring it about.
pub type End = (&'static str, fn(&Cache, &ManualClock));

/// Whatever ends a hit of `/1`.
pub const ENDS: [End; 9] = [
    ("time", |_, clock| clock.advance(secs(61.0))),
    ("a clock set back", |_, clock| clock.set_wall(Time::from_nanos(1))),
    ("a tag", |cache, _| cache.revalidate_tag(&["all"], TagOptions::default()).unwrap()),
    ("a soft tag", |cache, _| {
        let soft = TagOptions { soft: true, ..TagOptions::default() };
        cache.revalidate_tag(&["all"], soft).unwrap();
    }),
    ("a path", |cache, _| assert!(cache.revalidate_path(&["/1"], None).unwrap())),
    ("its removal", |cache, _| cache.remove(&["/1"]).unwrap()),
    ("a newer page", |cache, _| {
        drop(cache.regenerate(&Request::new("/1"), false).unwrap());
    }),
    ("a route that may match its path", |cache, _| {
        cache.add_route("/1", revalidate(60.0), echo()).unwrap();
    }),
    ("the close", |cache, _| assert!(cache.close(PATIENCE))),
];

/// `/1` and others like it, fresh for a minute, with the tag `all`; a hundred thousand bytes in memory.
pub fn site() -> (Cache, ManualClock) {
    let count = counter();
    let (cache, clock) = open(|o| o.max_bytes = 100_000);
    let route = RouteOptions { tags: vec!["all".into()], ..revalidate(60.0) };
    cache.add_route("/[id]", route, versions(&count)).unwrap();
    (cache, clock)
}
