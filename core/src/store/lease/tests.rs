use tempfile::TempDir;

use super::*;
use crate::options::Options;
use crate::store::Opened;
use crate::store::shared::Layout;

/// A directory that several open, as processes would.
struct Ground(TempDir);

impl Ground {
    fn new() -> Ground {
        Ground(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap())
    }

    /// Its log is dropped: nothing here invalidates.
    fn open(&self) -> std::sync::Arc<Store> {
        let Opened { store, .. } = Store::open(self.0.path(), &Options::default()).unwrap();
        store
    }
}

const LONG: Lifetime = Lifetime::from_secs(1000);

fn any(_: u64) -> bool {
    true
}

fn claim(store: &Store, key: &StoreKey) -> Claim {
    store.claim(key, store.version(key.slot()), LONG, any)
}

#[track_caller]
fn ours(claim: Claim) -> LeaseId {
    let Claim::Ours(Some(id)) = claim else { panic!("{claim:?}") };
    id
}

#[track_caller]
fn theirs(claim: Claim) -> LeaseId {
    let Claim::Theirs(id) = claim else { panic!("{claim:?}") };
    id
}

fn words(store: &Store) -> &Layout {
    store.shared()
}

#[test]
fn one_has_it_until_he_gives_it_back() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    assert_eq!(key.hash, b.key(b"/p", b"").hash);
    let id = ours(claim(&a, &key));
    assert_eq!(theirs(claim(&b, &key)), id);
    assert!(b.lease_ended(id).is_none());
    assert_eq!(b.lease_started(id), 0, "it waits for a thread");
    a.lease_begins(id, 42, LONG);
    assert_eq!(b.lease_started(id), 42);
    a.release(&key, id, &Ended::Done);
    assert!(matches!(b.lease_ended(id), Some(Ended::Done)));
    assert_eq!(b.lease_started(id), 42, "known after its end");
    let next = ours(claim(&b, &key));
    assert_ne!(next, id);
    assert_eq!(b.lease_started(id), 0, "and not when it is another's");
    assert!(matches!(a.lease_ended(id), Some(Ended::Done)));
}

#[test]
fn a_page_that_was_stored_meanwhile_is_looked_at_first() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    let seen = a.version(key.slot());
    b.bump(&key);
    assert_eq!(a.claim(&key, seen, LONG, any), Claim::Changed);
}

#[test]
fn an_end_is_told_with_its_text() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    let long = "é".repeat(TEXT);
    for (text, expected) in [
        ("", ""),
        ("no database", "no database"),
        (&long, &long[..TEXT]),
        ("1234567\u{10ffff}", "1234567\u{10ffff}"),
    ] {
        let id = ours(claim(&a, &key));
        a.release(&key, id, &Ended::Failed(Error::new(ErrorKind::Render, text)));
        let Some(Ended::Failed(error)) = b.lease_ended(id) else { panic!() };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Render, expected));
    }
    let id = ours(claim(&a, &key));
    a.release(&key, id, &Ended::Failed(Error::new(ErrorKind::Timeout, "slow")));
    let Some(Ended::Failed(error)) = b.lease_ended(id) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let id = ours(claim(&a, &key));
    a.release(&key, id, &Ended::Unshared);
    assert!(matches!(b.lease_ended(id), Some(Ended::Unshared)));
    // The next one's end is not taken for this one's.
    let next = ours(claim(&a, &key));
    a.release(&key, next, &Ended::Failed(Error::new(ErrorKind::Render, "other")));
    assert!(matches!(b.lease_ended(id), Some(Ended::Done)));
}

#[test]
fn it_lapses_at_its_deadline_and_its_holder_changes_nothing_then() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    let id = ours(claim(&a, &key));
    // As if its time had passed.
    words(&a).leases[id.index as usize].deadline.store(1, Ordering::SeqCst);
    assert!(matches!(b.lease_ended(id), Some(Ended::Done)));
    let next = ours(claim(&b, &key));
    a.lease_begins(id, 7, LONG);
    a.lease_waits(id, 9);
    a.release(&key, id, &Ended::Failed(Error::new(ErrorKind::Render, "late")));
    assert!(a.lease_ended(next).is_none(), "the late one freed nothing");
    assert_eq!(a.lease_started(next), 0);
    assert_eq!(theirs(claim(&a, &key)), next);
}

#[test]
fn it_ends_with_its_process_and_when_its_seat_is_taken_again() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    let id = ours(claim(&a, &key));
    let seat = a.seat();
    // The kernel frees the locks, nobody the lease.
    drop(a);
    assert!(matches!(b.lease_ended(id), Some(Ended::Done)));
    let c = ground.open();
    assert_eq!(c.seat(), seat);
    assert!(
        matches!(b.lease_ended(id), Some(Ended::Done)),
        "the next on this seat does not keep it"
    );
    ours(claim(&b, &key));
}

#[test]
fn what_began_too_early_is_taken_over() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    let id = ours(claim(&a, &key));
    a.lease_begins(id, 5, LONG);
    let newer = |started: u64| started == 0 || started > 5;
    let next = ours(b.claim(&key, b.version(key.slot()), LONG, newer));
    a.release(&key, id, &Ended::Done);
    assert_eq!(theirs(claim(&a, &key)), next);
}

#[test]
fn a_stripe_without_a_free_lease_renders_without_and_takes_those_of_the_dead() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    // Variants of a path have one stripe.
    let keys: Vec<StoreKey> =
        (0..=PER_STRIPE as u32).map(|n| a.key(b"/p", &n.to_le_bytes())).collect();
    assert!(keys.iter().all(|k| k.stripe() == keys[0].stripe()));
    let (last, first) = keys.split_last().unwrap();
    for key in first {
        ours(claim(&a, key));
    }
    assert_eq!(claim(&a, last), Claim::Ours(None));
    assert_eq!(claim(&b, last), Claim::Ours(None));
    drop(a);
    let id = ours(claim(&b, last));
    b.release(last, id, &Ended::Done);
}

#[test]
fn who_would_wait_for_himself_is_told_and_no_longer_than_he_waits() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let [x, y, z] = [b"/x", b"/y", b"/z"].map(|p| a.key(p, b""));
    let (of_x, of_y) = (ours(claim(&a, &x)), ours(claim(&b, &y)));
    a.lease_waits(of_x, y.hash);
    assert!(!b.waits_for_any(z.hash, &[y.hash]), "nobody has z");
    assert!(b.waits_for_any(x.hash, &[y.hash]));
    b.lease_waits(of_y, z.hash);
    assert!(a.waits_for_any(x.hash, &[z.hash]), "through another");
    a.lease_waits_no_more(of_x, z.hash);
    assert!(b.waits_for_any(x.hash, &[y.hash]), "that was another's");
    a.lease_waits_no_more(of_x, y.hash);
    assert!(!b.waits_for_any(x.hash, &[y.hash]));
    // A ring that nobody meant ends, too.
    a.lease_waits(of_x, y.hash);
    b.lease_waits(of_y, x.hash);
    assert!(a.waits_for_any(x.hash, &[z.hash]));
}

#[test]
fn garbage_is_held_by_nobody() {
    let ground = Ground::new();
    let (a, _b) = (ground.open(), ground.open());
    let key = a.key(b"/p", b"");
    for lease in &words(&a).leases {
        // A seat that cannot be, or one that nobody has.
        lease.holder.store(u64::MAX, Ordering::SeqCst);
        lease.deadline.store(u64::MAX, Ordering::SeqCst);
        lease.text_len.store(u32::MAX, Ordering::SeqCst);
        lease.outcome.store(2, Ordering::SeqCst);
    }
    for keys in &words(&a).lease_keys {
        keys.store(key.hash, Ordering::SeqCst);
    }
    let id = ours(claim(&a, &key));
    a.release(&key, id, &Ended::Done);
    let (_, foreign) = (id, LeaseId { index: u32::MAX, holder: 77 });
    assert!(a.lease_ended(foreign).is_some());
}
