//! What pages and data entries hold: enough to see that an answer is whole, of the right path, and how new it is.

use std::collections::BTreeMap;

use isr_core::{Page, PageResult};
use xxhash_rust::xxh3::xxh3_64;

use super::truth::{KEYS, PAGES, TAGS, Truth};

/// Carries the content's description, so that a body may be empty.
const HEADER: &str = "x-truth";

/// Which behaviour a page has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stored until invalidated.
    Steady,
    /// Stale after 0.2 s, expired after 1 s.
    Short,
    /// Fails, hangs, redirects, is not found or personal now and then.
    Odd,
}

pub fn kind(page: usize) -> Kind {
    match page {
        0..16 => Kind::Steady,
        16..24 => Kind::Short,
        _ => Kind::Odd,
    }
}

pub fn path(page: usize) -> String {
    match kind(page) {
        Kind::Steady => format!("/s/{page}"),
        Kind::Short => format!("/t/{page}"),
        Kind::Odd => format!("/u/deep/{page}"),
    }
}

/// The pages that a pattern's `page` or a `layout` covers.
pub fn pages_of(kind: Kind) -> impl Iterator<Item = usize> {
    (0..PAGES).filter(move |p| self::kind(*p) == kind)
}

pub fn tags(page: usize) -> Vec<usize> {
    let (a, b) = (page % TAGS, (page * 5 + 3) % TAGS);
    if a == b { vec![a] } else { vec![a, b] }
}

/// The data entry that a page reads.
pub fn key(page: usize) -> Option<usize> {
    page.is_multiple_of(2).then_some(page / 2 % KEYS)
}

pub fn tag_name(tag: usize) -> String {
    format!("t{tag}")
}

pub fn key_tag(key: usize) -> String {
    format!("k{key}")
}

/// How new something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub path: String,
    pub version: u64,
    pub tags: BTreeMap<usize, u64>,
    pub data: Option<u64>,
    pub id: u64,
    pub process: u32,
}

impl Facts {
    /// What is true now, but for data.
    pub fn read(truth: &Truth, page: usize) -> Facts {
        Facts {
            path: path(page),
            version: truth.pages[page].version.now(),
            tags: tags(page).into_iter().map(|t| (t, truth.tags[t].now())).collect(),
            data: None,
            id: truth.id(),
            process: std::process::id(),
        }
    }

    fn text(&self, body: &[u8]) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(t, v)| format!("{t}:{v}")).collect();
        let data = self.data.map_or("-".to_string(), |d| d.to_string());
        let text = format!(
            "{} {} {} {data} {} {} {} {:016x}",
            self.path,
            self.version,
            if tags.is_empty() { "-".into() } else { tags.join(",") },
            self.id,
            self.process,
            body.len(),
            xxh3_64(body),
        );
        format!("{text} {:016x}", xxh3_64(text.as_bytes()))
    }

    fn parse(text: &str, body: &[u8]) -> Option<Facts> {
        let (text, sum) = text.rsplit_once(' ')?;
        if sum != format!("{:016x}", xxh3_64(text.as_bytes())) {
            return None;
        }
        let mut words = text.split(' ');
        let mut next = || words.next();
        let path = next()?.to_string();
        let version = next()?.parse().ok()?;
        let mut tags = BTreeMap::new();
        for pair in next()?.split(',').filter(|p| *p != "-") {
            let (tag, version) = pair.split_once(':')?;
            tags.insert(tag.parse().ok()?, version.parse().ok()?);
        }
        let data = match next()? {
            "-" => None,
            version => Some(version.parse().ok()?),
        };
        let facts = Facts {
            path,
            version,
            tags,
            data,
            id: next()?.parse().ok()?,
            process: next()?.parse().ok()?,
        };
        let whole =
            next()?.parse() == Ok(body.len()) && next()? == format!("{:016x}", xxh3_64(body));
        whole.then_some(facts)
    }

    pub fn page(&self) -> PageResult {
        let body = filling();
        let text = self.text(&body);
        let mut page = PageResult::new(body).header(HEADER, text);
        page.tags = self.tags.keys().map(|t| tag_name(*t)).collect();
        page
    }

    /// What a page says of itself. `None`: it is torn.
    pub fn of_page(page: &Page) -> Option<Facts> {
        Facts::parse(page.header(HEADER)?, page.body())
    }

    /// A data entry's value.
    pub fn value(&self) -> Vec<u8> {
        let body = filling();
        let mut value = self.text(&body).into_bytes();
        value.push(b'\n');
        value.extend(body);
        value
    }

    pub fn of_value(value: &[u8]) -> Option<Facts> {
        let end = value.iter().position(|b| *b == b'\n')?;
        Facts::parse(std::str::from_utf8(&value[..end]).ok()?, &value[end + 1..])
    }
}

/// Between nothing and 300 KB of bytes that are hard to compress.
fn filling() -> Vec<u8> {
    let len = match fastrand::u32(0..100) {
        0..10 => 0,
        10..70 => fastrand::usize(1..4_000),
        70..95 => fastrand::usize(4_000..60_000),
        _ => fastrand::usize(60_000..300_000),
    };
    let mut bytes = vec![0; len];
    fastrand::fill(&mut bytes);
    bytes
}
