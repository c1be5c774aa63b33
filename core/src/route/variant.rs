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
        let _ = (listed, query);
        todo!()
    }

    /// Appends an unambiguous form to a key: nothing where empty, else a NUL and length-prefixed names and values.
    pub(crate) fn append_to_key(&self, key: &mut Vec<u8>) {
        let _ = key;
        todo!()
    }
}
