//! Stand-ins for parts of the C library that this program never needs, and that
//! bring half of it along: its messages to a person (printf, and with it
//! locales, gettext, iconv and a loader of libraries for iconv), and what
//! Rust's backtraces ask. Only in the small build; docs/init-size.md has what
//! that saves.
//!
//! All are weak symbols of the C interface. What a C library needs beyond them
//! brings its own back, and nothing is larger than it would be without these.

use std::arch::global_asm;
use std::ffi::{c_char, c_int, c_long, c_ulong};

use nix::errno::Errno;

/// The exit code for a bug in init itself.
const BUG: u8 = 70;

/// Goes on in a function of ours.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "jmp {ours}"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "b {ours}"
    };
}

/// Has a symbol of the C library be a function of ours.
macro_rules! stand_in {
    ($name:literal, $ours:path) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".weak ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            jump!(),
            ".popsection",
            ours = sym $ours,
        );
    };
}

// The allocator's statistics, which nobody asks for, go to `stderr`.
stand_in!("fprintf", nothing);
stand_in!("fwrite", nothing);
stand_in!("_IO_fputs", nothing);
global_asm!(
    ".pushsection .rodata.stderr,\"a\",@progbits",
    ".weak stderr",
    ".type stderr,@object",
    ".size stderr,8",
    ".p2align 3",
    "stderr: .quad 0",
    ".popsection",
);

/// Nothing is written, or found.
extern "C" fn nothing() -> usize {
    0
}

// It looks up the letters of the C locale, which nothing here asks for: what
// does brings the real one along, as it needs the tables that are made there.
stand_in!("__ctype_init", nothing);

// Asked by backtraces, which this program never prints.
stand_in!("realpath", nothing);

stand_in!("__assert_fail", assert_failed);

/// The C library has found itself broken.
extern "C" fn assert_failed() -> ! {
    crate::perform::complain("holdall-init: bug: the C library is not as it should be");
    super::exit_now(BUG)
}

stand_in!("sysconf", system_constant);

/// What the kernel says of itself, as far as this program asks.
extern "C" fn system_constant(name: c_int) -> c_long {
    let kind = match name {
        libc::_SC_PAGESIZE => libc::AT_PAGESZ,
        libc::_SC_CLK_TCK => libc::AT_CLKTCK,
        _ => return -1,
    };
    // SAFETY: getauxval takes a number and touches no memory of ours.
    unsafe { libc::getauxval(kind) }.cast_signed()
}

stand_in!("__xpg_strerror_r", describe);

/// An error in words, for Rust's standard library.
extern "C" fn describe(number: c_int, to: *mut c_char, room: usize) -> c_int {
    let words = Errno::from_raw(number).desc().as_bytes();
    let length = words.len().min(room.saturating_sub(1));
    if room > 0 {
        // SAFETY: the caller's buffer has that much room, and is its own.
        unsafe {
            to.cast::<u8>()
                .copy_from_nonoverlapping(words.as_ptr(), length)
        };
        // SAFETY: behind what was just written there is room for the end.
        unsafe { to.wrapping_add(length).write(0) };
    }
    0
}

stand_in!("__strerror_r", describe_shortly);

/// An error in words, for the C library's loader.
extern "C" fn describe_shortly() -> *const c_char {
    c"error".as_ptr()
}

stand_in!("strtoul", parse);

/// The number of a processor in a list of the kernel: digits, and where they end.
extern "C" fn parse(text: *const c_char, end: *mut *const c_char) -> c_ulong {
    let (mut at, mut number) = (text, 0);
    loop {
        // SAFETY: the text ends with a NUL, which is no digit and ends this.
        let byte = unsafe { at.read() }.cast_unsigned();
        if !byte.is_ascii_digit() {
            break;
        }
        number = c_ulong::wrapping_mul(number, 10).wrapping_add(c_ulong::from(byte - b'0'));
        at = at.wrapping_add(1);
    }
    if !end.is_null() {
        // SAFETY: the caller's variable, where it wants to be told.
        unsafe { end.write(at) };
    }
    number
}
