use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::store::dirs::own_uid;
use crate::store::files::Files;
use crate::store::place::FilePlace;
use crate::sync::thread;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;
const A: &str = "aaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbb";
const BLOCK: u64 = 4096;

type Act = Box<dyn FnOnce(&Yard)>;

/// A store's directory, and what the rest of the store would say.
struct Yard {
    dir: TempDir,
    alive: HashSet<u32>,
    live: RefCell<HashSet<&'static str>>,
    bytes: Cell<u64>,
    pauses: Cell<u64>,
    stop_after: u64,
    /// What others do at this pause.
    at_pause: RefCell<Vec<(u64, Act)>>,
}

impl Ground for Yard {
    fn stopping(&self) -> bool {
        self.pauses.get() >= self.stop_after
    }

    fn pause(&self) {
        self.pauses.set(self.pauses.get() + 1);
        let mut waiting = self.at_pause.borrow_mut();
        if let Some(at) = waiting.iter().position(|(n, _)| *n == self.pauses.get()) {
            let (_, act) = waiting.remove(at);
            drop(waiting);
            act(self);
        }
    }

    fn is_seat_alive(&self, seat: u32) -> bool {
        self.alive.contains(&seat)
    }

    fn is_deployment_live(&self, name: &str) -> bool {
        self.live.borrow().contains(name)
    }

    fn disk_bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn set_disk_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    fn sub_disk_bytes(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() - bytes);
    }

    fn now(&self) -> Time {
        t(NOW)
    }
}

impl Yard {
    fn new() -> Yard {
        Yard {
            // Thousands of files, in memory where there is such a place.
            dir: TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap(),
            alive: HashSet::new(),
            live: RefCell::new(HashSet::from([A])),
            bytes: Cell::new(0),
            pauses: Cell::new(0),
            stop_after: u64::MAX,
            at_pause: RefCell::default(),
        }
    }

    fn files(&self, deployment: &str) -> Files {
        Files::open(fs::File::open(self.dir.path()).unwrap(), deployment).unwrap()
    }

    fn path(&self, inner: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(inner)
    }

    fn path_of(&self, deployment: &str, place: &FilePlace) -> PathBuf {
        self.path("pages").join(deployment).join(place.to_string())
    }

    fn pass(&self, max_bytes: u64) -> Passed {
        let passed = pass(fs::File::open(self.dir.path()).unwrap(), max_bytes, self).unwrap();
        assert!(passed.trouble.is_none(), "{passed:?}");
        passed
    }

    fn at_pause(&self, n: u64, act: impl FnOnce(&Yard) + 'static) {
        self.at_pause.borrow_mut().push((n, Box::new(act)));
    }
}

fn t(secs: u64) -> Time {
    Time::from_nanos(secs * 1_000_000_000)
}

fn plain(n: u32) -> FilePlace {
    FilePlace::new(7, format!("/p/{n}").as_bytes(), b"")
}

fn variant(n: u32) -> FilePlace {
    FilePlace::new(7, b"/a", format!("v={n}").as_bytes())
}

/// Writes a page as it was written an hour before `used`: that is when it counts as used.
fn write(files: &Files, place: &FilePlace, used: u64) {
    files.write(place, b"", 1, false, t(used + HOUR)).unwrap();
}

/// A file that was last written at some time.
fn file_of(path: impl AsRef<Path>, secs: u64) {
    let file = fs::File::create(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = dir.as_ref().read_dir().unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Which of these pages have files.
fn left(files: &Files, pages: impl Iterator<Item = u32>) -> Vec<u32> {
    pages.filter(|n| files.read(&plain(*n), 4096, t(NOW)).unwrap().is_some()).collect()
}

#[test]
fn an_empty_directory_is_fine() {
    let yard = Yard::new();
    yard.bytes.set(5);
    let passed = yard.pass(0);
    assert!(passed.finished && passed.kept_files == 0);
    assert_eq!(yard.bytes.get(), 0, "pages/ is gone, and so are its bytes");
}

#[test]
fn what_crashes_left_goes_and_what_is_being_written_stays() {
    let mut yard = Yard::new();
    yard.alive.insert(3);
    yard.files(A);
    let tmp = yard.path("tmp");
    for (name, secs) in [
        ("3-0", NOW),
        ("3-7", NOW - HOUR - 1), // a new page, just before it is renamed
        ("3-8", NOW - 25 * HOUR),
        ("4-0", NOW),
        ("0-18446744073709551615", NOW),
        ("unknown", NOW - 30),
        ("old", NOW - HOUR - 1),
        ("4-", NOW),
        ("-4", NOW - HOUR - 1),
        ("4-0x", NOW),
        ("99999999999-0", NOW),
        ("ahead", NOW + HOUR),
    ] {
        file_of(tmp.join(name), secs);
    }
    fs::create_dir(tmp.join("4-1")).unwrap();
    symlink("/", tmp.join("4-2")).unwrap();
    let passed = yard.pass(u64::MAX);
    let stay = ["3-0", "3-7", "4-", "4-0x", "4-1", "4-2", "99999999999-0", "ahead", "unknown"];
    assert_eq!(names(&tmp), stay);
    assert_eq!(passed.leftovers, 5);
}

#[test]
fn the_trash_is_emptied_and_nothing_beside_it() {
    let yard = Yard::new();
    let outside = TempDir::new().unwrap();
    file_of(outside.path().join("precious"), NOW);
    let deep = yard.path("trash/pages-1/any name/x/y");
    fs::create_dir_all(&deep).unwrap();
    for file in [deep.join("f"), yard.path("trash/log"), yard.path("trash/pages-1/000")] {
        file_of(file, NOW);
    }
    symlink(outside.path(), deep.join("link")).unwrap();
    symlink(outside.path().join("precious"), yard.path("trash/link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(yard.path("trash/socket")).unwrap();
    assert_eq!(yard.pass(u64::MAX).leftovers, 10);
    assert!(names(yard.path("trash")).is_empty());
    assert_eq!(names(outside.path()), ["precious"]);
}

#[test]
fn a_trash_that_is_a_symlink_is_left_alone() {
    let yard = Yard::new();
    let outside = TempDir::new().unwrap();
    file_of(outside.path().join("precious"), NOW);
    for name in ["trash", "tmp", "pages"] {
        symlink(outside.path(), yard.path(name)).unwrap();
    }
    assert!(yard.pass(0).finished);
    assert_eq!(names(outside.path()), ["precious"]);
}

#[test]
fn deployments_that_nobody_uses_go() {
    let yard = Yard::new();
    for deployment in [A, B] {
        let files = yard.files(deployment);
        for n in 0..100 {
            write(&files, &plain(n), NOW);
            write(&files, &variant(n), NOW);
        }
    }
    fs::create_dir(yard.path("pages/README")).unwrap();
    let passed = yard.pass(u64::MAX);
    assert_eq!(names(yard.path("pages")), ["README", A]);
    assert_eq!((passed.leftovers, passed.kept_files), (200, 200));
    // Rolling restart: both live, one is over then.
    yard.live.borrow_mut().insert(B);
    write(&yard.files(B), &plain(0), NOW);
    assert_eq!(yard.pass(u64::MAX).kept_files, 201);
    yard.live.borrow_mut().remove(A);
    assert_eq!(yard.pass(u64::MAX).kept_files, 1);
    assert_eq!(names(yard.path("pages")), ["README", B]);
}

#[test]
fn a_deployment_that_is_opened_while_it_is_removed_keeps_the_rest() {
    let yard = Yard::new();
    let old = yard.files(B);
    for n in 0..100 {
        write(&old, &plain(n), NOW);
    }
    let buckets = names(yard.path("pages").join(B)).len() as u64;
    yard.at_pause(10, |yard| {
        yard.live.borrow_mut().insert(B);
    });
    let passed = yard.pass(u64::MAX);
    assert!(passed.leftovers >= 10 && passed.leftovers < 20, "{passed:?}");
    assert_eq!(passed.kept_files, 100 - passed.leftovers);
    assert_eq!(yard.pauses.get(), buckets, "each bucket that was left was counted");
    assert_eq!(left(&old, 0..100).len() as u64, passed.kept_files);
}

#[test]
fn who_opens_a_deployment_as_it_goes_can_write() {
    let yard = Yard::new();
    let files = yard.files(B);
    yard.pass(u64::MAX);
    assert!(!yard.path("pages").join(B).exists());
    write(&files, &plain(0), NOW);
    assert_eq!(left(&files, 0..1), [0]);
}

#[test]
fn what_is_not_ours_is_neither_counted_nor_removed() {
    let yard = Yard::new();
    let outside = TempDir::new().unwrap();
    file_of(outside.path().join("0".repeat(29)), NOW);
    let files = yard.files(B);
    write(&files, &plain(0), NOW);
    write(&files, &variant(0), NOW);
    let bucket = yard.path_of(B, &plain(0)).parent().unwrap().to_owned();
    let folder = yard.path_of(B, &variant(0)).parent().unwrap().to_owned();
    let hex = |c: &str, n| c.repeat(n);
    fs::create_dir(bucket.join(hex("1", 29))).unwrap();
    symlink(outside.path().join(hex("0", 29)), bucket.join(hex("2", 29))).unwrap();
    symlink(outside.path(), bucket.join(hex("3", 29) + ".v")).unwrap();
    symlink(outside.path(), yard.path("pages").join(B).join("fff")).unwrap();
    symlink(outside.path(), yard.path("pages").join("c".repeat(16))).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bucket.join(hex("4", 29))).unwrap();
    file_of(bucket.join(hex("A", 29)), 0);
    file_of(bucket.join(hex("5", 28)), 0);
    file_of(folder.join("notes.txt"), 0);
    file_of(yard.path("pages").join(B).join("notes.txt"), 0);
    if own_uid() == 0 {
        file_of(bucket.join(hex("6", 29)), 0);
        std::os::unix::fs::chown(bucket.join(hex("6", 29)), Some(12345), None).unwrap();
    }
    let before = names(&bucket).len();

    yard.live.borrow_mut().insert(B);
    let passed = yard.pass(u64::MAX);
    assert_eq!((passed.kept_files, passed.kept_bytes), (2, 3 * BLOCK));
    // Evicted, and then removed as nobody's: ours alone went both times.
    assert_eq!(yard.pass(0).evicted_files, 2);
    yard.live.borrow_mut().remove(B);
    write(&files, &plain(0), NOW);
    assert_eq!(yard.pass(0).leftovers, 1);
    assert_eq!(names(&bucket).len(), before - 1);
    assert_eq!(names(&folder), ["notes.txt"]);
    assert_eq!(names(outside.path()).len(), 1);
}

#[test]
fn the_bytes_of_all_live_deployments_are_counted() {
    let yard = Yard::new();
    yard.live.borrow_mut().insert(B);
    yard.bytes.set(1 << 40);
    let mut expected = 0;
    for deployment in [A, B] {
        let files = yard.files(deployment);
        for n in 0..50 {
            let body = vec![0; n as usize * 300];
            for place in [plain(n), variant(n)] {
                expected += files.write(&place, &body, 1, false, t(NOW)).unwrap() as u64;
            }
        }
    }
    let passed = yard.pass(u64::MAX);
    assert_eq!((passed.kept_bytes, passed.kept_files), (expected, 200));
    assert_eq!(yard.bytes.get(), expected);
}

#[test]
fn folders_that_are_empty_go() {
    let yard = Yard::new();
    let files = yard.files(A);
    write(&files, &variant(0), NOW);
    let folder = yard.path_of(A, &variant(0)).parent().unwrap().to_owned();
    assert_eq!(yard.pass(u64::MAX).kept_bytes, 2 * BLOCK);
    // As by a writer that was killed between the folder and its file.
    fs::remove_file(yard.path_of(A, &variant(0))).unwrap();
    assert_eq!(yard.pass(u64::MAX).kept_bytes, 0);
    assert!(!folder.exists());
}

#[test]
fn a_flood_leaves_what_was_used_again() {
    let yard = Yard::new();
    yard.live.borrow_mut().insert(B);
    let (a, b) = (yard.files(A), yard.files(B));
    let of = |n: u32| if n.is_multiple_of(2) { &a } else { &b };
    for n in 0..20_000 {
        // 2,000 pages that were there and were asked for within the hour, then the flood.
        write(of(n), &plain(n), NOW - 2 * HOUR + u64::from(n) / 20);
        if n < 2_000 {
            of(n).touch(&plain(n), t(NOW - 2_100 + u64::from(n))).unwrap();
        }
    }
    let max = 10_000 * BLOCK;
    let passed = yard.pass(max);
    assert_eq!((passed.kept_files, passed.evicted_files), (9_000, 11_000));
    assert_eq!((yard.bytes.get(), passed.kept_bytes), (9_000 * BLOCK, 9_000 * BLOCK));
    let left: Vec<u32> = (0..20_000u32)
        .filter(|n| yard.path_of(if n.is_multiple_of(2) { A } else { B }, &plain(*n)).exists())
        .collect();
    assert_eq!(left.len(), 9_000);
    assert!(left.iter().take(2_000).copied().eq(0..2_000), "all that was used again");
    // Of the flood the newest, in one order over both deployments; a bin of ages holds some hundred.
    assert!(left[2_000] >= 13_000 - 700, "{}", left[2_000]);
    let again = yard.pass(max);
    assert_eq!((again.evicted_files, again.kept_files), (0, 9_000));
}

#[test]
fn eviction_stops_at_the_low_water_mark_within_one_age() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..1_000 {
        write(&files, &plain(n), NOW);
    }
    assert_eq!(yard.pass(1_000 * BLOCK).evicted_files, 0, "not above the bound");
    let passed = yard.pass(999 * BLOCK);
    assert!(passed.kept_bytes <= 899 * BLOCK + BLOCK && passed.kept_files >= 898, "{passed:?}");
    assert_eq!(yard.pass(0).kept_bytes, 0);
    assert_eq!(yard.bytes.get(), 0);
}

#[test]
fn variants_are_evicted_with_their_folders() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..200u32 {
        let place = FilePlace::new(7, format!("/p/{n}").as_bytes(), b"v");
        write(&files, &place, NOW - u64::from(n));
    }
    let passed = yard.pass(200 * BLOCK);
    // 400 blocks were there, and each page takes two.
    assert_eq!((passed.kept_files, yard.bytes.get()), (90, 180 * BLOCK));
    for n in 0..200u32 {
        let place = FilePlace::new(7, format!("/p/{n}").as_bytes(), b"v");
        let folder = yard.path_of(A, &place).parent().unwrap().to_owned();
        assert_eq!(folder.exists(), n < 90, "{n}");
    }
}

#[test]
fn folders_that_go_count_for_the_low_water_mark() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..200 {
        write(&files, &FilePlace::new(7, format!("/p/{n}").as_bytes(), b"v"), NOW);
    }
    // All of one age, so that no order says where to stop.
    let passed = yard.pass(200 * BLOCK);
    assert_eq!((passed.kept_files, yard.bytes.get()), (90, 180 * BLOCK));
}

#[test]
fn what_is_used_while_the_pass_runs_stays() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..100 {
        write(&files, &plain(n), NOW - 10 * HOUR - 200 * u64::from(n));
    }
    let buckets = names(yard.path("pages").join(A)).len() as u64;
    // Between the count and the first eviction.
    yard.at_pause(buckets, |yard| {
        for n in 90..100 {
            yard.files(A).touch(&plain(n), t(NOW + 60)).unwrap();
        }
    });
    let passed = yard.pass(50 * BLOCK);
    assert_eq!(passed.evicted_files, 45, "those over the cutoff but for what was used");
    let left = left(&files, 0..100);
    assert!((90..100).all(|n| left.contains(&n)), "{left:?}");
}

#[test]
fn what_is_written_while_the_pass_counts_is_not_forgotten() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..100 {
        write(&files, &plain(n), NOW);
    }
    yard.bytes.set(100 * BLOCK);
    let last = names(yard.path("pages").join(A)).len() as u64;
    for (pause, first) in [(1, 1_000), (last, 2_000)] {
        yard.at_pause(pause, move |yard| {
            for n in first..first + 10 {
                write(&yard.files(A), &plain(n), NOW);
                yard.bytes.set(yard.bytes.get() + BLOCK);
            }
        });
    }
    yard.pass(u64::MAX);
    assert!(yard.bytes.get() >= 120 * BLOCK, "{}", yard.bytes.get());
    assert!(yard.bytes.get() <= 140 * BLOCK, "{}", yard.bytes.get());
    yard.pass(u64::MAX);
    assert_eq!(yard.bytes.get(), 120 * BLOCK, "the next pass counts them");
}

#[test]
fn growth_that_may_be_counted_twice_evicts_nothing_that_is_used() {
    let yard = Yard::new();
    let files = yard.files(A);
    for n in 0..100 {
        write(&files, &plain(n), NOW);
    }
    yard.at_pause(1, |yard| yard.bytes.set(1 << 30));
    assert_eq!(yard.pass(120 * BLOCK).evicted_files, 0);
    assert_eq!(yard.bytes.get(), (1 << 30) + 100 * BLOCK);
}

#[test]
fn a_pass_works_while_others_write_and_remove() {
    let yard = Yard::new();
    let files = yard.files(A);
    thread::scope(|s| {
        let writers: Vec<_> = (0..2)
            .map(|w: u32| {
                let files = &files;
                s.spawn(move || {
                    for n in 0..1_500 {
                        write(files, &plain(n), NOW);
                        write(files, &variant(n % 7), NOW);
                        let place = if w == 0 { plain(n / 2) } else { variant(n % 5) };
                        files.remove(&place).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(|w| w.is_finished()) {
            yard.bytes.set(u64::MAX / 2);
            assert!(yard.pass(200 * BLOCK).finished);
        }
    });
    let passed = yard.pass(200 * BLOCK);
    assert!(passed.kept_bytes <= 200 * BLOCK && yard.bytes.get() == passed.kept_bytes);
    assert!(names(yard.path("tmp")).is_empty());
}

#[test]
fn a_pass_ends_when_its_process_does() {
    let mut yard = Yard::new();
    let files = yard.files(A);
    for n in 0..1_000 {
        write(&files, &plain(n), NOW);
    }
    yard.bytes.set(77);
    yard.stop_after = 10;
    let passed = yard.pass(0);
    assert!(!passed.finished && yard.pauses.get() == 10);
    assert_eq!(yard.bytes.get(), 77, "half a count is no count");
    // In the middle of an eviction, what went is counted.
    yard.pauses.set(0);
    yard.stop_after = names(yard.path("pages").join(A)).len() as u64 + 10;
    let passed = yard.pass(0);
    assert!(!passed.finished && passed.evicted_files >= 10);
    assert_eq!(yard.bytes.get(), (1_000 - passed.evicted_files) * BLOCK);
    assert_eq!(left(&files, 0..1_000).len() as u64, passed.kept_files);
}

#[test]
fn trouble_is_noted_and_no_descriptors_end_the_pass() {
    let yard = Yard::new();
    let mut pass = Pass { ground: &yard, now: t(NOW), passed: Passed::default() };
    let failed = |errno: Errno| Err::<(), _>(io::Error::from(errno));
    for usual in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP] {
        assert!(matches!(pass.note(failed(usual)), Ok(None)));
        assert!(pass.passed.trouble.is_none());
    }
    assert!(matches!(pass.note(failed(Errno::IO)), Ok(None)));
    assert!(matches!(pass.note(failed(Errno::ACCESS)), Ok(None)));
    let first = pass.passed.trouble.as_ref().and_then(Errno::from_io_error);
    assert_eq!(first, Some(Errno::IO));
    assert!(matches!(pass.note(failed(Errno::MFILE)), Err(Halt::Trouble(_))));
}
