//! Invalidations as bytes: what the log of a directory holds. Pure.

use crate::clock::Time;
use crate::invalidation::Strength;
use crate::invalidation::overflow::Subject;
use crate::invalidation::record::Record;

const CALL: u8 = 1;
const RECORD: u8 = 2;
const MERGED: u8 = 3;

/// What a call does to its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Invalidate(Strength),
    /// What began before this epoch is gone.
    Remove(u64),
}

/// One call of `revalidate_path`, `revalidate_tag` or `remove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) epoch: u64,
    pub(crate) at: Time,
    pub(crate) effect: Effect,
    pub(crate) subjects: Vec<Subject<'a>>,
}

/// One frame of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Call(Call<'a>),
    /// All that is known of one subject, in a snapshot.
    Record(Subject<'a>, Record),
    /// All that is known of a slot in which several were merged.
    Merged(usize, Record),
}

impl Item<'_> {
    /// The newest epoch that it speaks of.
    pub(crate) fn newest(&self) -> u64 {
        match self {
            Item::Call(call) => call.epoch,
            Item::Record(_, record) | Item::Merged(_, record) => record.latest(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Item::Call(call) => {
                let (code, extra) = match call.effect {
                    Effect::Invalidate(Strength::Hard) => (1, 0),
                    Effect::Invalidate(Strength::Soft) => (2, 0),
                    Effect::Invalidate(Strength::SoftUntil(t)) => (3, t.nanos()),
                    Effect::Remove(upto) => (4, upto),
                };
                out.extend([CALL, code]);
                put(&mut out, call.epoch);
                put(&mut out, call.at.nanos());
                put(&mut out, extra);
                for subject in &call.subjects {
                    put_subject(&mut out, *subject);
                }
            }
            Item::Record(subject, record) => {
                out.push(RECORD);
                put_subject(&mut out, *subject);
                record.numbers().for_each(|n| put(&mut out, n));
            }
            Item::Merged(slot, record) => {
                out.push(MERGED);
                put(&mut out, *slot as u64);
                record.numbers().for_each(|n| put(&mut out, n));
            }
        }
        out
    }

    /// What bytes say; none where they say nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Item<'_>> {
        let mut r = Reader(bytes);
        let item = match r.byte()? {
            CALL => {
                let code = r.byte()?;
                let (epoch, at, extra) = (r.number()?, r.number()?, r.number()?);
                let effect = match code {
                    1 => Effect::Invalidate(Strength::Hard),
                    2 => Effect::Invalidate(Strength::Soft),
                    3 => Effect::Invalidate(Strength::SoftUntil(Time::from_nanos(extra))),
                    4 => Effect::Remove(extra),
                    _ => return None,
                };
                let mut subjects = Vec::new();
                while !r.0.is_empty() {
                    subjects.push(r.subject()?);
                }
                Item::Call(Call { epoch, at: Time::from_nanos(at), effect, subjects })
            }
            RECORD => Item::Record(r.subject()?, Record::from_numbers(&mut || r.number())?),
            MERGED => {
                let slot = usize::try_from(r.number()?).ok()?;
                Item::Merged(slot, Record::from_numbers(&mut || r.number())?)
            }
            _ => return None,
        };
        r.0.is_empty().then_some(item)
    }
}

fn put(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_subject(out: &mut Vec<u8>, subject: Subject<'_>) {
    out.push(subject.code());
    out.extend_from_slice(&(subject.name().len() as u32).to_le_bytes());
    out.extend_from_slice(subject.name().as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn subject(&mut self) -> Option<Subject<'a>> {
        let code = self.byte()?;
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        let name = std::str::from_utf8(self.take(len as usize)?).ok()?;
        Subject::from_code(code, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(secs: u64) -> Time {
        Time::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn every_item_comes_back() {
        let subjects = vec![
            Subject::Page("/a"),
            Subject::Route("/b/[]"),
            Subject::PathLayout("/"),
            Subject::RouteLayout("/c"),
            Subject::Tag("é,"),
        ];
        let mut record = Record::default();
        record.add_hard(3, t(1));
        record.add_soft(4);
        record.add_pending(5, t(9));
        record.add_removed(6);
        let mut items = vec![
            Item::Record(Subject::Tag("x"), record.clone()),
            Item::Merged(17, record),
            Item::Record(Subject::Page("/"), Record::default()),
        ];
        for effect in [
            Effect::Invalidate(Strength::Hard),
            Effect::Invalidate(Strength::Soft),
            Effect::Invalidate(Strength::SoftUntil(t(77))),
            Effect::Remove(12),
        ] {
            items.push(Item::Call(Call { epoch: 7, at: t(3), effect, subjects: subjects.clone() }));
        }
        for item in items {
            let bytes = item.bytes();
            assert_eq!(Item::parse(&bytes).as_ref(), Some(&item));
            for len in 0..bytes.len() {
                // A shorter one may mean less, never something else: frames are checked as a whole.
                let _ = Item::parse(&bytes[..len]);
            }
        }
        assert_eq!(Item::parse(&[9, 9, 9]), None);
    }
}
