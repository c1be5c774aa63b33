//! The program's pointer that goes with a callback.

use std::ffi::c_void;

use crate::status::aside;

/// Frees `user_data`; called exactly once, when no callback that got it can run any more, also where the call that was
/// given it fails. May be NULL.
///
/// Threads: any.
pub type isr_free_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A program's pointer with its free function, called on drop. Made first in every function that is given one, so that it is
/// freed on every path.
pub(crate) struct UserData {
    pointer: *mut c_void,
    free: isr_free_fn,
}

// SAFETY: the header says that callbacks and the free function are called on any thread.
unsafe impl Send for UserData {}
// SAFETY: as above, concurrently.
unsafe impl Sync for UserData {}

impl UserData {
    /// # Safety
    /// `free` is NULL, or may be called once with `pointer`, on any thread.
    pub(crate) unsafe fn new(pointer: *mut c_void, free: isr_free_fn) -> UserData {
        UserData { pointer, free }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: promised in `new`; this is the only call.
            aside(|| unsafe { free(self.pointer) });
        }
    }
}
