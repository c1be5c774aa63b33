//! Route patterns: `/blog/[id]`, `/docs/[...rest]`, `/shop/[[...rest]]`, `/(group)/about`.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::route::path::{MAX_BYTES, canonical_path, encode_segment, shown, split};

/// A parameter's decoded value: one text, or a list for a catch-all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParamValue {
    /// Of `[name]`.
    One(String),
    /// Of `[...name]` and `[[...name]]`.
    Many(Vec<String>),
}

/// Parameters by name.
pub type Params = BTreeMap<String, ParamValue>;

/// One segment of a pattern; static text is in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Static(String),
    One(String),
    CatchAll(String),
    OptionalCatchAll(String),
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Segment::Static(_) => None,
            Segment::One(name) | Segment::CatchAll(name) | Segment::OptionalCatchAll(name) => {
                Some(name)
            }
        }
    }

    /// Bytes that it takes at least in a path, with its slash.
    fn least_bytes(&self) -> usize {
        match self {
            Segment::Static(text) => 1 + text.len(),
            Segment::One(_) | Segment::CatchAll(_) => 2,
            Segment::OptionalCatchAll(_) => 0,
        }
    }

    /// A raw `?` stands in no canonical path, so that no static text is taken for a parameter.
    fn identity(&self) -> &str {
        match self {
            Segment::Static(text) => text,
            Segment::One(_) => "?",
            Segment::CatchAll(_) => "?+",
            Segment::OptionalCatchAll(_) => "?*",
        }
    }
}

/// A parsed pattern; groups are dropped.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    identity: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// A bracket that is part of a static segment is written `%5B` or `%5D`. A trailing `/` is dropped, as in a path.
    ///
    /// # Errors
    /// `InvalidArgument`: not starting with `/`, a query or fragment, a catch-all that is not last, a name used twice or
    /// empty, brackets that make no parameter. `InvalidPath`: a static segment that no path can have.
    pub fn parse(text: &str) -> Result<Pattern, Error> {
        let invalid =
            |rule: &str| Error::invalid(format!("pattern {} is refused: {rule}", shown(text)));
        let Some(body) = text.strip_prefix('/') else {
            return Err(invalid("it must start with \"/\""));
        };
        if body.contains(['?', '#']) {
            return Err(invalid(
                "it has no query or fragment; a \"?\" or \"#\" in a segment is written %3F or %23",
            ));
        }
        let mut segments = Vec::new();
        if !body.is_empty() {
            for raw in body.strip_suffix('/').unwrap_or(body).split('/') {
                if !is_group(raw) {
                    segments.push(segment(raw).map_err(|fault| match fault {
                        Fault::Syntax(rule) => invalid(rule),
                        Fault::Static(rule) => unreachable_path(text, rule),
                    })?);
                }
            }
        }
        for (i, s) in segments.iter().enumerate() {
            let last = i + 1 == segments.len();
            if !last && matches!(s, Segment::CatchAll(_) | Segment::OptionalCatchAll(_)) {
                return Err(invalid("a catch-all must be its last segment"));
            }
            if let Some(name) = s.name()
                && segments[..i].iter().any(|earlier| earlier.name() == Some(name))
            {
                return Err(invalid(&format!("it uses the name {} twice", shown(name))));
            }
        }
        let identity =
            format!("/{}", segments.iter().map(Segment::identity).collect::<Vec<_>>().join("/"));
        if segments.iter().map(Segment::least_bytes).sum::<usize>() > MAX_BYTES {
            return Err(unreachable_path(text, "a path may have at most 2048 bytes"));
        }
        Ok(Pattern { text: text.to_string(), segments, identity })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it matches, with names and groups erased: equal for two patterns that match the same paths.
    /// Segments are joined by `/`, so that a layout's identity is a segment-wise prefix of those below it.
    /// No canonical path equals it unless the pattern has no parameters; then it is that path.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it has no parameters, so that it is one path.
    pub fn is_static(&self) -> bool {
        self.segments.iter().all(|s| s.name().is_none())
    }

    /// The canonical path for these params.
    ///
    /// # Errors
    /// `InvalidArgument` for a missing or unknown name, a wrong type, an empty value; `InvalidPath` where
    /// the result is no path.
    pub fn path_for(&self, params: &Params) -> Result<String, Error> {
        if let Some(unknown) =
            params.keys().find(|k| !self.segments.iter().any(|s| s.name() == Some(k)))
        {
            return Err(self.wrong_param(unknown, "the pattern has no parameter of this name"));
        }
        let mut path = String::new();
        for segment in &self.segments {
            let values = match segment {
                Segment::Static(text) => {
                    path.push('/');
                    path.push_str(text);
                    continue;
                }
                Segment::One(name) => match params.get(name) {
                    Some(ParamValue::One(value)) => std::slice::from_ref(value),
                    Some(ParamValue::Many(_)) => {
                        return Err(self.wrong_param(name, "it takes a text, not a list"));
                    }
                    None => return Err(self.wrong_param(name, "it is missing")),
                },
                Segment::CatchAll(name) | Segment::OptionalCatchAll(name) => match params.get(name)
                {
                    Some(ParamValue::Many(values)) => values.as_slice(),
                    Some(ParamValue::One(_)) => {
                        return Err(self.wrong_param(name, "it takes a list, not a text"));
                    }
                    None => &[],
                },
            };
            if let Segment::CatchAll(name) = segment
                && values.is_empty()
            {
                return Err(self.wrong_param(name, "it takes one or more values, and has none"));
            }
            for value in values {
                self.push_value(&mut path, segment.name().unwrap_or_default(), value)?;
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        match canonical_path(&path) {
            Ok(_) => Ok(path),
            Err(rule) => Err(Error::new(
                ErrorKind::InvalidPath,
                format!(
                    "path {} of pattern {} is refused: {rule}",
                    shown(&path),
                    shown(&self.text)
                ),
            )),
        }
    }

    fn push_value(&self, path: &mut String, name: &str, value: &str) -> Result<(), Error> {
        if value.is_empty() {
            return Err(self.wrong_param(name, "a value may not be empty"));
        }
        let segment = format!("/{}", encode_segment(value));
        if let Err(rule) = canonical_path(&segment) {
            return Err(Error::new(
                ErrorKind::InvalidPath,
                format!(
                    "value {} of param {} of pattern {} makes no path: {rule}",
                    shown(value),
                    shown(name),
                    shown(&self.text)
                ),
            ));
        }
        path.push_str(&segment);
        Ok(())
    }

    fn wrong_param(&self, name: &str, rule: &str) -> Error {
        Error::invalid(format!("param {} of pattern {}: {rule}", shown(name), shown(&self.text)))
    }

    /// Whether a text given to `revalidate_path` is a pattern: it has a whole segment in square brackets.
    pub fn looks_like_pattern(text: &str) -> bool {
        split(text).0.split('/').any(|s| s.len() >= 2 && s.starts_with('[') && s.ends_with(']'))
    }
}

fn unreachable_path(pattern: &str, rule: &str) -> Error {
    Error::new(
        ErrorKind::InvalidPath,
        format!("pattern {} matches no path: {rule}", shown(pattern)),
    )
}

/// What is wrong with a segment.
enum Fault {
    Syntax(&'static str),
    Static(&'static str),
}

fn is_group(raw: &str) -> bool {
    raw.len() > 2 && raw.starts_with('(') && raw.ends_with(')')
}

fn segment(raw: &str) -> Result<Segment, Fault> {
    let inside =
        |open: &str, close: &str| raw.strip_prefix(open).and_then(|r| r.strip_suffix(close));
    if let Some(name) = inside("[[...", "]]") {
        return Ok(Segment::OptionalCatchAll(param_name(name)?));
    }
    if let Some(name) = inside("[...", "]") {
        return Ok(Segment::CatchAll(param_name(name)?));
    }
    if let Some(name) = inside("[", "]") {
        return Ok(Segment::One(param_name(name)?));
    }
    if raw.contains(['[', ']']) {
        return Err(Fault::Syntax(
            "a parameter is a whole segment: [name], [...name] or [[...name]]; a bracket in a static one is written %5B or %5D",
        ));
    }
    if raw.is_empty() {
        return Err(Fault::Static("a segment may not be empty (\"//\")"));
    }
    let path = format!("/{raw}");
    let path = canonical_path(&path).map_err(Fault::Static)?;
    Ok(Segment::Static(path[1..].to_string()))
}

fn param_name(name: &str) -> Result<String, Fault> {
    if name.is_empty() {
        return Err(Fault::Syntax("a parameter needs a name"));
    }
    if name.starts_with('.') || name.contains(|c: char| matches!(c, '[' | ']') || c.is_control()) {
        return Err(Fault::Syntax(
            "a parameter's name has no brackets and no control characters, and starts with no dot",
        ));
    }
    Ok(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn refused(text: &str, kind: ErrorKind, rule: &str) {
        let e = Pattern::parse(text).unwrap_err();
        assert_eq!(e.kind(), kind, "{text}: {e}");
        assert!(
            e.message().contains(rule) && e.message().contains(&format!("{text:?}")),
            "{text}: {e}"
        );
    }

    fn one(name: &str, value: &str) -> (String, ParamValue) {
        (name.into(), ParamValue::One(value.into()))
    }

    fn many(name: &str, values: &[&str]) -> (String, ParamValue) {
        (name.into(), ParamValue::Many(values.iter().map(|v| v.to_string()).collect()))
    }

    #[test]
    fn parses_every_kind_of_segment() {
        let p = parse("/(shop)/caf%C3%A9/[id]/(x)/[[...rest]]");
        assert_eq!(p.text(), "/(shop)/caf%C3%A9/[id]/(x)/[[...rest]]");
        assert_eq!(
            p.segments(),
            [
                Segment::Static("café".into()),
                Segment::One("id".into()),
                Segment::OptionalCatchAll("rest".into())
            ]
        );
        assert!(!p.is_static());
        for text in
            ["/", "/(a)", "/about", "/about/", "/a/(b)/c", "/wiki/Rust_(language)", "/%5Bid%5D"]
        {
            assert!(parse(text).is_static(), "{text}");
        }
        assert_eq!(parse("/[...rest]").segments(), [Segment::CatchAll("rest".into())]);
    }

    #[test]
    fn identity_erases_names_and_groups_only() {
        for (a, b) in [
            ("/blog/[id]", "/(site)/blog/[slug]"),
            ("/blog/[id]", "/blog/[id]/"),
            ("/caf%c3%a9", "/café"),
            ("/", "/(home)"),
            ("/a%2fb/[...x]", "/a%2Fb/[...y]"),
        ] {
            assert_eq!(parse(a).identity(), parse(b).identity(), "{a} {b}");
        }
        let different = [
            "/",
            "/[a]",
            "/[...a]",
            "/[[...a]]",
            "/%5Ba%5D",
            "/%3F",
            "/%3F+",
            "/%3F*",
            "/a/[b]",
            "/a",
            "/A",
            "/a%2F%3F",
        ];
        for (i, a) in different.iter().enumerate() {
            for b in &different[..i] {
                assert_ne!(parse(a).identity(), parse(b).identity(), "{a} {b}");
            }
        }
        assert_eq!(parse("/caf%C3%A9/(g)/x").identity(), "/café/x");
        assert_eq!(
            parse("/blog/[id]/comments").identity(),
            format!("{}/comments", parse("/blog/[x]").identity())
        );
    }

    #[test]
    fn refuses_by_rule() {
        let argument = ErrorKind::InvalidArgument;
        for text in ["", "blog", "[id]", "(a)/b"] {
            refused(text, argument, "must start");
        }
        for text in ["/[...a]/b", "/[[...a]]/b", "/[...a]/[b]", "/[...a]/[[...b]]"] {
            refused(text, argument, "last");
        }
        for text in ["/[a]/[a]", "/[a]/[...a]", "/[a]/b/[[...a]]"] {
            refused(text, argument, "\"a\" twice");
        }
        for text in ["/[]", "/[...]", "/[[...]]"] {
            refused(text, argument, "needs a name");
        }
        for text in ["/[.a]", "/[..a]", "/[....a]", "/[[a]]", "/[a]]", "/[[a]", "/[a]b]"] {
            refused(text, argument, "name has no brackets");
        }
        for text in ["/[a", "/a]", "/[a]b", "/a[b]", "/a[", "/x/[[...a"] {
            refused(text, argument, "whole segment");
        }
        for text in ["/a?b", "/a#b", "/[a?]"] {
            refused(text, argument, "no query");
        }
        for text in [
            "//", "/a//b", "//a", "/a//", "/.", "/a/..", "/%2e", "/%", "/%zz", "/%00", "/%FF",
            "/a\0",
        ] {
            refused(text, ErrorKind::InvalidPath, "matches no path");
        }
        let long = format!("/{}", "a".repeat(2048));
        assert_eq!(Pattern::parse(&long).unwrap_err().kind(), ErrorKind::InvalidPath);
        for text in ["/a".repeat(1025), format!("/{}/[id]", "a".repeat(2046))] {
            assert_eq!(Pattern::parse(&text).unwrap_err().kind(), ErrorKind::InvalidPath);
        }
        parse(&format!("/{}/[id]", "a".repeat(2045)));
        parse(&format!("/{}/[[...rest]]", "a".repeat(2047)));
    }

    #[test]
    fn path_for_encodes_what_is_reserved() {
        for (pattern, params, path) in [
            ("/b/[id]", vec![one("id", "x/y")], "/b/x%2Fy"),
            ("/b/[id]", vec![one("id", "a?b#c%d")], "/b/a%3Fb%23c%25d"),
            ("/b/[id]", vec![one("id", "café au lait")], "/b/café au lait"),
            ("/b/[id]", vec![one("id", "%2F")], "/b/%252F"),
            ("/[a]/x/[...r]", vec![one("a", "1"), many("r", &["2", "3/4"])], "/1/x/2/3%2F4"),
            ("/o/[[...r]]", vec![many("r", &[])], "/o"),
            ("/o/[[...r]]", vec![], "/o"),
            ("/[[...r]]", vec![], "/"),
            ("/(g)/caf%C3%A9", vec![], "/café"),
            ("/", vec![], "/"),
        ] {
            assert_eq!(
                parse(pattern).path_for(&params.into_iter().collect()).unwrap(),
                path,
                "{pattern}"
            );
        }
    }

    #[test]
    fn path_for_names_the_wrong_param() {
        use ErrorKind::{InvalidArgument, InvalidPath};
        for (pattern, params, kind, rule) in [
            ("/[id]", vec![], InvalidArgument, "missing"),
            ("/[id]", vec![one("id", "1"), one("x", "1")], InvalidArgument, "\"x\" of pattern"),
            ("/a", vec![one("id", "1")], InvalidArgument, "no parameter of this name"),
            ("/[id]", vec![many("id", &["1"])], InvalidArgument, "a text, not a list"),
            ("/[...id]", vec![one("id", "1")], InvalidArgument, "a list, not a text"),
            ("/[[...id]]", vec![one("id", "1")], InvalidArgument, "a list, not a text"),
            ("/[...id]", vec![many("id", &[])], InvalidArgument, "one or more"),
            ("/[...id]", vec![], InvalidArgument, "one or more"),
            ("/[id]", vec![one("id", "")], InvalidArgument, "may not be empty"),
            ("/[...id]", vec![many("id", &["a", ""])], InvalidArgument, "may not be empty"),
            ("/[id]", vec![one("id", "..")], InvalidPath, "\"..\""),
            ("/[id]", vec![one("id", "a\nb")], InvalidPath, "control"),
            ("/[id]", vec![one("id", &"a".repeat(2048))], InvalidPath, "2048"),
        ] {
            let e = parse(pattern).path_for(&params.clone().into_iter().collect()).unwrap_err();
            assert_eq!(e.kind(), kind, "{pattern} {params:?}: {e}");
            assert!(
                e.message().contains(rule) && e.message().contains(pattern),
                "{pattern} {params:?}: {e}"
            );
        }
        let two = [one("a", &"x".repeat(1500)), one("b", &"y".repeat(1500))].into_iter().collect();
        assert_eq!(parse("/[a]/[b]").path_for(&two).unwrap_err().kind(), InvalidPath);
    }

    #[test]
    fn a_whole_segment_in_brackets_makes_a_pattern() {
        for text in ["/[id]", "/a/[...r]", "/[[...r]]/", "[id]", "/[]", "/a/[id]/b", "/[a]?x"] {
            assert!(Pattern::looks_like_pattern(text), "{text}");
        }
        for text in [
            "/",
            "",
            "/a",
            "/a[1]",
            "/[a",
            "/a]",
            "/%5Bid%5D",
            "/(g)/a",
            "/a?b=/[id]",
            "/a#/[id]",
            "/[",
        ] {
            assert!(!Pattern::looks_like_pattern(text), "{text}");
        }
    }
}
