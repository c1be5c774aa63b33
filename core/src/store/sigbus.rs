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
    let address = unsafe { (*info).si_addr() } as usize;
    for place in &WATCHED {
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
            libc::SIG_DFL | libc::SIG_IGN => {
                // The access is made again, and ends the process as it would have.
                libc::signal(signal, libc::SIG_DFL);
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
