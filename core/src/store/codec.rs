//! A page or data entry as the bytes of a file. Pure.
//!
//! A head of fixed size, then the deployment, the full key and all that a page is made of, then a checksum over everything.
//! Numbers are little-endian; a text or byte string is its length in 8 bytes and itself. No byte is trusted: what does not
//! add up is refused, and nothing is reserved beyond a small multiple of what is there.

use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Time;
use crate::http::{Encoded, Encoding, Fields};
use crate::lifetime::Lifetime;
use crate::page::Page;

/// Other versions begin with the same magic, keep the version behind it and check their head the same way.
const MAGIC: [u8; 8] = *b"isr page";
const FORMAT: u64 = 2;
const CHECKSUM_LEN: usize = 8;

/// Bytes of the head: magic, format version, total length, era, epoch of the render's begin, checksum of the head.
pub(crate) const HEAD_LEN: usize = 48;

/// What can be told from the first [`HEAD_LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The log's era in which it was stored.
    pub(crate) era: u64,
    /// The epoch of its render's begin.
    pub(crate) started: u64,
    /// Bytes of the whole file.
    pub(crate) len: u64,
}

/// Why bytes are no page for this reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Not what was once written.
    Damaged,
    /// In order, but of another era, deployment, key or format version.
    Other,
}

/// What a file holds: the parts of a page, with names in place of the cache's own nodes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    /// How much of the key is the path, which is text; 0 for data entries.
    pub(crate) path_len: usize,
    /// The identity of the pattern of the route that made it.
    pub(crate) identity: Option<String>,
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Box<[u8]>,
    pub(crate) etag: Box<str>,
    pub(crate) encoded: Vec<Encoded>,
    pub(crate) tags: Vec<String>,
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
    pub(crate) started: u64,
    pub(crate) generated: Time,
    pub(crate) render_micros: u32,
    pub(crate) oldest: u64,
}

/// The bytes of a page's file.
pub(crate) fn encode(page: &Page, era: u64, deployment: &str) -> Vec<u8> {
    let bodies: usize = page.encoded().iter().map(|e| e.body.len()).sum();
    let mut out = Vec::with_capacity(page.body().len() + bodies + 4096);
    out.extend_from_slice(&MAGIC);
    // The length and the head's checksum are put in at the end.
    for number in [FORMAT, 0, era, page.started(), 0] {
        put_u64(&mut out, number);
    }
    put_bytes(&mut out, deployment.as_bytes());
    put_bytes(&mut out, page.key());
    put_len(&mut out, page.path_len());
    match page.route() {
        None => out.push(0),
        Some(route) => {
            out.push(1);
            put_bytes(&mut out, route.pattern.identity().as_bytes());
        }
    }
    out.extend_from_slice(&page.status().to_le_bytes());
    put_lifetime(&mut out, page.revalidate());
    put_lifetime(&mut out, page.expire());
    put_u64(&mut out, page.generated().nanos());
    out.extend_from_slice(&page.render_micros().to_le_bytes());
    put_u64(&mut out, page.oldest());
    put_bytes(&mut out, page.etag().as_bytes());
    put_len(&mut out, page.fields().iter().count());
    for (name, value) in page.fields().iter() {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    put_len(&mut out, page.tag_nodes().len());
    for tag in page.tag_nodes() {
        put_bytes(&mut out, tag.name().as_bytes());
    }
    put_len(&mut out, page.encoded().len());
    for e in page.encoded() {
        out.push(number_of(e.encoding));
        put_bytes(&mut out, e.etag.as_bytes());
        put_bytes(&mut out, &e.body);
    }
    put_bytes(&mut out, page.body());
    seal(&mut out);
    out
}

/// Writes the length and both checksums; the place of the last is not there yet.
fn seal(out: &mut Vec<u8>) {
    let len = (out.len() + CHECKSUM_LEN) as u64;
    out[16..24].copy_from_slice(&len.to_le_bytes());
    let head = xxh3_64(&out[..HEAD_LEN - CHECKSUM_LEN]);
    out[HEAD_LEN - CHECKSUM_LEN..HEAD_LEN].copy_from_slice(&head.to_le_bytes());
    let all = xxh3_64(out);
    put_u64(out, all);
}

/// The head of a file of this format, from its first bytes or all of them.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    checked_head(bytes).ok()
}

/// Reads a file of this era, deployment and key.
///
/// # Errors
/// See [`Unusable`]; on any bytes whatever.
pub(crate) fn decode(
    bytes: &[u8],
    era: u64,
    deployment: &str,
    key: &[u8],
) -> Result<Entry, Unusable> {
    let head = checked_head(bytes)?;
    if head.era != era {
        return Err(Unusable::Other);
    }
    if head.len != bytes.len() as u64 {
        return Err(Unusable::Damaged);
    }
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(Unusable::Damaged)?;
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return Err(Unusable::Damaged);
    }
    let mut rest = Rest(content.get(HEAD_LEN..).ok_or(Unusable::Damaged)?);
    let (Some(its_deployment), Some(its_key)) = (rest.bytes(), rest.bytes()) else {
        return Err(Unusable::Damaged);
    };
    if its_deployment != deployment.as_bytes() || its_key != key {
        return Err(Unusable::Other);
    }
    entry(rest, key, head.started).ok_or(Unusable::Damaged)
}

fn checked_head(bytes: &[u8]) -> Result<Head, Unusable> {
    let head = bytes.first_chunk::<HEAD_LEN>().ok_or(Unusable::Damaged)?;
    let (content, sum) = head.split_last_chunk::<CHECKSUM_LEN>().ok_or(Unusable::Damaged)?;
    let mut rest = Rest(content);
    if rest.take(MAGIC.len()) != Some(&MAGIC) || xxh3_64(content) != u64::from_le_bytes(*sum) {
        return Err(Unusable::Damaged);
    }
    if rest.u64() != Some(FORMAT) {
        return Err(Unusable::Other);
    }
    match (rest.u64(), rest.u64(), rest.u64()) {
        (Some(len), Some(era), Some(started)) => Ok(Head { era, started, len }),
        _ => Err(Unusable::Damaged),
    }
}

/// What comes after deployment and key.
fn entry(mut rest: Rest<'_>, key: &[u8], started: u64) -> Option<Entry> {
    let path_len = rest.len()?;
    std::str::from_utf8(key.get(..path_len)?).ok()?;
    let identity = match rest.u8()? {
        0 => None,
        1 => Some(rest.text()?.to_owned()),
        _ => return None,
    };
    let entry = Entry {
        key: key.into(),
        path_len,
        identity,
        status: u16::from_le_bytes(*rest.array()?),
        revalidate: rest.lifetime()?,
        expire: rest.lifetime()?,
        generated: Time::from_nanos(rest.u64()?),
        render_micros: u32::from_le_bytes(*rest.array()?),
        oldest: rest.u64()?,
        etag: rest.text()?.into(),
        fields: rest.list(16, |r| Some((r.text()?.into(), r.text()?.into())))?,
        tags: rest.list(8, |r| Some(r.text()?.to_owned()))?,
        encoded: rest.list(17, |r| {
            Some(Encoded {
                encoding: encoding_of(r.u8()?)?,
                etag: r.text()?.into(),
                body: r.bytes()?.into(),
            })
        })?,
        body: rest.bytes()?.into(),
        started,
    };
    rest.0.is_empty().then_some(entry)
}

fn number_of(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Br => 1,
        Encoding::Gzip => 2,
        Encoding::Zstd => 3,
    }
}

fn encoding_of(number: u8) -> Option<Encoding> {
    [Encoding::Br, Encoding::Gzip, Encoding::Zstd].into_iter().find(|e| number_of(*e) == number)
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u64(out, len as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// `u64::MAX` is never: no other lifetime has it.
fn put_lifetime(out: &mut Vec<u8>, lifetime: Lifetime) {
    put_u64(out, lifetime.nanos().unwrap_or(u64::MAX));
}

/// What is not read yet. Every read is `None` where too little is left.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|a| a[0])
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(|a| u64::from_le_bytes(*a))
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn lifetime(&mut self) -> Option<Lifetime> {
        self.u64().map(|n| if n == u64::MAX { Lifetime::NEVER } else { Lifetime::from_nanos(n) })
    }

    /// A counted list whose members take `least` bytes or more each: no more is reserved than can be there.
    fn list<T>(
        &mut self,
        least: usize,
        mut member: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.len()?;
        if count > self.0.len() / least {
            return None;
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(member(self)?);
        }
        Some(list)
    }
}

#[cfg(test)]
mod tests;
