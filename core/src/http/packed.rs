//! Header fields in one piece of memory: how a page keeps them.

use crate::http::Fields;

const LEN: usize = size_of::<u32>();

/// Header fields, packed: for each one the lengths of name and value, then both.
#[derive(Clone, Copy, Default)]
pub(crate) struct PackedFields<'a>(pub(crate) &'a [u8]);

/// Bytes that fields take when packed.
pub(crate) fn packed_len(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| 2 * LEN + name.len() + value.len()).sum()
}

/// Packs fields at the end of `out`. A text of 4 GiB or more is cut.
pub(crate) fn pack(fields: &Fields, out: &mut Vec<u8>) {
    for (name, value) in fields {
        for text in [name, value] {
            out.extend_from_slice(&len_of(text).to_le_bytes());
        }
        for text in [name, value] {
            out.extend_from_slice(&text.as_bytes()[..len_of(text) as usize]);
        }
    }
}

fn len_of(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or_else(|_| text.floor_char_boundary(u32::MAX as usize) as u32)
}

impl<'a> PackedFields<'a> {
    /// Names and values, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, after) = len(rest)?;
            let (value, after) = len(after)?;
            let (name, after) = text(after, name)?;
            let (value, after) = text(after, value)?;
            rest = after;
            Some((name, value))
        })
    }
}

fn len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*len) as usize, rest))
}

fn text(bytes: &[u8], len: usize) -> Option<(&str, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out() {
        let fields: Fields = [("a", ""), ("content-type", "text/html"), ("x", "ü")]
            .map(|(n, v)| (n.into(), v.into()))
            .into();
        let mut out = Vec::new();
        pack(&fields, &mut out);
        assert_eq!(out.len(), packed_len(&fields));
        let back: Fields = PackedFields(&out).iter().map(|(n, v)| (n.into(), v.into())).collect();
        assert_eq!(back, fields);
        assert_eq!(PackedFields(&[]).iter().count(), 0);
    }
}
