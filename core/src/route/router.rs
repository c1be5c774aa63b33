//! Finds the most specific route of a path.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind};
use crate::route::path::{decode_segment, shown};
use crate::route::pattern::{ParamValue, Params, Pattern, Segment};

/// Routes by pattern. Matching walks a tree of segments: static, then `[name]`, then `[...name]`, then `[[...name]]`.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<(Pattern, T)>,
    by_identity: HashMap<String, usize, ahash::RandomState>,
    root: Node,
}

/// What may follow after some segments. Numbers are places in `routes`. A node other than the root leads to a route.
#[derive(Debug, Default)]
struct Node {
    statics: HashMap<String, Node, ahash::RandomState>,
    one: Option<Box<Node>>,
    here: Option<usize>,
    catch_all: Option<usize>,
    optional: Option<usize>,
}

/// A match.
#[derive(Debug)]
pub(crate) struct Found<'r, T> {
    pub(crate) value: &'r T,
    pub(crate) params: Params,
}

impl<T> Router<T> {
    pub(crate) fn new() -> Router<T> {
        Router { routes: Vec::new(), by_identity: HashMap::default(), root: Node::default() }
    }

    /// `Conflict` where a pattern that matches the same paths is there; the text names both.
    pub(crate) fn insert(&mut self, pattern: Pattern, value: T) -> Result<(), Error> {
        if let Some(&there) = self.by_identity.get(pattern.identity()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "pattern {} matches the same paths as {}, which was added before",
                    shown(pattern.text()),
                    shown(self.routes[there].0.text())
                ),
            ));
        }
        let place = self.routes.len();
        self.by_identity.insert(pattern.identity().to_string(), place);
        let mut node = &mut self.root;
        let mut end = None;
        for segment in pattern.segments() {
            match segment {
                Segment::Static(text) => node = node.statics.entry(text.clone()).or_default(),
                Segment::One(_) => node = node.one.get_or_insert_default(),
                Segment::CatchAll(_) | Segment::OptionalCatchAll(_) => end = Some(segment),
            }
        }
        match end {
            Some(Segment::CatchAll(_)) => node.catch_all = Some(place),
            Some(_) => node.optional = Some(place),
            None => node.here = Some(place),
        }
        self.routes.push((pattern, value));
        Ok(())
    }

    /// The most specific route for a canonical path, with its params decoded.
    pub(crate) fn find(&self, canonical_path: &str) -> Option<Found<'_, T>> {
        let place = self.root.find(segments_of(canonical_path))?;
        let (pattern, value) = self.routes.get(place)?;
        Some(Found { value, params: params_of(pattern, canonical_path) })
    }

    /// All routes, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Pattern, &T)> {
        self.routes.iter().map(|(p, t)| (p, t))
    }

    /// The route with this identity.
    pub(crate) fn with_identity(&self, identity: &str) -> Option<&T> {
        self.by_identity.get(identity).map(|&place| &self.routes[place].1)
    }

    /// Whether a route with this identity exists (`revalidate_path(pattern, page)`).
    pub(crate) fn has_identity(&self, identity: &str) -> bool {
        self.by_identity.contains_key(identity)
    }

    /// Whether any route's pattern is at or below this one (`revalidate_path(pattern, layout)`).
    pub(crate) fn any_below_pattern(&self, identity: &str) -> bool {
        let layout = identity.strip_suffix('/').unwrap_or(identity);
        self.routes.iter().any(|(p, _)| {
            p.identity()
                .strip_prefix(layout)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether any route could match this canonical path or one below it (`revalidate_path(path, layout)`).
    pub(crate) fn any_below_path(&self, canonical_path: &str) -> bool {
        !self.routes.is_empty() && self.root.any_below(segments_of(canonical_path))
    }
}

/// The segments of a canonical path that are still to be matched; `None`: no more.
type Rest<'p> = Option<&'p str>;

fn segments_of(canonical_path: &str) -> Rest<'_> {
    canonical_path.strip_prefix('/').filter(|rest| !rest.is_empty())
}

fn next(rest: &str) -> (&str, Rest<'_>) {
    rest.split_once('/').map_or((rest, None), |(first, more)| (first, Some(more)))
}

impl Node {
    /// Each node is entered at most once for a path: the cost is bounded by the routes, not by the ways to combine them.
    fn find(&self, rest: Rest<'_>) -> Option<usize> {
        let Some(rest) = rest else { return self.here.or(self.optional) };
        let (segment, more) = next(rest);
        self.statics
            .get(segment)
            .and_then(|n| n.find(more))
            .or_else(|| self.one.as_ref().and_then(|n| n.find(more)))
            .or(self.catch_all)
            .or(self.optional)
    }

    fn any_below(&self, rest: Rest<'_>) -> bool {
        let Some(rest) = rest else { return true };
        if self.catch_all.is_some() || self.optional.is_some() {
            return true;
        }
        let (segment, more) = next(rest);
        self.statics.get(segment).is_some_and(|n| n.any_below(more))
            || self.one.as_ref().is_some_and(|n| n.any_below(more))
    }
}

fn params_of(pattern: &Pattern, canonical_path: &str) -> Params {
    let mut params = Params::new();
    let mut rest = segments_of(canonical_path);
    for segment in pattern.segments() {
        match segment {
            Segment::CatchAll(name) | Segment::OptionalCatchAll(name) => {
                let values =
                    rest.map_or_else(Vec::new, |r| r.split('/').map(decode_segment).collect());
                params.insert(name.clone(), ParamValue::Many(values));
                rest = None;
            }
            Segment::Static(_) => rest = rest.and_then(|r| next(r).1),
            Segment::One(name) => {
                let (value, more) = rest.map_or(("", None), next);
                params.insert(name.clone(), ParamValue::One(decode_segment(value)));
                rest = more;
            }
        }
    }
    params
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::path::canonical;

    /// Each route's value is its pattern's text.
    fn router(patterns: &[&str]) -> Router<String> {
        let mut router = Router::new();
        for p in patterns {
            add(&mut router, p).unwrap();
        }
        router
    }

    fn add(router: &mut Router<String>, pattern: &str) -> Result<(), Error> {
        router.insert(Pattern::parse(pattern).unwrap(), pattern.to_string())
    }

    fn found<'r>(router: &'r Router<String>, path: &str) -> Option<&'r str> {
        router.find(path).map(|f| f.value.as_str())
    }

    #[test]
    fn the_most_specific_route_wins() {
        let r = router(&[
            "/[[...all]]",
            "/docs/[[...o]]",
            "/docs/[...rest]",
            "/docs/[id]",
            "/docs/intro",
            "/docs",
            "/[x]/b/c",
            "/a/[...r]",
        ]);
        for (path, pattern) in [
            ("/", "/[[...all]]"),
            ("/docs", "/docs"),
            ("/docs/intro", "/docs/intro"),
            ("/docs/a", "/docs/[id]"),
            ("/docs/a/b", "/docs/[...rest]"),
            ("/docs/intro/b", "/docs/[...rest]"),
            ("/a/b/c", "/a/[...r]"),
            ("/z/b/c", "/[x]/b/c"),
            ("/a", "/[[...all]]"),
            ("/z/b/d", "/[[...all]]"),
        ] {
            assert_eq!(found(&r, path), Some(pattern), "{path}");
        }
    }

    #[test]
    fn goes_back_where_a_more_specific_start_ends_nowhere() {
        let r = router(&["/a/b/c", "/[x]/b/d", "/a/[y]/e", "/[x]/[y]/f"]);
        assert_eq!(found(&r, "/a/b/c"), Some("/a/b/c"));
        assert_eq!(found(&r, "/a/b/d"), Some("/[x]/b/d"));
        assert_eq!(found(&r, "/a/b/e"), Some("/a/[y]/e"));
        assert_eq!(found(&r, "/a/b/f"), Some("/[x]/[y]/f"));
        assert_eq!(found(&r, "/a/b/g"), None);
        assert_eq!(found(&r, "/a/b"), None);
        assert_eq!(found(&r, "/"), None);
    }

    #[test]
    fn a_catch_all_needs_a_segment() {
        let r = router(&["/a/[...r]", "/o/[[...r]]"]);
        assert_eq!(found(&r, "/a"), None);
        assert_eq!(found(&r, "/o"), Some("/o/[[...r]]"));
        assert_eq!(found(&Router::new(), "/"), None);
    }

    #[test]
    fn an_optional_catch_all_gives_way_at_its_own_root() {
        let r = router(&["/docs/[[...r]]", "/docs", "/[x]"]);
        assert_eq!(found(&r, "/docs"), Some("/docs"));
        assert_eq!(found(&router(&["/docs/[[...r]]", "/[x]"]), "/docs"), Some("/docs/[[...r]]"));
    }

    #[test]
    fn conflicts_name_both_patterns_and_change_nothing() {
        let mut r = router(&["/blog/[id]", "/", "/caf%C3%A9", "/x/[...r]"]);
        for (pattern, there) in [
            ("/blog/[slug]", "/blog/[id]"),
            ("/(site)/blog/[id]", "/blog/[id]"),
            ("/(home)", "\"/\""),
            ("/café", "/caf%C3%A9"),
            ("/x/[...s]", "/x/[...r]"),
        ] {
            let e = add(&mut r, pattern).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Conflict);
            assert!(e.message().contains(pattern) && e.message().contains(there), "{e}");
        }
        for other in ["/blog/[...rest]", "/blog/[[...rest]]", "/blog", "/x/[[...r]]", "/%5Bid%5D"] {
            add(&mut r, other).unwrap();
        }
        assert_eq!(r.iter().count(), 9);
        assert_eq!(r.iter().next().unwrap().0.text(), "/blog/[id]");
    }

    #[test]
    fn params_are_decoded() {
        let r = router(&["/b/[id]", "/[top]/[...rest]", "/o/[[...rest]]"]);
        let params = |path: &str| format!("{:?}", r.find(path).unwrap().params);
        assert_eq!(params("/b/x%2Fy"), r#"{"id": One("x/y")}"#);
        assert_eq!(params("/b/a%252Fb"), r#"{"id": One("a%2Fb")}"#);
        assert_eq!(params("/d/x/y%3Fz"), r#"{"rest": Many(["x", "y?z"]), "top": One("d")}"#);
        assert_eq!(params("/o"), r#"{"rest": Many([])}"#);
        assert_eq!(params("/o/1/%23"), r##"{"rest": Many(["1", "#"])}"##);
    }

    #[test]
    fn says_what_is_at_or_below() {
        let r = router(&[
            "/blog/[id]",
            "/blog/[id]/comments",
            "/docs/[...rest]",
            "/shop/[[...r]]",
            "/[a]/deep/down",
        ]);
        let identity = |text: &str| Pattern::parse(text).unwrap().identity().to_string();
        for text in ["/blog/[slug]", "/(g)/docs/[...r]", "/[z]/deep/down"] {
            assert!(r.has_identity(&identity(text)), "{text}");
        }
        for text in ["/blog", "/blog/[...id]", "/docs/[r]", "/"] {
            assert!(!r.has_identity(&identity(text)), "{text}");
        }
        for text in [
            "/",
            "/blog",
            "/blog/[x]",
            "/blog/[x]/comments",
            "/docs",
            "/docs/[...x]",
            "/[z]",
            "/[z]/deep",
        ] {
            assert!(r.any_below_pattern(&identity(text)), "{text}");
        }
        for text in
            ["/blo", "/blog/[...x]", "/docs/[x]", "/blog/[x]/comm", "/[z]/dee", "/nope", "/[...z]"]
        {
            assert!(!r.any_below_pattern(&identity(text)), "{text}");
        }
        for path in [
            "/",
            "/blog",
            "/blog/1",
            "/blog/1/comments",
            "/docs",
            "/docs/a/b",
            "/shop",
            "/shop/x/y",
            "/any",
            "/x/deep",
        ] {
            assert!(r.any_below_path(path), "{path}");
        }
        for path in
            ["/blog/1/2", "/x/y", "/x/deep/down/under", "/blog/1/comments/2", "/any/%5Bdeep"]
        {
            assert!(!r.any_below_path(path), "{path}");
        }
        let empty: Router<String> = Router::new();
        assert!(
            !empty.any_below_path("/") && !empty.any_below_pattern("/") && !empty.has_identity("/")
        );
    }

    #[test]
    fn many_segments_and_many_branches_are_no_trouble() {
        // 2^10 routes over the same ten segments, and a path that fits none of them at its end.
        let mut r = Router::new();
        for bits in 0..1024_u32 {
            let text: String = (0..10)
                .map(|i| if bits >> i & 1 == 0 { "/a".to_string() } else { format!("/[p{i}]") })
                .collect();
            add(&mut r, &text).unwrap();
        }
        assert!(r.find(&"/a".repeat(11)).is_none());
        assert!(r.find(&"/a".repeat(1024)).is_none());
        let deep = "/a".repeat(1024);
        add(&mut r, &deep).unwrap();
        assert_eq!(found(&r, &deep), Some(deep.as_str()));
    }

    /// All ways in which a pattern matches, by trying; the classes of its segments, for comparison.
    fn naive_match(pattern: &Pattern, path: &[&str]) -> Option<Vec<u8>> {
        let mut classes = Vec::new();
        let mut at = 0;
        for s in pattern.segments() {
            match s {
                Segment::Static(text) => {
                    if path.get(at) != Some(&text.as_str()) {
                        return None;
                    }
                    classes.push(0);
                    at += 1;
                }
                Segment::One(_) => {
                    path.get(at)?;
                    classes.push(1);
                    at += 1;
                }
                Segment::CatchAll(_) => {
                    path.get(at)?;
                    classes.push(2);
                    at = path.len();
                }
                Segment::OptionalCatchAll(_) => {
                    classes.push(3);
                    at = path.len();
                }
            }
        }
        (at == path.len()).then_some(classes)
    }

    fn pattern_text() -> impl Strategy<Value = String> {
        let segment =
            prop_oneof![3 => "[ab]", 2 => Just("[]".to_string()), 1 => Just("(g)".to_string())];
        let end = prop_oneof![3 => Just(""), 1 => Just("/[...r]"), 1 => Just("/[[...r]]")];
        (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
            let mut text = String::new();
            for (i, s) in segments.iter().enumerate() {
                text += &if s == "[]" { format!("/[p{i}]") } else { format!("/{s}") };
            }
            text += end;
            if text.is_empty() { "/".to_string() } else { text }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn agrees_with_a_naive_matcher(
            patterns in prop::collection::vec(pattern_text(), 0..10),
            path in prop::collection::vec("[abc]", 0..5),
        ) {
            let mut r = Router::new();
            for text in &patterns {
                let _ = add(&mut r, text);
            }
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            let text = format!("/{}", path.join("/"));
            // A missing segment is more specific than an optional catch-all: 3 sorts after the end of a shorter list.
            let best = r
                .iter()
                .filter_map(|(p, _)| naive_match(p, &segments).map(|classes| (classes, p.text())))
                .min()
                .map(|(_, text)| text);
            prop_assert_eq!(found(&r, &text), best);
            let below = r.iter().any(|(p, _)| {
                (0..5_usize).any(|more| {
                    // Below the path: any segment that the pattern may want.
                    (0..3_usize.pow(more as u32)).any(|mut n| {
                        let mut longer = segments.clone();
                        for _ in 0..more {
                            longer.push(["a", "b", "z"][n % 3]);
                            n /= 3;
                        }
                        naive_match(p, &longer).is_some()
                    })
                })
            });
            prop_assert_eq!(r.any_below_path(&text), below);
        }

        #[test]
        fn params_survive_a_round_trip(
            id in any::<String>(),
            rest in prop::collection::vec("[a-c/?#%.é \\[\\]]{0,3}", 0..3),
            text in prop::sample::select(vec!["/x/[id]/[[...rest]]", "/[id]/y/[...rest]"]),
        ) {
            let pattern = Pattern::parse(text).unwrap();
            let params = Params::from([
                ("id".to_string(), ParamValue::One(id.clone())),
                ("rest".to_string(), ParamValue::Many(rest.clone())),
            ]);
            match pattern.path_for(&params) {
                Ok(path) => {
                    let canonical = canonical(&path).unwrap();
                    prop_assert_eq!(canonical.path.as_ref(), path.as_str());
                    prop_assert!(canonical.query.is_none());
                    let r = router(&[text]);
                    prop_assert_eq!(r.find(&path).unwrap().params, params);
                }
                Err(_) => {
                    let wrong = |v: &String| {
                        matches!(v.as_str(), "" | "." | "..") || v.chars().any(|c| c < ' ' || c == '\x7f')
                    };
                    let needs_rest = text.contains("/[...rest]") && rest.is_empty();
                    prop_assert!(wrong(&id) || rest.iter().any(wrong) || needs_rest);
                }
            }
        }
    }
}
