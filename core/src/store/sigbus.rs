//! A mapped file that somebody truncates would kill the process at the next access (SIGBUS). Instead the mapping is replaced
//! by private zero pages, and its owner, who finds them, goes on alone. Other faults go to the handler that was there.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crate::sync::machine::{AtomicPtr, AtomicUsize, Ordering};

/// Mappings that may be watched at a time; further ones are not.
const PLACES: usize = 64;

/// Where a watched mapping lies.
struct Place {
    base: AtomicUsize,
    len: AtomicUsize,
}

static WATCHED: [Place; PLACES] =
    [const { Place { base: AtomicUsize::new(0), len: AtomicUsize::new(0) } }; PLACES];

/// The handler that was there before; set once, never freed.
static FORMER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// A watched mapping; no longer watched when dropped, which must come before it is unmapped.
pub(crate) struct Watched(Option<&'static Place>);

impl Watched {
    /// Watches a mapping of whole pages.
    pub(crate) fn new(base: usize, len: usize) -> io::Result<Watched> {
        install()?;
        for place in &WATCHED {
            if place.len.compare_exchange(0, len, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                place.base.store(base, Ordering::SeqCst);
                return Ok(Watched(Some(place)));
            }
        }
        Ok(Watched(None))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.base.store(0, Ordering::SeqCst);
            place.len.store(0, Ordering::SeqCst);
        }
    }
}

fn install() -> io::Result<()> {
    if !FORMER.load(Ordering::SeqCst).is_null() {
        return Ok(());
    }
    let former = Box::into_raw(Box::new(MaybeUninit::<libc::sigaction>::zeroed()));
    // SAFETY: a zeroed `sigaction` is a valid one; the pointer comes from a box.
    let result = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), (*former).as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let set =
        FORMER.compare_exchange(ptr::null_mut(), former.cast(), Ordering::SeqCst, Ordering::SeqCst);
    if set.is_err() {
        // SAFETY: it was made above and nobody else knows it.
        drop(unsafe { Box::from_raw(former) });
        return Ok(());
    }
    // SAFETY: a zeroed `sigaction` is a valid one.
    let mut own: libc::sigaction = unsafe { std::mem::zeroed() };
    own.sa_sigaction = on_sigbus as *const () as usize;
    own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `own` is complete, and the handler does nothing that is not allowed in one.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const own, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid siginfo to a handler that was installed with SA_SIGINFO.
    let (address, is_fault) = unsafe { ((*info).si_addr() as usize, (*info).si_code > 0) };
    // One that somebody has sent has no address.
    for place in WATCHED.iter().filter(|_| is_fault) {
        let base = place.base.load(Ordering::SeqCst);
        let len = place.len.load(Ordering::SeqCst);
        if base == 0 || address < base || address >= base + len {
            continue;
        }
        // SAFETY: the range is the watched mapping, whole pages, which stays mapped while it is watched; mmap is a plain
        // system call here.
        let mapped = unsafe {
            libc::mmap(
                base as *mut c_void,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if mapped as usize == base {
            return;
        }
    }
    // SAFETY: `FORMER` was set before this handler was installed and is never freed; it is called as its own flags say.
    unsafe {
        let former = FORMER.load(Ordering::SeqCst);
        match (*former).sa_sigaction {
            libc::SIG_IGN if !is_fault => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                // The access is made again, and ends the process as it would have; one that was sent is sent again.
                libc::signal(signal, libc::SIG_DFL);
                if !is_fault {
                    libc::raise(signal);
                }
            }
            handler if (*former).sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::{Command, ExitStatus};

    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Runs one of the cases below in a process of its own.
    fn run(case: &str) -> ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &format!("store::sigbus::tests::{case}")])
            .output()
            .unwrap()
            .status
    }

    /// A file of two pages that is mapped, and whether it is watched.
    fn mapped(watch: bool) -> (std::fs::File, *mut u8, Option<Watched>) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        // SAFETY: a new mapping of an open file.
        let base = unsafe {
            let flags = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), 8192, flags, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(base, libc::MAP_FAILED);
        let watched = watch.then(|| Watched::new(base.addr(), 8192).unwrap());
        (file, base.cast(), watched)
    }

    #[test]
    fn a_truncated_mapping_is_zero_pages_and_others_end_the_process() {
        assert!(run("case_watched").success());
        assert_eq!(run("case_not_watched").signal(), Some(libc::SIGBUS));
        assert_eq!(run("case_no_longer_watched").signal(), Some(libc::SIGBUS));
        assert_eq!(run("case_sent").signal(), Some(libc::SIGBUS));
        assert_eq!(run("case_former_handler").code(), Some(77));
        assert_eq!(run("case_former_handler_of_a_sent_one").code(), Some(77));
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_watched() {
        let (file, base, _watched) = mapped(true);
        // SAFETY: within the mapping, which nobody else uses.
        unsafe {
            base.write_volatile(7);
            base.add(5000).write_volatile(8);
            file.set_len(0).unwrap();
            assert_eq!(base.add(5000).read_volatile(), 0);
            base.write_volatile(9);
            assert_eq!((base.read_volatile(), base.add(5000).read_volatile()), (9, 0));
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_not_watched() {
        let (_other, _, _watched) = mapped(true);
        let (file, base, _) = mapped(false);
        file.set_len(0).unwrap();
        // SAFETY: within a mapping; the fault is what is tested.
        unsafe { base.read_volatile() };
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_no_longer_watched() {
        let (file, base, watched) = mapped(true);
        drop(watched);
        file.set_len(0).unwrap();
        // SAFETY: as above.
        unsafe { base.read_volatile() };
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_sent() {
        install_former(libc::SIG_DFL);
        send();
    }

    fn send() {
        let (_file, _, _watched) = mapped(true);
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGBUS) };
        std::process::exit(0);
    }

    extern "C" fn exit_77(_: libc::c_int) {
        // SAFETY: allowed in a handler.
        unsafe { libc::_exit(77) };
    }

    fn install_former(handler: libc::sighandler_t) {
        // SAFETY: the handler does nothing that is not allowed in one.
        unsafe { libc::signal(libc::SIGBUS, handler) };
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_former_handler() {
        install_former(exit_77 as *const () as usize);
        case_not_watched();
    }

    #[test]
    #[ignore = "a case of another test"]
    fn case_former_handler_of_a_sent_one() {
        install_former(exit_77 as *const () as usize);
        send();
    }
}
