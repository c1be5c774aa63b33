//! Threads of the system, started without `std`.
//!
//! Where `main` is Rust's, each thread of `std` takes a lock of the whole process when it begins and when it ends, for its word
//! on a stack overflow. A child whose parent was just then starting or ending one finds that lock held for ever, and no thread
//! of `std` begins in it any more. Seen with Rust 1.95: one fork in some thousands.

use std::ffi::{CString, c_void};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

type Body = Box<dyn FnOnce() + Send>;

/// A thread that runs on when this is dropped.
pub(crate) struct JoinHandle(libc::pthread_t);

// SAFETY: the name of a thread, which any thread may wait for.
unsafe impl Send for JoinHandle {}
// SAFETY: as above; nothing is done with a shared one.
unsafe impl Sync for JoinHandle {}

/// Starts a thread. The system keeps the first 15 bytes of its name.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    let named = CString::new(&name[..name.len().min(15)])?;
    let body = move || {
        // SAFETY: of the calling thread, with a string that ends with a zero.
        unsafe { libc::pthread_setname_np(libc::pthread_self(), named.as_ptr()) };
        body();
    };
    let body: *mut Body = Box::into_raw(Box::new(Box::new(body)));
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `run` takes what is given to it; the thread is written where this succeeds.
    let status =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, body.cast()) };
    if status != 0 {
        // SAFETY: from the box above; no thread has it.
        drop(unsafe { Box::from_raw(body) });
        return Err(io::Error::from_raw_os_error(status));
    }
    // SAFETY: written, for it succeeded.
    Ok(JoinHandle(unsafe { thread.assume_init() }))
}

extern "C" fn run(body: *mut c_void) -> *mut c_void {
    // SAFETY: from `spawn`, which gives it to this thread alone.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    // What it panicked with was reported where it happened.
    let _ = catch_unwind(AssertUnwindSafe(body));
    ptr::null_mut()
}

impl JoinHandle {
    /// Waits for its end, and for that of its thread-locals.
    pub(crate) fn join(self) {
        let thread = ManuallyDrop::new(self).0;
        // SAFETY: neither joined nor detached before: that takes the handle.
        unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    }
}

impl Drop for JoinHandle {
    fn drop(&mut self) {
        // SAFETY: as in `join`.
        unsafe { libc::pthread_detach(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_has_a_name_and_survives_its_panic_and_its_handle() {
        let (tell, told) = mpsc::channel();
        let name = || std::fs::read_to_string("/proc/thread-self/comm").unwrap();
        let told_name = tell.clone();
        spawn("isr-with-a-long-name", move || {
            told_name.send(name()).unwrap();
            panic!("for this test");
        })
        .unwrap()
        .join();
        assert_eq!(told.recv().unwrap(), "isr-with-a-long\n");
        drop(spawn("isr-b", move || tell.send(name()).unwrap()).unwrap());
        assert_eq!(told.recv().unwrap(), "isr-b\n");
        spawn("a\0b", || ()).map(drop).unwrap_err();
    }
}
