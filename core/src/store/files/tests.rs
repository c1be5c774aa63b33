use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::sync::thread;

const DEPLOYMENT: &str = "0123456789abcdef";
const MAX: u64 = 1 << 20;

/// A store's directory.
struct Ground {
    dir: TempDir,
    files: Files,
}

impl Ground {
    fn new() -> Ground {
        Ground::at(TempDir::new().unwrap())
    }

    /// For many writes, in memory where there is such a place.
    fn in_memory() -> Ground {
        Ground::at(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap())
    }

    fn at(dir: TempDir) -> Ground {
        let files = open(dir.path(), DEPLOYMENT).unwrap();
        Ground { dir, files }
    }

    fn write(&self, place: &FilePlace, bytes: &[u8], secs: u64) -> io::Result<i64> {
        self.files.write(place, bytes, 3, false, t(secs))
    }

    fn read(&self, place: &FilePlace) -> Option<Vec<u8>> {
        self.files.read(place, MAX, t(NOW)).unwrap()
    }

    fn path_of(&self, place: &FilePlace) -> PathBuf {
        self.dir.path().join("pages").join(DEPLOYMENT).join(place.to_string())
    }

    /// Seconds of the modification time.
    fn mtime(&self, place: &FilePlace) -> u64 {
        self.path_of(place).metadata().unwrap().mtime() as u64
    }

    fn temps(&self) -> usize {
        self.dir.path().join("tmp").read_dir().unwrap().count()
    }
}

fn open(v1: &Path, deployment: &str) -> io::Result<Files> {
    Files::open(std::fs::File::open(v1).unwrap(), deployment)
}

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn t(secs: u64) -> Time {
    Time::from_nanos(secs * 1_000_000_000)
}

fn plain(path: &str) -> FilePlace {
    FilePlace::new(7, path.as_bytes(), b"")
}

fn variant(path: &str, n: u32) -> FilePlace {
    FilePlace::new(7, path.as_bytes(), format!("v={n}").as_bytes())
}

fn is_root() -> bool {
    own_uid() == 0
}

#[test]
fn what_is_written_is_read_replaced_and_removed() {
    let g = Ground::new();
    for place in [plain("/a"), variant("/a", 1)] {
        assert_eq!(g.read(&place), None);
        assert_eq!(g.files.remove(&place).unwrap(), 0);
        g.write(&place, b"one", NOW).unwrap();
        assert_eq!(g.read(&place).as_deref(), Some(b"one".as_slice()));
        g.write(&place, b"", NOW).unwrap();
        assert_eq!(g.read(&place).as_deref(), Some(b"".as_slice()));
        assert!(g.files.remove(&place).unwrap() > 0);
        assert_eq!(g.read(&place), None);
    }
    assert_eq!(g.temps(), 0);
}

#[test]
fn leftovers_of_a_seat_are_removed_by_its_next_owner() {
    let g = Ground::new();
    for name in ["3-1", "3-77", "33-1", "4-3", "3", "x"] {
        std::fs::write(g.dir.path().join("tmp").join(name), b"half a page").unwrap();
    }
    g.files.clear_leftovers(3).unwrap();
    let left = g.dir.path().join("tmp").read_dir().unwrap().map(|e| e.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["3", "33-1", "4-3", "x"]);
}

#[test]
fn another_deployment_and_another_opening() {
    let g = Ground::new();
    g.write(&plain("/a"), b"one", NOW).unwrap();
    let other = open(g.dir.path(), "fedcba9876543210").unwrap();
    assert_eq!(other.read(&plain("/a"), MAX, t(NOW)).unwrap(), None);
    let same = open(g.dir.path(), DEPLOYMENT).unwrap();
    assert_eq!(same.read(&plain("/a"), MAX, t(NOW)).unwrap().unwrap(), b"one");
    for wrong in ["", "..", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
        assert_eq!(open(g.dir.path(), wrong).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn everything_is_for_its_owner_alone() {
    let g = Ground::new();
    let place = variant("/a", 1);
    g.write(&place, b"one", NOW).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let file = g.path_of(&place);
    assert_eq!(mode(&file), 0o600);
    for dir in file.ancestors().skip(1).take_while(|d| *d != g.dir.path()) {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    assert_eq!(mode(&g.dir.path().join("tmp")), 0o700);
}

#[test]
fn bytes_are_counted_in_blocks() {
    let g = Ground::new();
    let (a, b, c) = (plain("/a"), variant("/a", 1), variant("/a", 2));
    assert_eq!(g.write(&a, &[0; 4096], NOW).unwrap(), 4096);
    assert_eq!(g.write(&a, &[0; 4097], NOW).unwrap(), 4096);
    assert_eq!(g.write(&a, b"", NOW).unwrap(), -4096);
    // The folder of variants is a block, too.
    assert_eq!(g.write(&b, b"x", NOW).unwrap(), 8192);
    assert_eq!(g.write(&c, b"x", NOW).unwrap(), 4096);
    assert_eq!(g.write(&c, b"y", NOW).unwrap(), 0);
    assert_eq!(g.files.remove(&b).unwrap(), 4096);
    assert_eq!(g.files.remove(&c).unwrap(), 8192);
    assert_eq!(g.files.remove(&a).unwrap(), 4096);
    assert!(!g.path_of(&b).parent().unwrap().exists());
}

#[test]
fn variants_are_counted_listed_and_removed_without_the_path_itself() {
    let g = Ground::new();
    assert_eq!(g.files.variants(&plain("/a")).unwrap(), 0);
    assert!(g.files.variant_places(&plain("/a")).unwrap().is_empty());
    let places: Vec<_> = (0..5).map(|n| variant("/a", n)).collect();
    for place in places.iter().chain(&[plain("/a"), variant("/b", 0)]) {
        g.write(place, b"x", NOW).unwrap();
    }
    std::fs::write(g.path_of(&places[0]).with_file_name("README"), "not ours").unwrap();
    for place in [&plain("/a"), &places[3]] {
        assert_eq!(g.files.variants(place).unwrap(), 5);
        let listed = g.files.variant_places(place).unwrap();
        assert!(listed.len() == 5 && places.iter().all(|p| listed.contains(p)));
    }
    let listed = g.files.variant_places(&plain("/a")).unwrap();
    let freed: u64 = listed.iter().map(|p| g.files.remove(p).unwrap()).sum();
    // The folder stays for what is not ours.
    assert_eq!((freed, g.files.variants(&plain("/a")).unwrap()), (5 * 4096, 0));
    assert!(g.read(&plain("/a")).is_some() && g.read(&variant("/b", 0)).is_some());
    assert!(g.path_of(&places[0]).with_file_name("README").exists());
}

#[test]
fn a_new_file_is_on_probation_and_a_use_is_noted_once_a_minute() {
    let g = Ground::new();
    let a = plain("/a");
    g.write(&a, b"one", NOW).unwrap();
    assert_eq!(g.mtime(&a), NOW - HOUR);
    let use_at = |secs| g.files.read(&a, MAX, t(secs)).unwrap().unwrap();
    use_at(NOW + 1);
    assert_eq!(g.mtime(&a), NOW + 1);
    use_at(NOW + 61);
    assert_eq!(g.mtime(&a), NOW + 1, "not after 60 s");
    use_at(NOW + 62);
    assert_eq!(g.mtime(&a), NOW + 62);
    g.files.touch(&a, t(NOW + 200)).unwrap();
    assert_eq!(g.mtime(&a), NOW + 200);
    g.files.touch(&plain("/none"), t(NOW)).unwrap();
    g.files.read_head(&a).unwrap();
    assert_eq!(g.mtime(&a), NOW + 200, "a look at the head is no use");
}

#[test]
fn a_replaced_file_keeps_its_last_use() {
    let g = Ground::new();
    let a = plain("/a");
    g.write(&a, b"one", NOW).unwrap();
    g.files.touch(&a, t(NOW)).unwrap();
    g.write(&a, b"two", NOW + 100).unwrap();
    assert_eq!(g.mtime(&a), NOW, "used later than on probation");
    g.write(&a, b"three", NOW + 2 * HOUR).unwrap();
    assert_eq!(g.mtime(&a), NOW + HOUR, "on probation again");
}

#[test]
fn a_clock_that_was_wrong_is_set_right_by_the_next_use() {
    let g = Ground::new();
    let (a, b, ahead) = (plain("/a"), plain("/b"), NOW + 10 * 365 * 24 * HOUR);
    for place in [&a, &b] {
        g.write(place, b"one", ahead).unwrap();
        g.files.touch(place, t(ahead)).unwrap();
    }
    g.files.touch(&a, t(NOW)).unwrap();
    g.write(&b, b"two", NOW).unwrap();
    assert_eq!((g.mtime(&a), g.mtime(&b)), (NOW, NOW));
    g.write(&plain("/c"), b"before the hour", 5).unwrap();
    assert_eq!(g.mtime(&plain("/c")), 0);
}

#[test]
fn a_file_beyond_the_bound_is_refused_unread() {
    let g = Ground::new();
    let a = plain("/a");
    g.write(&a, &[0; 100], NOW).unwrap();
    assert_eq!(g.files.read(&a, 100, t(NOW)).unwrap().unwrap().len(), 100);
    let error = g.files.read(&a, 99, t(NOW)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("100 bytes; at most 99"), "{error}");
    // A hole takes no disk, and must take no memory.
    std::fs::OpenOptions::new().write(true).open(g.path_of(&a)).unwrap().set_len(1 << 40).unwrap();
    assert!(g.files.read(&a, MAX, t(NOW)).is_err());
}

#[test]
fn only_a_whole_head_counts() {
    let g = Ground::new();
    let a = plain("/a");
    assert_eq!(g.files.read_head(&a).unwrap(), None);
    let page = crate::page::Page::new(crate::page::Parts {
        key: b"/a".as_slice().into(),
        path_len: 2,
        route: None,
        status: 200,
        fields: Vec::new(),
        body: Box::default(),
        etag: Box::default(),
        encoded: Vec::new(),
        tags: crate::invalidation::Tags::default(),
        revalidate: Lifetime::NEVER,
        expire: Lifetime::NEVER,
        started: 5,
        render_micros: 0,
        generated: t(NOW),
        oldest: 5,
    });
    let bytes = codec::encode(&page, 9, "d");
    g.write(&a, &bytes, NOW).unwrap();
    let head = Head { era: 9, started: 5, len: bytes.len() as u64 };
    assert_eq!(g.files.read_head(&a).unwrap(), Some(head));
    for cut in [0, HEAD_LEN - 1, HEAD_LEN, bytes.len() - 1] {
        g.write(&a, &bytes[..cut], NOW).unwrap();
        assert_eq!(g.files.read_head(&a).unwrap(), None, "{cut} bytes");
    }
}

#[test]
fn no_symlink_is_followed_anywhere() {
    let outside = TempDir::new().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();

    // In place of a file: refused, replaced by a write, removed itself.
    let g = Ground::new();
    let a = plain("/a");
    g.write(&a, b"one", NOW).unwrap();
    std::fs::remove_file(g.path_of(&a)).unwrap();
    symlink(&secret, g.path_of(&a)).unwrap();
    assert_eq!(
        g.files.read(&a, MAX, t(NOW)).unwrap_err().raw_os_error(),
        Some(Errno::LOOP.raw_os_error())
    );
    assert!(g.files.read_head(&a).is_err() && g.files.touch(&a, t(NOW)).is_err());
    assert_eq!(g.write(&a, b"two", NOW).unwrap(), 4096);
    assert_eq!(g.read(&a).unwrap(), b"two");
    std::fs::remove_file(g.path_of(&a)).unwrap();
    symlink(&secret, g.path_of(&a)).unwrap();
    assert_eq!(g.files.remove(&a).unwrap(), 0);
    assert!(g.path_of(&a).symlink_metadata().is_err());
    assert_eq!(std::fs::read(&secret).unwrap(), b"secret");

    // In place of each directory.
    let v = variant("/a", 1);
    let pages = PathBuf::from("pages");
    let own = pages.join(DEPLOYMENT);
    let bucket = own.join(str::from_utf8(v.bucket()).unwrap());
    let folder = bucket.join(str::from_utf8(v.folder()).unwrap());
    for (dir, refused_at_open) in
        [(pages, true), ("tmp".into(), true), (own, true), (bucket, false), (folder, false)]
    {
        let g = Ground::new();
        g.write(&v, b"one", NOW).unwrap();
        let moved = outside.path().join("moved");
        std::fs::rename(g.dir.path().join(&dir), &moved).unwrap();
        symlink(&moved, g.dir.path().join(&dir)).unwrap();
        let again = open(g.dir.path(), DEPLOYMENT);
        assert_eq!(again.is_err(), refused_at_open, "{}", dir.display());
        if let Ok(again) = again {
            assert!(again.read(&v, MAX, t(NOW)).is_err(), "{}", dir.display());
            assert!(again.write(&v, b"two", 3, false, t(NOW)).is_err());
            assert!(again.remove(&v).is_err() && again.variants(&v).is_err());
        }
        assert_eq!(g.temps(), 0);
        std::fs::remove_dir_all(&moved).unwrap();
    }
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let g = Ground::new();
    let (pipe, socket, dir) = (plain("/pipe"), plain("/socket"), plain("/dir"));
    for place in [&pipe, &socket, &dir] {
        g.write(place, b"x", NOW).unwrap();
        std::fs::remove_file(g.path_of(place)).unwrap();
    }
    fs::mkfifoat(fs::CWD, g.path_of(&pipe), Mode::RUSR | Mode::WUSR).unwrap();
    let _listening = std::os::unix::net::UnixListener::bind(g.path_of(&socket)).unwrap();
    std::fs::create_dir(g.path_of(&dir)).unwrap();
    for place in [&pipe, &socket, &dir] {
        assert!(g.files.read(place, MAX, t(NOW)).is_err(), "{place}");
    }
    assert!(g.write(&dir, b"x", NOW).is_err() && g.files.remove(&dir).is_err());
    assert_eq!(g.temps(), 0);
    for place in [&pipe, &socket] {
        assert_eq!(g.write(place, b"y", NOW).unwrap(), 4096);
        assert_eq!(g.read(place).unwrap(), b"y");
    }
}

#[test]
fn what_belongs_to_another_is_refused() {
    if !is_root() {
        return; // Nobody else can give files away.
    }
    let g = Ground::new();
    let a = plain("/a");
    g.write(&a, b"one", NOW).unwrap();
    std::os::unix::fs::chown(g.path_of(&a), Some(12345), None).unwrap();
    let error = g.files.read(&a, MAX, t(NOW)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("12345"), "{error}");
    assert!(g.files.read_head(&a).is_err());
    for dir in ["tmp", "pages"] {
        std::os::unix::fs::chown(g.dir.path().join(dir), Some(12345), None).unwrap();
        let error = open(g.dir.path(), DEPLOYMENT).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{dir}");
        std::os::unix::fs::chown(g.dir.path().join(dir), Some(0), None).unwrap();
    }
}

#[test]
fn directories_taken_away_are_made_again() {
    let g = Ground::new();
    let (a, v) = (plain("/a"), variant("/a", 1));
    for gone in ["pages", "tmp", &format!("pages/{DEPLOYMENT}")] {
        g.write(&a, b"one", NOW).unwrap();
        std::fs::remove_dir_all(g.dir.path().join(gone)).unwrap();
        if gone != "tmp" {
            assert_eq!(g.read(&a), None, "{gone}");
            assert_eq!(g.files.remove(&a).unwrap() + g.files.remove(&v).unwrap(), 0);
        }
        g.write(&v, b"two", NOW).unwrap();
        assert_eq!(g.read(&v).unwrap(), b"two", "{gone}");
    }
    std::fs::remove_dir_all(g.dir.path()).unwrap();
    assert_eq!(g.read(&v), None);
    assert_eq!(g.write(&v, b"three", NOW).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_former_owner_of_the_seat_is_not_in_the_way() {
    let g = Ground::new();
    let next = g.files.next.load(Ordering::Relaxed);
    std::fs::write(g.dir.path().join("tmp").join(format!("3-{next}")), "left").unwrap();
    assert_eq!(g.write(&plain("/a"), b"x", NOW).unwrap(), 4096);
    assert_eq!(g.read(&plain("/a")).unwrap(), b"x");
    let tmp = g.dir.path().join("tmp").join(format!("3-{next}"));
    assert_eq!(std::fs::read(tmp).unwrap(), b"left");
}

#[test]
fn durable_writes_are_written_too() {
    let g = Ground::new();
    for place in [plain("/a"), variant("/a", 1)] {
        for bytes in [b"one", b"two"] {
            g.files.write(&place, bytes, 3, true, t(NOW)).unwrap();
            assert_eq!(g.read(&place).unwrap(), bytes);
        }
    }
}

#[test]
fn a_reader_sees_the_old_or_the_new_page_and_never_a_part() {
    let g = Ground::in_memory();
    let places = [plain("/a"), variant("/a", 1)];
    for place in &places {
        g.write(place, &[0; 10_000], NOW).unwrap();
    }
    thread::scope(|s| {
        for place in &places {
            let g = &g;
            s.spawn(move || {
                for n in 1..200u8 {
                    g.write(place, &vec![n; 10_000 + usize::from(n)], NOW).unwrap();
                }
            });
            s.spawn(move || {
                let mut last = 0;
                while last < 199 {
                    let page = g.read(place).unwrap();
                    assert!(page[0] >= last && page.iter().all(|b| *b == page[0]));
                    assert_eq!(page.len(), 10_000 + usize::from(page[0]));
                    last = page[0];
                }
            });
        }
    });
    assert_eq!(g.temps(), 0);
}

#[test]
fn a_folder_emptied_again_and_again_stops_no_writer() {
    let g = Ground::in_memory();
    let (a, b) = (variant("/a", 1), variant("/a", 2));
    thread::scope(|s| {
        let writer = s.spawn(|| {
            for _ in 0..300 {
                g.write(&a, b"x", NOW).unwrap();
                g.files.remove(&a).unwrap();
            }
        });
        for _ in 0..300 {
            g.write(&b, b"x", NOW).unwrap();
            g.files.remove(&b).unwrap();
        }
        writer.join().unwrap();
    });
    assert_eq!(g.files.variants(&a).unwrap(), 0);
}
