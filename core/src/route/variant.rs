//! Named values that select another representation of one path.

use std::collections::BTreeMap;

/// Named values, sorted by name: explicit ones, and query values that the route lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(BTreeMap<String, Vec<String>>);

impl Variant {
    /// No values: the plain representation.
    pub fn new() -> Variant {
        Variant::default()
    }

    /// Sets one value; another of that name is replaced.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Variant {
        self.0.insert(name.into(), vec![value.into()]);
        self
    }

    /// Names and values, sorted by name. More than one value comes from a query name that was repeated.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_slice()))
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the values of listed names from a raw query, form-decoded (WHATWG: `+` is a space, malformed `%` stays,
    /// invalid UTF-8 is replaced), all values of a repeated name in order. A name that is set already wins.
    pub(crate) fn add_query(&mut self, listed: &[String], query: &str) {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if listed.iter().any(|l| *l == name) {
                found.entry(name.into_owned()).or_default().push(value.into_owned());
            }
        }
        for (name, values) in found {
            self.0.entry(name).or_insert(values);
        }
    }

    /// Appends an unambiguous form to a key: nothing where empty, else a NUL and length-prefixed names and values.
    pub(crate) fn append_to_key(&self, key: &mut Vec<u8>) {
        if self.0.is_empty() {
            return;
        }
        // No canonical path has a NUL, so that a path with a variant equals no other path.
        key.push(0);
        let text = |key: &mut Vec<u8>, t: &str| {
            key.extend((t.len() as u64).to_le_bytes());
            key.extend(t.as_bytes());
        };
        for (name, values) in &self.0 {
            text(key, name);
            key.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|v| text(key, v));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(listed: &[&str], query: &str) -> Vec<(String, Vec<String>)> {
        let listed: Vec<String> = listed.iter().map(|l| l.to_string()).collect();
        let mut v = Variant::new();
        v.add_query(&listed, query);
        v.0.into_iter().collect()
    }

    fn values(name: &str, values: &[&str]) -> (String, Vec<String>) {
        (name.into(), values.iter().map(|v| v.to_string()).collect())
    }

    #[test]
    fn only_listed_names_count() {
        assert_eq!(query(&["page"], "utm=1&page=2&x"), [values("page", &["2"])]);
        assert_eq!(query(&["page"], "Page=2"), []);
        assert_eq!(query(&[], "page=2"), []);
        assert_eq!(query(&["a", "b"], "b=2&a=1"), [values("a", &["1"]), values("b", &["2"])]);
    }

    #[test]
    fn values_are_form_decoded() {
        let cases: &[(&str, &[&str])] = &[
            ("t=a+b%21", &["a b!"]),
            ("%74=a%20b", &["a b"]),
            ("t=%2B", &["+"]),
            ("t=", &[""]),
            ("t", &[""]),
            ("t=a=b", &["a=b"]),
            ("&&t=1&", &["1"]),
            ("t=b&x=1&t=a", &["b", "a"]),
            ("t=%zz%4", &["%zz%4"]),
            ("t=%FF", &["\u{fffd}"]),
            ("t=caf%C3%A9", &["café"]),
            ("t=é", &["é"]),
        ];
        for (text, expected) in cases {
            assert_eq!(query(&["t"], text), [values("t", expected)], "{text}");
        }
    }

    #[test]
    fn an_explicit_value_wins() {
        let mut v = Variant::new();
        v.set("t", "x");
        v.add_query(&["t".into(), "u".into()], "t=a&t=b&u=c");
        assert_eq!(v.0.into_iter().collect::<Vec<_>>(), [values("t", &["x"]), values("u", &["c"])]);
    }

    fn key(path: &str, v: &Variant) -> Vec<u8> {
        let mut key = path.as_bytes().to_vec();
        v.append_to_key(&mut key);
        key
    }

    fn variant() -> impl Strategy<Value = Variant> {
        let text = || "[ab\\x00\\x01]{0,2}";
        prop::collection::btree_map(text(), prop::collection::vec(text(), 1..3), 0..3)
            .prop_map(Variant)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn keys_are_equal_for_equal_variants_only(a in variant(), b in variant()) {
            prop_assert_eq!(key("/p", &a) == key("/p", &b), a == b);
            prop_assert_eq!(key("/p", &a) == b"/p", a.is_empty());
        }
    }
}
