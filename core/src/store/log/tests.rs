use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const BOOT: u64 = 7;

/// A directory with a log of some frames.
struct Ground {
    dir: TempDir,
    log: Log,
}

impl Ground {
    fn new() -> Ground {
        let dir =
            TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a temporary directory");
        let head =
            Head { era: 99, secret: [3; 32], generation: 1, former_end: HEAD, snapshot_end: HEAD };
        let commit = Commit { boot: BOOT, ..Commit::default() };
        let log = Log::create(v1(&dir), head, commit, &[], false).unwrap();
        Ground { dir, log }
    }

    fn with(payloads: &[&[u8]]) -> Ground {
        let mut ground = Ground::new();
        // As at the begin of every life of a directory: then both slots are there.
        ground.log.commit(Commit { epoch_limit: 10, ..ground.log.commit }, false).unwrap();
        for payload in payloads {
            ground.append(payload);
        }
        ground
    }

    fn append(&mut self, payload: &[u8]) {
        let commit = Commit { epoch_limit: self.log.commit.epoch_limit + 1, ..self.log.commit };
        self.log.append(&framed(payload), commit, false).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

fn v1(dir: &TempDir) -> OwnedFd {
    std::fs::File::open(dir.path()).unwrap().into()
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_frame(&mut frame, payload);
    frame
}

fn all_framed(payloads: &[&[u8]]) -> Vec<u8> {
    payloads.iter().flat_map(|p| framed(p)).collect()
}

/// What a first opener gets out of the directory: head, commit and frames.
fn recovered(dir: &TempDir, boot: u64) -> Result<(Head, Commit, Vec<u8>), Broken> {
    let mut log = Log::open(v1(dir))?;
    let frames = log.recover(boot)?;
    Ok((log.head, log.commit, frames))
}

fn is_damaged<T>(result: Result<T, Broken>) -> bool {
    matches!(result, Err(Broken::Damaged(_)))
}

const PAYLOADS: [&[u8]; 3] = [b"first", b"", b"third and longest"];

#[test]
fn what_was_committed_comes_back() {
    let ground = Ground::with(&PAYLOADS);
    let (head, commit, frames) = recovered(&ground.dir, BOOT).unwrap();
    assert_eq!((head.era, head.secret, head.generation), (99, [3; 32], 1));
    assert_eq!(commit, ground.log.commit);
    assert_eq!(frames, all_framed(&PAYLOADS));
}

#[test]
fn every_bit_flip_is_detected_or_changes_nothing_that_was_acknowledged() {
    let ground = Ground::with(&PAYLOADS);
    let (_, commit, frames) = recovered(&ground.dir, BOOT).unwrap();
    let whole = ground.bytes();
    let file = std::fs::File::options().write(true).open(ground.path()).unwrap();
    let mut detected = 0;
    // All that was ever written; behind it there is only room.
    for at in 0..(commit.end as usize + 64).min(whole.len()) {
        for bit in 0..8 {
            file.write_at(&[whole[at] ^ 1 << bit], at as u64).unwrap();
            match recovered(&ground.dir, BOOT) {
                Err(Broken::Damaged(_)) => detected += 1,
                Ok((head, c, f)) => {
                    assert_eq!((head.era, head.secret), (99, [3; 32]), "byte {at} bit {bit}");
                    assert_eq!((c, &f), (commit, &frames), "byte {at} bit {bit}");
                }
                Err(other) => panic!("byte {at} bit {bit}: {other:?}"),
            }
            file.write_at(&whole[at..=at], at as u64).unwrap();
        }
    }
    let checked = HEAD_BYTES + 2 * SLOT + frames.len();
    assert_eq!(detected, checked * 8, "every bit that means something");
}

#[test]
fn every_truncation_is_detected_or_changes_nothing_that_was_acknowledged() {
    let ground = Ground::with(&PAYLOADS);
    let (_, commit, frames) = recovered(&ground.dir, BOOT).unwrap();
    let file = std::fs::File::options().write(true).open(ground.path()).unwrap();
    let whole = ground.bytes();
    for len in (0..=commit.end + 20).rev() {
        file.set_len(len).unwrap();
        match recovered(&ground.dir, BOOT) {
            Err(Broken::Damaged(_)) => assert!(len < commit.end, "{len}"),
            Ok((_, c, f)) => {
                assert_eq!((c, &f), (commit, &frames), "{len}");
                assert!(len >= commit.end);
            }
            Err(other) => panic!("{len}: {other:?}"),
        }
    }
    // Truncated, and as long as before.
    for len in (HEAD..commit.end).rev() {
        file.set_len(len).unwrap();
        file.set_len(whole.len() as u64).unwrap();
        let cut = &whole[len as usize..commit.end as usize];
        assert_eq!(is_damaged(recovered(&ground.dir, BOOT)), cut.iter().any(|b| *b != 0), "{len}");
    }
}

#[test]
fn a_frame_whose_commit_was_not_written_counts_and_a_torn_one_does_not() {
    let ground = Ground::with(&PAYLOADS);
    let end = ground.log.commit.end;
    let frame = framed(b"not committed");
    for len in 0..=frame.len() {
        ground.log.write_all(&frame[..len], end).unwrap();
        let (_, commit, frames) = recovered(&ground.dir, BOOT).unwrap();
        let mut expected = all_framed(&PAYLOADS);
        if len == frame.len() {
            expected.extend_from_slice(&frame);
        }
        assert_eq!(frames, expected);
        assert_eq!(commit.end, HEAD + expected.len() as u64);
    }
}

#[test]
fn a_torn_frame_is_written_over() {
    let mut ground = Ground::with(&PAYLOADS);
    ground
        .log
        .write_all(&framed(b"a longer one that was torn")[..30], ground.log.commit.end)
        .unwrap();
    ground.append(b"short");
    let mut expected = all_framed(&PAYLOADS);
    expected.extend_from_slice(&framed(b"short"));
    assert_eq!(recovered(&ground.dir, BOOT).unwrap().2, expected);
}

#[test]
fn a_lost_commit_slot_is_damage() {
    for slot in SLOTS {
        let ground = Ground::with(&PAYLOADS);
        ground.log.write_all(&[0; SLOT], slot).unwrap();
        assert!(is_damaged(recovered(&ground.dir, BOOT)));
        assert!(is_damaged(ground.log.newest_commit()), "also while it is in use");
    }
}

#[test]
fn a_log_with_its_first_commit_alone_is_whole() {
    let ground = Ground::new();
    let (_, commit, frames) = recovered(&ground.dir, BOOT).unwrap();
    assert_eq!((commit.number, frames.len()), (1, 0));
}

#[test]
fn after_a_power_cut_a_last_commit_without_its_frames_counts_as_not_made() {
    let mut ground = Ground::with(&PAYLOADS);
    let before = ground.log.commit;
    ground.append(b"did not reach the disk");
    let len = (ground.log.commit.end - before.end) as usize;
    ground.log.write_all(&vec![0; len], before.end).unwrap();
    assert!(is_damaged(recovered(&ground.dir, BOOT)), "the machine was not started anew");
    let (_, commit, frames) = recovered(&ground.dir, BOOT + 1).unwrap();
    assert_eq!((commit, frames), (before, all_framed(&PAYLOADS)));
    // Not so where more than that is missing.
    ground.log.write_all(&[0], before.end - 1).unwrap();
    assert!(is_damaged(recovered(&ground.dir, BOOT + 1)));
}

#[test]
fn after_a_power_cut_it_goes_on_where_the_lost_commit_was() {
    let mut ground = Ground::with(&PAYLOADS);
    let before = ground.log.commit;
    ground.append(b"lost");
    ground.log.write_all(&[0; 16], before.end).unwrap();
    let mut log = Log::open(v1(&ground.dir)).unwrap();
    log.recover(BOOT + 1).unwrap();
    log.commit(Commit { boot: BOOT + 1, ..log.commit }, false).unwrap();
    log.append(&framed(b"next"), log.commit, false).unwrap();
    let mut expected = all_framed(&PAYLOADS);
    expected.extend_from_slice(&framed(b"next"));
    assert_eq!(recovered(&ground.dir, BOOT + 1).unwrap().2, expected);
}

#[test]
fn what_is_no_log_is_damage_or_missing() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(Log::open(v1(&dir)), Err(Broken::Missing)));
    let path = dir.path().join(NAME);
    for bytes in [vec![], vec![0; 10], vec![0xff; 10_000], b"isr\0log\x02".to_vec()] {
        std::fs::write(&path, bytes).unwrap();
        assert!(is_damaged(Log::open(v1(&dir))));
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(is_damaged(Log::open(v1(&dir))));
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(is_damaged(Log::open(v1(&dir))));
    std::fs::remove_file(&path).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(pipe.success());
    assert!(is_damaged(Log::open(v1(&dir))));
}

#[test]
fn a_huge_hole_behind_the_end_costs_nothing() {
    let ground = Ground::with(&PAYLOADS);
    let file = std::fs::File::options().write(true).open(ground.path()).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(recovered(&ground.dir, BOOT).unwrap().2, all_framed(&PAYLOADS));
    // The frame there would be longer than memory.
    file.write_at(&[0xff; FRAME_HEAD], ground.log.commit.end).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(recovered(&ground.dir, BOOT).unwrap().2, all_framed(&PAYLOADS));
}

#[test]
fn an_end_that_cannot_be_is_damage() {
    let ground = Ground::with(&PAYLOADS);
    let end = ground.log.commit.end;
    for (from, to) in [(0, end), (HEAD - 1, end), (end, HEAD), (HEAD, u64::MAX), (HEAD, end + 1)] {
        assert!(is_damaged(ground.log.frames(from, to)), "{from} {to}");
    }
    assert_eq!(ground.log.frames(end, end).unwrap(), b"");
}

#[test]
fn a_log_knows_whether_it_is_in_place() {
    let ground = Ground::with(&PAYLOADS);
    assert!(ground.log.is_in_place(v1(&ground.dir)).unwrap());
    let head = Head { generation: 2, ..ground.log.head.clone() };
    let next = Log::create(v1(&ground.dir), head, ground.log.commit, b"", false).unwrap();
    assert!(!ground.log.is_in_place(v1(&ground.dir)).unwrap());
    assert!(next.is_in_place(v1(&ground.dir)).unwrap());
    std::fs::remove_file(ground.path()).unwrap();
    assert!(!next.is_in_place(v1(&ground.dir)).unwrap());
}

proptest! {
    #[test]
    fn any_bytes_in_place_of_a_frame_are_refused_or_are_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Some((payload, rest)) = split_frame(&bytes) {
            let mut again = framed(payload);
            again.extend_from_slice(rest);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn whatever_is_appended_comes_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..12)) {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let ground = Ground::with(&payloads);
        prop_assert_eq!(recovered(&ground.dir, BOOT).unwrap().2, all_framed(&payloads));
    }
}
