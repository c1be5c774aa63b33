//! Strong entity tags (RFC 9110, 8.8.3) and `if-none-match`.

/// The strong etag of a body, with its quotes: the same for the same bytes on every machine and version.
pub(crate) fn etag_of(body: &[u8]) -> Box<str> {
    format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(body)).into()
}

/// The etag of the same page in another encoding: a suffix inside the quotes (`"abc"` is `"abc-br"`).
pub(crate) fn etag_of_encoding(plain: &str, encoding: &str) -> Box<str> {
    match plain.strip_suffix('"') {
        Some(open) if open.contains('"') => format!("{open}-{encoding}\""),
        _ => format!("{plain}-{encoding}"),
    }
    .into()
}

/// Whether `if-none-match` names this etag: lists, `*`, weak comparison (RFC 9110, 13.1.2). An empty etag is none.
pub(crate) fn none_match_hits(if_none_match: &str, etag: &str) -> bool {
    if etag.is_empty() {
        return false;
    }
    let wanted = opaque(etag);
    let mut rest = if_none_match.trim_matches(white);
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches(|c| white(c) || c == ',');
        if rest.is_empty() {
            return false;
        }
        let (member, after) = rest.split_at(member_end(rest));
        if opaque(member.trim_end_matches(white)) == wanted {
            return true;
        }
        rest = after;
    }
}

/// Where the first member of a list ends: at the next comma outside of its quotes. Etags know no escapes.
fn member_end(list: &str) -> usize {
    let open = list.strip_prefix("W/").map_or(0, |_| 2);
    let mut from = open;
    if list[open..].starts_with('"') {
        match list[open + 1..].find('"') {
            Some(close) => from = open + 1 + close + 1,
            None => return list.len(),
        }
    }
    list[from..].find(',').map_or(list.len(), |comma| from + comma)
}

fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

fn white(c: char) -> bool {
    c == ' ' || c == '\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn etags_are_strong_quoted_and_follow_the_body_alone() {
        assert_eq!(&*etag_of(b""), "\"99aa06d3014798d86001c324468d497f\"");
        assert_eq!(etag_of(b"same"), etag_of(b"same"));
        assert_ne!(etag_of(b"same"), etag_of(b"changed"));
    }

    #[test]
    fn an_encoding_has_its_own_etag() {
        for (plain, own) in [
            ("\"abc\"", "\"abc-br\""),
            ("W/\"abc\"", "W/\"abc-br\""),
            ("\"\"", "\"-br\""),
            ("abc", "abc-br"),
            ("\"", "\"-br"),
        ] {
            assert_eq!(&*etag_of_encoding(plain, "br"), own, "{plain}");
        }
    }

    #[test]
    fn if_none_match() {
        let table = [
            ("\"a\"", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("*", "\"a\"", true),
            (" * ", "\"a\"", true),
            ("*", "", false),
            ("", "\"a\"", false),
            ("", "", false),
            (",", "\"a\"", false),
            ("\"b\", \"a\"", "\"a\"", true),
            ("\"b\",\"a\",\"c\"", "\"a\"", true),
            (" ,, \"b\" ,\t\"a\" ", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("W/\"a\"", "W/\"a\"", true),
            ("w/\"a\"", "\"a\"", false),
            ("\"b\", W/\"a\"", "\"a\"", true),
            // A comma and an asterisk inside the quotes belong to the etag.
            ("\"a,b\"", "\"a,b\"", true),
            ("\"a,b\"", "\"b\"", false),
            ("\"x,\"a\"\"", "\"a\"", false),
            ("\"*\"", "\"a\"", false),
            // No quotes: taken as it stands, as the render's own etag is.
            ("abc, def", "def", true),
            ("a", "\"a\"", false),
            // A quote that does not end.
            ("\"a", "\"a\"", false),
            ("\"b\", \"a", "\"a\"", false),
            ("\"\u{e9}\"", "\"\u{e9}\"", true),
        ];
        for (header, etag, hits) in table {
            assert_eq!(none_match_hits(header, etag), hits, "{header} / {etag}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(header in "\\PC*", etag in "\\PC*") {
            none_match_hits(&header, &etag);
        }

        #[test]
        fn odd_texts_are_survived(header in "[\"W/,* \ta\u{e9}]{0,24}", etag in "[\"W/a]{0,6}") {
            none_match_hits(&header, &etag);
        }

        #[test]
        fn a_member_is_found_wherever_it_stands(
            before in prop::collection::vec("(W/)?\"[a-y,*]{0,5}\"", 0..4),
            after in prop::collection::vec("(W/)?\"[a-y,*]{0,5}\"", 0..4),
            weak in any::<bool>(),
        ) {
            let others = [before.clone(), after.clone()].concat().join(" , ");
            prop_assert!(!none_match_hits(&others, "\"z\""));
            let mut list = before;
            list.push(if weak { "W/\"z\"".into() } else { "\"z\"".into() });
            list.extend(after);
            prop_assert!(none_match_hits(&list.join(","), "\"z\""));
        }
    }
}
