//! What is rarely read of a page, as bytes between its key and its etag.

use crate::lifetime::Lifetime;

/// What is rarely read, as it lies behind the key.
pub(super) struct Rare {
    pub(super) status: u16,
    pub(super) path_len: u32,
    pub(super) etag_len: u32,
    /// Bytes beside the page's own piece of memory.
    pub(super) beside: u32,
    pub(super) render_micros: u32,
    pub(super) revalidate: Lifetime,
    pub(super) expire: Lifetime,
    pub(super) started: u64,
    pub(super) oldest: u64,
}

impl Rare {
    pub(super) const LEN: usize = 50;

    pub(super) fn to_bytes(&self) -> [u8; Rare::LEN] {
        let lifetime = |l: Lifetime| l.nanos().unwrap_or(u64::MAX);
        let mut bytes = [0; Rare::LEN];
        let mut at = 0;
        let mut put = |number: &[u8]| {
            bytes[at..at + number.len()].copy_from_slice(number);
            at += number.len();
        };
        put(&self.status.to_le_bytes());
        [self.path_len, self.etag_len, self.beside, self.render_micros]
            .iter()
            .for_each(|n| put(&n.to_le_bytes()));
        [lifetime(self.revalidate), lifetime(self.expire), self.started, self.oldest]
            .iter()
            .for_each(|n| put(&n.to_le_bytes()));
        bytes
    }

    #[inline]
    pub(super) fn from_bytes(bytes: &[u8; Rare::LEN]) -> Rare {
        let short = |at| bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let long = |at| bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let lifetime = |at| match long(at) {
            u64::MAX => Lifetime::NEVER,
            nanos => Lifetime::from_nanos(nanos),
        };
        Rare {
            status: u16::from_le_bytes([bytes[0], bytes[1]]),
            path_len: short(2),
            etag_len: short(6),
            beside: short(10),
            render_micros: short(14),
            revalidate: lifetime(18),
            expire: lifetime(26),
            started: long(34),
            oldest: long(42),
        }
    }
}
