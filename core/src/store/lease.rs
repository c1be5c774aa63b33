//! Leases: one render per page, and one load per data entry, of all processes of the machine.
//!
//! A lease is taken and given back with the lock of its key's stripe held. It ends with its process, which the kernel tells by
//! the seat's lock, or at its deadline; whoever held it then finds it taken, and what he stores later is older than what the
//! next one stores.

use crate::clock::{self, Time};
use crate::error::{Error, ErrorKind};
use crate::lifetime::Lifetime;
use crate::store::locks::{SEATS, STRIPES};
use crate::store::shared::{LEASES, Lease, TEXT};
use crate::store::{Store, StoreKey};
use crate::sync::machine::Ordering;

/// Leases of one stripe.
const PER_STRIPE: usize = LEASES / STRIPES as usize;
/// So much longer than the time-out lives a lease, so that its holder can say himself that he timed out.
const GRACE: Lifetime = Lifetime::from_secs(1);
/// As far goes the search for a callback that waits for itself.
const MAX_HOPS: usize = 64;
const SEAT_BITS: u32 = 16;

/// A lease in this or another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseId {
    index: u32,
    holder: u64,
}

/// What became of the wish to render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Go ahead. There is no lease where too many run at once, or where there is no directory: then nobody knows of it.
    Ours(Option<LeaseId>),
    /// Another process renders.
    Theirs(LeaseId),
    /// Something was stored meanwhile: look again.
    Changed,
}

/// How a render ended, for other processes.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// There may be a page now, or nothing to be said.
    Done,
    /// Its result is not shared: others render for themselves.
    Unshared,
    Failed(Error),
}

impl Store {
    /// Takes the lease of a key, unless another process has it and `may_wait` says of its epoch that its result will do.
    /// `seen` is the version of the key at which the caller found nothing that would do.
    pub(crate) fn claim(
        &self,
        key: &StoreKey,
        seen: u32,
        timeout: Lifetime,
        may_wait: impl Fn(u64) -> bool,
    ) -> Claim {
        if !self.is_online() {
            return Claim::Ours(None);
        }
        // Without the lock first: many may ask for what one renders. If it ends meanwhile, who waits for it sees that.
        if let (Some(id), _) = self.find(key)
            && self.will_do(id, &may_wait)
        {
            return Claim::Theirs(id);
        }
        let Some(_locked) = self.lock_stripe(key) else { return Claim::Ours(None) };
        if self.version(key.slot()) != seen {
            return Claim::Changed;
        }
        let (found, free) = self.find(key);
        if let Some(id) = found {
            if self.will_do(id, &may_wait) {
                return Claim::Theirs(id);
            }
            return Claim::Ours(Some(self.take(id.index as usize, key, timeout)));
        }
        let free = free.or_else(|| self.abandoned(key));
        Claim::Ours(free.map(|index| self.take(index, key, timeout)))
    }

    /// The lease of a key, and a place where there is none of any key.
    fn find(&self, key: &StoreKey) -> (Option<LeaseId>, Option<usize>) {
        let mut free = None;
        for index in stripe_of(key) {
            let holder = self.shared().leases[index].holder.load(Ordering::Acquire);
            if self.shared().lease_keys[index].load(Ordering::Acquire) == key.hash {
                return (Some(LeaseId { index: index as u32, holder }), None);
            }
            if holder == 0 {
                free = free.or(Some(index));
            }
        }
        (None, free)
    }

    /// Whether another process has a lease and its result is awaited.
    fn will_do(&self, id: LeaseId, may_wait: &impl Fn(u64) -> bool) -> bool {
        id.holder != 0
            && seat_of(id.holder) != self.seat()
            && self.is_held(id)
            && may_wait(self.lease_started(id))
    }

    /// A lease whose holder is gone.
    fn abandoned(&self, key: &StoreKey) -> Option<usize> {
        stripe_of(key).find(|index| {
            let holder = self.shared().leases[*index].holder.load(Ordering::Acquire);
            !self.is_held(LeaseId { index: *index as u32, holder })
        })
    }

    fn take(&self, index: usize, key: &StoreKey, timeout: Lifetime) -> LeaseId {
        let lease = &self.shared().leases[index];
        let holder = self.next_lease() << SEAT_BITS | u64::from(self.seat());
        // Whoever looks at it without the lock finds it free until all is written.
        lease.holder.store(0, Ordering::SeqCst);
        lease.started.store(0, Ordering::SeqCst);
        lease.waits_for.store(0, Ordering::SeqCst);
        lease.deadline.store(deadline(timeout), Ordering::SeqCst);
        self.shared().lease_keys[index].store(key.hash, Ordering::SeqCst);
        lease.holder.store(holder, Ordering::SeqCst);
        LeaseId { index: index as u32, holder }
    }

    /// The callback begins: from here its epoch orders it, and its time runs.
    pub(crate) fn lease_begins(&self, id: LeaseId, started: u64, timeout: Lifetime) {
        let lease = self.lease(id);
        if lease.holder.load(Ordering::SeqCst) == id.holder {
            lease.deadline.store(deadline(timeout), Ordering::SeqCst);
            lease.started.store(started, Ordering::SeqCst);
        }
    }

    /// The epoch of a lease's begin, also when it has ended; zero while it waits for a thread, or where it is not known any more.
    pub(crate) fn lease_started(&self, id: LeaseId) -> u64 {
        let lease = self.lease(id);
        let started = lease.started.load(Ordering::SeqCst);
        // Read last: who takes the lease says so before he changes anything else.
        let ended = lease.ended.load(Ordering::SeqCst) == id.holder;
        let holder = lease.holder.load(Ordering::SeqCst);
        if holder == id.holder || (holder == 0 && ended) { started } else { 0 }
    }

    /// Gives a lease back and wakes whoever waits for it. Nothing if it was taken away.
    pub(crate) fn release(&self, key: &StoreKey, id: LeaseId, ended: &Ended) {
        let lease = self.lease(id);
        {
            let _locked = self.lock_stripe(key);
            if lease.holder.load(Ordering::SeqCst) != id.holder {
                return;
            }
            // While it is written it is nobody's.
            lease.ended.store(0, Ordering::SeqCst);
            lease.write_outcome(ended);
            lease.ended.store(id.holder, Ordering::SeqCst);
            lease.holder.store(0, Ordering::SeqCst);
        }
        self.wake();
    }

    /// How a lease of another process ended; none while it runs.
    pub(crate) fn lease_ended(&self, id: LeaseId) -> Option<Ended> {
        let lease = self.lease(id);
        if lease.holder.load(Ordering::SeqCst) == id.holder {
            return (!self.is_held(id)).then_some(Ended::Done);
        }
        let ended = lease.read_outcome();
        // Taken again meanwhile: then what was read may be of another.
        Some(if lease.ended.load(Ordering::SeqCst) == id.holder { ended } else { Ended::Done })
    }

    /// A callback that has a lease begins to wait for a key.
    pub(crate) fn lease_waits(&self, id: LeaseId, waits_for: u64) {
        let lease = self.lease(id);
        if lease.holder.load(Ordering::SeqCst) == id.holder {
            lease.waits_for.store(waits_for, Ordering::SeqCst);
        }
    }

    /// It waits for that no longer.
    pub(crate) fn lease_waits_no_more(&self, id: LeaseId, waited_for: u64) {
        let waits_for = &self.lease(id).waits_for;
        // It waits for another one now, or the lease is another's.
        let _ = waits_for.compare_exchange(waited_for, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether who holds the lease of a key waits, through others, for a key of `own`.
    pub(crate) fn waits_for_any(&self, key: u64, own: &[u64]) -> bool {
        let mut key = key;
        for _ in 0..MAX_HOPS {
            if own.contains(&key) {
                return true;
            }
            let stripe = StoreKey::stripe_of_hash(key) as usize * PER_STRIPE;
            let next = (stripe..stripe + PER_STRIPE).find_map(|index| {
                let lease = &self.shared().leases[index];
                (self.shared().lease_keys[index].load(Ordering::SeqCst) == key
                    && lease.holder.load(Ordering::SeqCst) != 0)
                    .then(|| lease.waits_for.load(Ordering::SeqCst))
            });
            match next {
                Some(next) if next != 0 => key = next,
                _ => return false,
            }
        }
        // So long a chain is none that anybody meant.
        true
    }

    /// Frees what a former holder of this process's seat left behind.
    pub(crate) fn clear_leases_of_seat(&self) {
        for lease in &self.shared().leases {
            let holder = lease.holder.load(Ordering::SeqCst);
            if holder != 0 && seat_of(holder) == self.seat() {
                // Taken by another meanwhile: then it is not ours to free.
                let _ =
                    lease.holder.compare_exchange(holder, 0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
    }

    fn is_held(&self, id: LeaseId) -> bool {
        let deadline = self.lease(id).deadline.load(Ordering::Acquire);
        let seat = seat_of(id.holder);
        clock::machine_steady() <= Time::from_nanos(deadline)
            && (seat == self.seat() || (seat < SEATS && self.is_seated(seat)))
    }

    fn lease(&self, id: LeaseId) -> &Lease {
        &self.shared().leases[id.index as usize % LEASES]
    }
}

impl Lease {
    fn write_outcome(&self, ended: &Ended) {
        let (code, text) = match ended {
            Ended::Done => (0, ""),
            Ended::Unshared => (1, ""),
            Ended::Failed(error) => {
                let code = if error.kind() == ErrorKind::Timeout { 3 } else { 2 };
                (code, &error.message()[..error.message().floor_char_boundary(TEXT)])
            }
        };
        self.outcome.store(code, Ordering::SeqCst);
        self.text_len.store(text.len() as u32, Ordering::SeqCst);
        for (word, bytes) in self.text.iter().zip(text.as_bytes().chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(eight), Ordering::SeqCst);
        }
    }

    fn read_outcome(&self) -> Ended {
        let kind = match self.outcome.load(Ordering::SeqCst) {
            1 => return Ended::Unshared,
            2 => ErrorKind::Render,
            3 => ErrorKind::Timeout,
            _ => return Ended::Done,
        };
        let bytes: Vec<u8> =
            self.text.iter().flat_map(|w| w.load(Ordering::SeqCst).to_le_bytes()).collect();
        let len = (self.text_len.load(Ordering::SeqCst) as usize).min(TEXT);
        Ended::Failed(Error::new(kind, String::from_utf8_lossy(&bytes[..len])))
    }
}

fn stripe_of(key: &StoreKey) -> std::ops::Range<usize> {
    let first = key.stripe() as usize * PER_STRIPE;
    first..first + PER_STRIPE
}

fn seat_of(holder: u64) -> u32 {
    (holder & ((1 << SEAT_BITS) - 1)) as u32
}

fn deadline(timeout: Lifetime) -> u64 {
    clock::machine_steady().plus(timeout).plus(GRACE).nanos()
}

#[cfg(test)]
mod tests;
