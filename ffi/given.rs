//! The memory of answers and pages: one block for an answer and its page, taken from those that the thread freed before.
//!
//! A hit makes an answer and frees it soon after. With a block for both, and with blocks that are used again, that costs no
//! allocation.

use std::cell::RefCell;
use std::mem::offset_of;

use isr_core::{Answer, Error, Page};

use crate::answer::isr_answer;
use crate::handle::{self, Handle, Owned, Shell};
use crate::page::isr_page;
use crate::status::invalid;

/// What is behind a page's handle.
pub(crate) enum Given {
    /// A page that was not asked for by a request.
    Page(Page),
    Answer(Answer),
}

impl Given {
    pub(crate) fn page(&self) -> &Page {
        match self {
            Given::Page(page) => page,
            Given::Answer(answer) => answer.page(),
        }
    }
}

/// The handle of a page, and that of its answer, which has a reference to it. Without an answer the latter is dead from the beginning.
#[repr(C)]
struct Block {
    page: Shell<Given>,
    answer: Shell<()>,
}

impl Block {
    fn new() -> Box<Block> {
        Box::new(Block { page: Shell::dead(), answer: Shell::dead() })
    }
}

/// The block of an answer's handle.
///
/// # Safety
/// Made by [`answer`], and not freed.
unsafe fn block_of(answer: *const isr_answer) -> *const Block {
    // SAFETY: the shell lies in its block.
    unsafe { answer.byte_sub(offset_of!(Block, answer)) }.cast()
}

/// A new handle of an answer, with one reference.
pub(crate) fn answer(answer: Answer) -> *mut isr_answer {
    let mut block = take();
    block.page.revive::<isr_page>(Given::Answer(answer));
    block.answer.revive::<isr_answer>(());
    let block = Box::into_raw(block);
    // SAFETY: within the block.
    unsafe { &raw mut (*block).answer }.cast()
}

/// A new handle of a page, with one reference.
pub(crate) fn page(page: Page) -> Owned<isr_page> {
    let mut block = take();
    block.page.revive::<isr_page>(Given::Page(page));
    // SAFETY: a live handle whose reference nobody has yet. The page's shell is the first of the block.
    unsafe { Owned::from_ptr(Box::into_raw(block).cast()) }
}

/// The answer behind a handle.
///
/// # Safety
/// As for [`handle::get`].
pub(crate) unsafe fn read<'a>(answer: *const isr_answer) -> Result<&'a Answer, Error> {
    // SAFETY: the caller's promise.
    match unsafe { handle::get(page_of(answer)?) }? {
        Given::Answer(answer) => Ok(answer),
        Given::Page(_) => Err(invalid("this is a page, not an answer")),
    }
}

/// The handle of an answer's page.
///
/// # Safety
/// As for [`handle::get`].
pub(crate) unsafe fn page_of(answer: *const isr_answer) -> Result<*const isr_page, Error> {
    // SAFETY: the caller's promise.
    unsafe { handle::get(answer) }?;
    // SAFETY: a live handle, so one that `answer` has made; the page's shell is the first of the block.
    Ok(unsafe { block_of(answer) }.cast())
}

impl Handle for isr_page {
    type Value = Given;
    const MAGIC: u64 = u64::from_le_bytes(*b"isr-page");
    const NAME: &'static str = "isr_page";

    unsafe fn bury(shell: *mut Shell<Given>) {
        // SAFETY: the first of a block from `Box::into_raw`. An answer has a reference, so that it has ended before.
        keep(unsafe { Box::from_raw(shell.cast()) });
    }
}

impl Handle for isr_answer {
    type Value = ();
    const MAGIC: u64 = u64::from_le_bytes(*b"isranswr");
    const NAME: &'static str = "isr_answer";

    unsafe fn bury(shell: *mut Shell<()>) {
        // SAFETY: an answer's shell; the block lives, for its page is still referred to.
        let page = unsafe { block_of(shell.cast_const().cast()) }.cast::<isr_page>();
        // SAFETY: the reference of the answer, which ends. It lives, so that there is no error to report.
        let _ = unsafe { handle::release(page) };
    }
}

/// How many freed blocks a thread keeps before it uses the oldest again: a late use of a handle finds a dead one for so long.
const KEPT: usize = 32;

struct Stock {
    freed: [Option<Box<Block>>; KEPT],
    oldest: usize,
    spare: Option<Box<Block>>,
}

thread_local! {
    static STOCK: RefCell<Stock> =
        const { RefCell::new(Stock { freed: [const { None }; KEPT], oldest: 0, spare: None }) };
}

impl Drop for Stock {
    fn drop(&mut self) {
        handle::keep_old(self.freed.iter_mut().filter_map(|b| Some(b.take()? as handle::Grave)));
    }
}

fn take() -> Box<Block> {
    let spare = STOCK.try_with(|stock| stock.borrow_mut().spare.take());
    spare.ok().flatten().unwrap_or_else(Block::new)
}

/// Keeps a block whose handles have ended.
fn keep(block: Box<Block>) {
    debug_assert!(block.answer.is_dead());
    // While the thread is being torn down there is no stock; the memory goes at once.
    let _ = STOCK.try_with(|stock| {
        let stock = &mut *stock.borrow_mut();
        let oldest = stock.oldest;
        stock.spare = stock.freed[oldest].replace(block).or(stock.spare.take());
        stock.oldest = (oldest + 1) % KEPT;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isr_core::{Cache, Options, PageResult, RenderJob, Request, RouteOptions};

    use super::*;

    fn an_answer() -> Answer {
        let cache = Cache::open(Options::default()).unwrap();
        let render = |job: RenderJob| drop(job.complete(PageResult::new("body")));
        cache.add_route("/a", RouteOptions::default(), Arc::new(render)).unwrap();
        cache.get(&Request::new("/a")).unwrap()
    }

    #[test]
    fn a_page_outlives_its_answer_and_each_ends_once() {
        let handle = answer(an_answer());
        // SAFETY: live handles, then ones freed just now.
        unsafe {
            let page = handle::acquire(page_of(handle).unwrap()).unwrap();
            assert_eq!(read(handle).unwrap().page().path(), "/a");
            handle::release(handle).unwrap();
            assert_eq!(read(handle).unwrap_err().message(), "this isr_answer was freed");
            assert_eq!(handle::get(page).unwrap().page().body(), b"body");
            handle::release(page).unwrap();
            assert_eq!(handle::release(page).unwrap_err().message(), "this isr_page was freed");
            assert_eq!(handle::release(handle).unwrap_err().message(), "this isr_answer was freed");
        }
    }

    #[test]
    fn a_block_is_used_again_when_enough_others_were_freed_after_it() {
        let given = an_answer();
        let first = answer(given.clone());
        // SAFETY: live handles, then ones freed not long ago.
        unsafe {
            handle::release(first).unwrap();
            for _ in 0..KEPT {
                let other = answer(given.clone());
                assert!(!std::ptr::eq(first, other));
                assert_eq!(read(first).unwrap_err().message(), "this isr_answer was freed");
                handle::release(other).unwrap();
            }
            let again = answer(given);
            assert!(std::ptr::eq(first, again));
            handle::release(again).unwrap();
        }
    }

    #[test]
    fn a_page_alone_is_no_answer() {
        let page = page(an_answer().page().clone());
        // SAFETY: a live handle of another type.
        let text = unsafe { read(page.as_ptr().cast()) }.unwrap_err();
        assert!(text.message().contains("is not an isr_answer"), "{}", text.message());
    }
}
