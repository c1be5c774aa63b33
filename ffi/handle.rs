//! Opaque handles: counted references behind a pointer, with a word that tells what they are and whether they live.

use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use isr_core::Error;

use crate::status::invalid;

/// A type that C sees as an opaque struct.
pub(crate) trait Handle: 'static {
    /// What is behind it. Read from any thread.
    type Value: Send + Sync;
    /// Differs for each type, so that a handle of another type is noticed.
    const MAGIC: u64;
    /// For messages.
    const NAME: &'static str;

    /// Keeps the memory of a freed handle for a while, so that a late use finds [`DEAD`] and not another object.
    ///
    /// # Safety
    /// A shell whose value was moved out and whose magic word is [`DEAD`], from where handles of this type are made.
    unsafe fn bury(shell: *mut Shell<Self::Value>);
}

/// A handle in memory of its own, made by [`open`].
pub(crate) trait Alone: Handle {}

macro_rules! handle {
    ($name:ident, $value:ty, $magic:literal) => {
        impl crate::handle::Handle for $name {
            type Value = $value;
            const MAGIC: u64 = u64::from_le_bytes(*$magic);
            const NAME: &'static str = stringify!($name);

            unsafe fn bury(shell: *mut crate::handle::Shell<$value>) {
                // SAFETY: made by `open`.
                crate::handle::bury(unsafe { Box::from_raw(shell) });
            }
        }

        impl crate::handle::Alone for $name {}
    };
}
pub(crate) use handle;

/// What a handle points to. `magic` comes first and stays readable for a while after the end; see [`Handle::bury`].
#[repr(C)]
pub(crate) struct Shell<T> {
    magic: AtomicU64,
    count: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// The magic word of a handle that was freed.
pub(crate) const DEAD: u64 = u64::from_le_bytes(*b"isrdead!");

impl<T> Shell<T> {
    /// One without a value.
    pub(crate) const fn dead() -> Shell<T> {
        Shell {
            magic: AtomicU64::new(DEAD),
            count: AtomicUsize::new(0),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Makes a dead one a handle with one reference.
    #[inline]
    pub(crate) fn revive<H: Handle<Value = T>>(&mut self, value: T) {
        self.value.get_mut().write(value);
        *self.count.get_mut() = 1;
        *self.magic.get_mut() = H::MAGIC;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.magic.load(Ordering::Relaxed) == DEAD
    }
}

/// A new handle with one reference.
pub(crate) fn open<H: Alone>(value: H::Value) -> *mut H {
    let mut shell = Box::new(Shell::dead());
    shell.revive::<H>(value);
    Box::into_raw(shell).cast::<H>()
}

/// Checks a handle that came from C.
///
/// # Safety
/// `handle` is NULL, or points to a handle of this library that was freed not long ago or lives.
unsafe fn shell<'a, H: Handle>(handle: *const H) -> Result<&'a Shell<H::Value>, Error> {
    let shell = handle.cast::<Shell<H::Value>>();
    if shell.is_null() {
        return Err(invalid(format!("{} must not be NULL", H::NAME)));
    }
    if !shell.is_aligned() {
        return Err(invalid(format!("{shell:p} is not an {}", H::NAME)));
    }
    // SAFETY: not NULL, aligned, and by the contract of this function a shell, whatever type of handle it is.
    match unsafe { (*shell).magic.load(Ordering::Acquire) } {
        // SAFETY: the magic word says that it is a live shell of this type.
        word if word == H::MAGIC => Ok(unsafe { &*shell }),
        DEAD => Err(invalid(format!("this {} was freed", H::NAME))),
        _ => Err(invalid(format!("{shell:p} is not an {}, or was freed", H::NAME))),
    }
}

/// What is behind a handle.
///
/// # Safety
/// As for [`shell`]; nobody frees the last reference while `'a` lasts.
pub(crate) unsafe fn get<'a, H: Handle>(handle: *const H) -> Result<&'a H::Value, Error> {
    // SAFETY: the caller's promise.
    let shell = unsafe { shell(handle) }?;
    // SAFETY: a live shell holds a value, which is only shared until the last reference goes.
    Ok(unsafe { (*shell.value.get()).assume_init_ref() })
}

/// Adds a reference and gives the handle back.
///
/// # Safety
/// As for [`get`].
pub(crate) unsafe fn acquire<H: Handle>(handle: *const H) -> Result<*mut H, Error> {
    // SAFETY: the caller's promise.
    let shell = unsafe { shell(handle) }?;
    if shell.count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
        shell.count.fetch_sub(1, Ordering::Relaxed);
        return Err(invalid(format!("this {} has too many references", H::NAME)));
    }
    Ok(handle.cast_mut())
}

/// Gives a reference back; the last one drops the value. NULL is fine.
///
/// # Safety
/// As for [`shell`]; the caller owns a reference.
pub(crate) unsafe fn release<H: Handle>(handle: *const H) -> Result<(), Error> {
    if handle.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    let live = unsafe { shell(handle) }?;
    // Who has the only reference shares it with nobody, so that the count needs no change.
    if live.count.load(Ordering::Acquire) == 1 || live.count.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: that was the last reference, so that nobody else reaches the value.
        drop(unsafe { end(handle) });
    }
    Ok(())
}

/// Takes the value out of a handle that is not counted, and ends it.
///
/// # Safety
/// As for [`shell`]; the caller owns the handle.
pub(crate) unsafe fn take<H: Handle>(handle: *mut H) -> Result<H::Value, Error> {
    // SAFETY: the caller's promise.
    unsafe { shell(handle) }?;
    // SAFETY: a live handle that the caller alone owns.
    Ok(unsafe { end(handle) })
}

/// Marks a handle as freed and moves its value out.
///
/// # Safety
/// The handle lives, and nobody else uses it any more.
unsafe fn end<H: Handle>(handle: *const H) -> H::Value {
    let shell = handle.cast_mut().cast::<Shell<H::Value>>();
    // SAFETY: it lives, and a live shell holds a value; the magic word keeps everybody from reading it again.
    let value = unsafe {
        (*shell).magic.store(DEAD, Ordering::Release);
        (*(*shell).value.get()).assume_init_read()
    };
    // SAFETY: just ended, and of this type.
    unsafe { H::bury(shell) };
    value
}

/// How many freed shells a thread keeps, and how many of threads that have ended are kept.
const GRAVES: usize = 64;
const OLD_GRAVES: usize = 512;

pub(crate) type Grave = Box<dyn Any + Send>;

/// The shells that a thread freed. One of its own for each thread, so that hits do not meet at a lock.
struct Graveyard(VecDeque<Grave>);

static OLD: Mutex<VecDeque<Grave>> = Mutex::new(VecDeque::new());

impl Drop for Graveyard {
    fn drop(&mut self) {
        keep_old(self.0.drain(..));
    }
}

/// Keeps what a thread that ends had freed.
pub(crate) fn keep_old(graves: impl Iterator<Item = Grave>) {
    // Where it is not free the memory goes at once. In a forked child it may never be.
    let Ok(mut old) = OLD.try_lock() else { return };
    old.extend(graves);
    let too_many = old.len().saturating_sub(OLD_GRAVES);
    old.drain(..too_many);
}

thread_local! {
    static GRAVEYARD: RefCell<Graveyard> = const { RefCell::new(Graveyard(VecDeque::new())) };
}

pub(crate) fn bury<T: Send + 'static>(shell: Box<Shell<T>>) {
    // While the thread is being torn down there is no graveyard; the memory goes at once.
    let _ = GRAVEYARD.try_with(|graves| {
        let graves = &mut graves.borrow_mut().0;
        if graves.len() == GRAVES {
            graves.pop_front();
        }
        graves.push_back(shell);
    });
}

/// A reference that Rust holds.
pub(crate) struct Owned<H: Handle>(*mut H);

// SAFETY: a counted reference to a value that is Send and Sync.
unsafe impl<H: Handle> Send for Owned<H> {}
// SAFETY: as above.
unsafe impl<H: Handle> Sync for Owned<H> {}

impl<H: Handle> Owned<H> {
    pub(crate) fn new(value: H::Value) -> Owned<H>
    where
        H: Alone,
    {
        Owned(open(value))
    }

    /// Takes over a reference.
    ///
    /// # Safety
    /// A live handle; nobody else gives this reference back.
    pub(crate) unsafe fn from_ptr(handle: *mut H) -> Owned<H> {
        Owned(handle)
    }

    /// Another reference to a handle that came from C.
    ///
    /// # Safety
    /// As for [`get`].
    pub(crate) unsafe fn another(handle: *const H) -> Result<Owned<H>, Error> {
        // SAFETY: the caller's promise.
        unsafe { acquire(handle) }.map(Owned)
    }

    /// The handle, with its reference.
    pub(crate) fn into_ptr(self) -> *mut H {
        std::mem::ManuallyDrop::new(self).0
    }

    /// The handle, borrowed.
    pub(crate) fn as_ptr(&self) -> *mut H {
        self.0
    }
}

impl<H: Handle> Drop for Owned<H> {
    fn drop(&mut self) {
        // SAFETY: this is the reference that `self` owns. It lives, so that there is no error to report.
        let _ = unsafe { release(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct A;
    handle!(A, Arc<()>, b"test---A");
    struct B;
    handle!(B, Arc<()>, b"test---B");

    #[test]
    fn wrong_handles_are_named() {
        let text = |e: Result<&Arc<()>, Error>| e.map(|_| ()).unwrap_err().message().to_string();
        // SAFETY: NULL, an address that is not read for its alignment, and a live handle of another type.
        unsafe {
            assert_eq!(text(get::<A>(std::ptr::null())), "A must not be NULL");
            assert!(text(get::<A>(std::ptr::without_provenance(1))).contains("is not an A"));
            let b = open::<B>(Arc::new(()));
            assert!(text(get::<A>(b.cast())).contains("is not an A"));
            release(b).unwrap();
        }
    }

    #[test]
    fn the_last_reference_drops_the_value_once() {
        let value = Arc::new(());
        let a = open::<A>(value.clone());
        // SAFETY: a live handle, then one freed just now.
        unsafe {
            acquire(a).unwrap();
            release(a).unwrap();
            assert_eq!(Arc::strong_count(&value), 2);
            release(a).unwrap();
            assert_eq!(Arc::strong_count(&value), 1);
            assert_eq!(release(a).unwrap_err().message(), "this A was freed");
            assert_eq!(take(a).unwrap_err().message(), "this A was freed");
        }
    }
}
