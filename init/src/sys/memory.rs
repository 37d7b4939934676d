//! The allocator: the C library's, with two things that a PID 1 needs.
//!
//! **Its children copy next to nothing of it.** Of all that init holds a child
//! needs what it is to start. That is copied to a stretch of its own, and the
//! heap is kept from the child (`MADV_DONTFORK`): a fork then costs the same
//! with a thousand services as with one, and no first write after it copies a
//! page. So no child may touch the heap; it doesn't allocate anyway.
//!
//! **It doesn't end for want of memory.** Where the kernel gives no more, a
//! reserve is given back, and the loop lets go of what it can do without. Where
//! that is not enough in one turn, init waits until there is some again: its
//! services run on, which they would not without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::{Forked, exit_now, fork};

struct Memory;

// Unit tests run in threads: there nobody minds services, so that there is no
// stretch, no reserve and no waiting, and all of it is the system's allocator.
#[global_allocator]
static MEMORY: Memory = Memory;

/// This process is the PID 1 that minds services: before, and in every other
/// use of this program, memory is as anywhere.
static MINDING: AtomicBool = AtomicBool::new(false);

// SAFETY: what is handed out is either the system allocator's or a piece of the
// stretch that nothing else has; which of them is told by its address.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(piece) = STRETCH.carve(layout) {
            return piece.as_ptr();
        }
        loop {
            // SAFETY: the caller's layout.
            let at = unsafe { System.alloc(layout) };
            if !at.is_null() || !has_waited() {
                return hidden_if_large(at, layout.size());
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(piece) = STRETCH.carve(layout) {
            // SAFETY: it is as large as the layout says, and nobody else's.
            unsafe { piece.as_ptr().write_bytes(0, layout.size()) };
            return piece.as_ptr();
        }
        loop {
            // SAFETY: the caller's layout.
            let at = unsafe { System.alloc_zeroed(layout) };
            if !at.is_null() || !has_waited() {
                return hidden_if_large(at, layout.size());
            }
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !STRETCH.has(at) {
            // SAFETY: it is none of the stretch, so it came from there.
            unsafe { System.dealloc(at, layout) }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if STRETCH.has(at) || STRETCH.is_used() {
            // SAFETY: the caller promises that the size is right for this
            // alignment.
            let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            // SAFETY: the caller's layout.
            let to = unsafe { self.alloc(wanted) };
            if !to.is_null() {
                // SAFETY: both are at least as large, and apart.
                unsafe { at.copy_to_nonoverlapping(to, size.min(layout.size())) };
                // SAFETY: it is the caller's, and used no more.
                unsafe { self.dealloc(at, layout) };
            }
            return to;
        }
        loop {
            // SAFETY: the caller's promise.
            let to = unsafe { System.realloc(at, layout, size) };
            if !to.is_null() || !has_waited() {
                return hidden_if_large(to, size);
            }
        }
    }
}

/// How large the stretch is: an environment is a few kilobytes, and what is
/// never used costs no memory. What does not fit makes that one fork as dear
/// as any other program's.
const STRETCH_BYTES: usize = 256 * 1024;

/// Where what a child is to start is copied to, one child after the other.
struct Stretch {
    start: AtomicPtr<u8>,
    used: AtomicUsize,
    /// What is allocated now is a child's: it goes there, where there is a
    /// stretch and it fits.
    open: AtomicBool,
    /// Something did not fit.
    overflowed: AtomicBool,
}

static STRETCH: Stretch = Stretch {
    start: AtomicPtr::new(null_mut()),
    used: AtomicUsize::new(0),
    open: AtomicBool::new(false),
    overflowed: AtomicBool::new(false),
};

impl Stretch {
    fn is_used(&self) -> bool {
        self.open.load(Relaxed)
    }

    fn has(&self, at: *mut u8) -> bool {
        let start = self.start.load(Relaxed);
        !start.is_null() && at.addr().wrapping_sub(start.addr()) < STRETCH_BYTES
    }

    /// A piece of it, where it is open and has room.
    fn carve(&self, layout: Layout) -> Option<NonNull<u8>> {
        if !self.is_used() {
            return None;
        }
        let start = self.start.load(Relaxed);
        if start.is_null() {
            return None;
        }
        let at = self.used.load(Relaxed).next_multiple_of(layout.align());
        let end = at.saturating_add(layout.size());
        if end > STRETCH_BYTES {
            self.overflowed.store(true, Relaxed);
            return None;
        }
        self.used.store(end, Relaxed);
        NonNull::new(start.wrapping_add(at))
    }
}

/// Makes a child that does what `child` does, which ends it, with a copy of `of`;
/// it sees nothing of the heap.
pub(crate) fn fork_with<T: Clone>(of: &T, child: impl FnOnce(T)) -> Result<i32, Errno> {
    let apart = MINDING.load(Relaxed) && !STRETCH.start.load(Relaxed).is_null();
    STRETCH.used.store(0, Relaxed);
    STRETCH.overflowed.store(false, Relaxed);
    STRETCH.open.store(true, Relaxed);
    let copy = of.clone();
    STRETCH.open.store(false, Relaxed);
    if apart {
        HEAP.advise(!STRETCH.overflowed.load(Relaxed));
    }
    match fork()? {
        Forked::Child => {
            child(copy);
            exit_now(125)
        }
        Forked::Parent(pid) => Ok(pid),
    }
}

/// The heap of the C library, as far as children can do without it.
struct Heap {
    /// Where it begins, the C library's own beginning of it left out: the
    /// thread's variables lie there, `errno` among them. Zero: not known.
    from: AtomicUsize,
    /// Hidden up to here.
    hidden_to: AtomicUsize,
}

static HEAP: Heap = Heap {
    from: AtomicUsize::new(0),
    hidden_to: AtomicUsize::new(0),
};

/// What a page may be as large as.
const PAGE: usize = 64 * 1024;

/// More than the C library has of its thread's variables behind `errno`.
const BEHIND_ERRNO: usize = 16 * 1024;

/// From here on the C library takes pages of their own for a piece.
const LARGE: usize = 128 * 1024;

impl Heap {
    /// The address behind its end.
    fn end() -> usize {
        // SAFETY: sbrk(0) moves nothing.
        unsafe { libc::sbrk(0) }.expose_provenance()
    }

    fn find(&self) {
        // SAFETY: the address of a variable, which is not read.
        let errno = unsafe { libc::__errno_location() }.addr();
        let (from, end) = ((errno + BEHIND_ERRNO).next_multiple_of(PAGE), Self::end());
        // Elsewhere, where the C library could not begin its heap by brk(2).
        if errno < end && end - errno < isize::MAX.unsigned_abs() / 2 {
            self.from.store(from, Relaxed);
        }
    }

    /// Hides it from the next child, or doesn't.
    fn advise(&self, hide: bool) {
        let (from, end) = (self.from.load(Relaxed), Self::end());
        let done = if hide { end } else { 0 };
        if from == 0 || end <= from || self.hidden_to.swap(done, Relaxed) == done {
            return;
        }
        advise(from, end - from, hide);
    }
}

fn advise(from: usize, length: usize, hide: bool) {
    let advice = if hide {
        libc::MADV_DONTFORK
    } else {
        libc::MADV_DOFORK
    };
    // SAFETY: it changes nothing for this process, and its children touch
    // nothing of the heap; what they need is not in the range. Where it fails,
    // they copy it, as any other program's do.
    unsafe { libc::madvise(with_exposed_provenance_mut(from), length, advice) };
}

/// Hides a piece that has pages of its own; not what is meant for a child.
fn hidden_if_large(at: *mut u8, size: usize) -> *mut u8 {
    if size >= LARGE && !at.is_null() && !STRETCH.is_used() {
        let (from, end) = (at.expose_provenance(), at.addr() + size);
        let from = from.next_multiple_of(PAGE);
        let length = (end / PAGE * PAGE).saturating_sub(from);
        if length > 0 {
            advise(from, length, true);
        }
    }
    at
}

/// Given back when the kernel has no more: twice what waits for a stuck reader
/// of the log at most, the most that one turn of the loop may ask for. Address
/// space alone: no page of it is ever touched.
const RESERVE: usize = 4 * 1024 * 1024;

/// Where there is no room for more, so much is still a help.
const LEAST_RESERVE: usize = 128 * 1024;

static RESERVED: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// How much it is.
static RESERVED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The reserve was given back, and nobody has asked since.
static SHORT: AtomicBool = AtomicBool::new(false);

/// Somebody was told that init waits.
static TOLD: AtomicBool = AtomicBool::new(false);

/// How long it waits before it asks the kernel again.
const PAUSE: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// There was no memory: whether it is worth asking again, now that something
/// was given back or some time has passed.
#[cold]
fn has_waited() -> bool {
    if !MINDING.load(Relaxed) {
        return false;
    }
    SHORT.store(true, Relaxed);
    let reserve = RESERVED.swap(null_mut(), Relaxed);
    if !reserve.is_null() {
        // SAFETY: a mapping of that length, which nobody else knows of; and a
        // number, so that the heap grows by no more than it must.
        unsafe {
            libc::munmap(reserve.cast(), RESERVED_BYTES.load(Relaxed));
            libc::mallopt(libc::M_TOP_PAD, 4096);
        }
        return true;
    }
    if !TOLD.swap(true, Relaxed) {
        let words = b"holdall-init: out of memory: waiting until there is some\n";
        // SAFETY: the bytes outlive the call.
        unsafe { libc::write(2, words.as_ptr().cast(), words.len()) };
    }
    let pause = PAUSE;
    // SAFETY: it reads the one and is not asked for the rest.
    unsafe { libc::nanosleep(&raw const pause, null_mut()) };
    true
}

/// From now on this process minds services.
pub(crate) fn mind_memory() {
    // SAFETY: the calls take numbers. What is large keeps pages of its own, so
    // that they go back to the kernel with it; and there is one heap, also
    // where it has no more.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    give_back_memory();
    HEAP.find();
    STRETCH.start.store(map(STRETCH_BYTES), Relaxed);
    grow_stack();
    reserve();
    MINDING.store(true, Relaxed);
}

/// More than this program ever has on its stack.
const STACK: usize = 512 * 1024;

/// Has the kernel give the stack its room now: where it can't later, that is a
/// fault, which nobody could mend. No page of it is taken.
fn grow_stack() {
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(0, |(soft, _)| soft);
    let room = map(2 * STACK);
    if !room.is_null() {
        // SAFETY: a mapping of that length, which nobody else knows of.
        unsafe { libc::munmap(room.cast(), 2 * STACK) };
    }
    if room.is_null() || usize::try_from(limit).is_ok_and(|limit| limit < 4 * STACK) {
        return;
    }
    let here = 0_u8;
    let below = (&raw const here).expose_provenance() - STACK;
    // SAFETY: below this frame nothing lives. What is read there is the stack
    // to be: the kernel makes it, as there is room and its limit allows it.
    let _ = unsafe { with_exposed_provenance::<MaybeUninit<u8>>(below).read_volatile() };
}

/// New pages; null where there are none.
fn map(bytes: usize) -> *mut u8 {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, at a place that is free.
    let pages = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    if pages == libc::MAP_FAILED {
        return null_mut();
    }
    pages.cast()
}

/// Puts a reserve aside, as much as can be had: whether there is one.
fn reserve() -> bool {
    let mut bytes = RESERVE;
    while RESERVED.load(Relaxed).is_null() && bytes >= LEAST_RESERVE {
        RESERVED_BYTES.store(bytes, Relaxed);
        RESERVED.store(map(bytes), Relaxed);
        bytes /= 2;
    }
    !RESERVED.load(Relaxed).is_null()
}

/// Whether memory has run short since this was asked last.
pub(crate) fn memory_ran_short() -> bool {
    SHORT.load(Relaxed) && SHORT.swap(false, Relaxed)
}

/// After something was let go: puts a new reserve aside, and has whoever waits
/// told again if there is not even that.
pub(crate) fn refill_memory() {
    give_back_memory();
    if reserve() {
        TOLD.store(false, Relaxed);
    }
}

/// Whether so many bytes could be had.
pub(crate) fn has_room(bytes: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(bytes.max(1), 1) else {
        return false;
    };
    // SAFETY: the layout has a size.
    let at = unsafe { System.alloc(layout) };
    if !at.is_null() {
        // SAFETY: it has just been allocated by this layout.
        unsafe { System.dealloc(at, layout) };
    }
    !at.is_null()
}

/// Gives back to the kernel what the allocator keeps of freed memory.
fn give_back_memory() {
    // SAFETY: the call takes a number and changes nothing that is in use; it
    // may be called at any time.
    unsafe { libc::malloc_trim(0) };
}
