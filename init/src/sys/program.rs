//! A program and its strings, as the kernel wants them.

use std::ffi::{CStr, CString, c_char};

use nix::errno::Errno;

/// A list of strings in the form that `execve` wants, made before the fork.
pub(crate) struct Strings {
    /// All of them, each with its NUL. Never resized, as `pointers` points into
    /// it.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    /// One for each of `starts`, then a null.
    pointers: Vec<*const c_char>,
}

impl Strings {
    pub(crate) fn new(strings: &[CString]) -> Self {
        let length = strings.iter().map(|s| s.count_bytes() + 1).sum();
        let mut bytes = Vec::with_capacity(length);
        let mut starts = Vec::with_capacity(strings.len());
        for string in strings {
            starts.push(bytes.len());
            bytes.extend_from_slice(string.as_bytes_with_nul());
        }
        Self::of(bytes, starts)
    }

    fn of(bytes: Vec<u8>, starts: Vec<usize>) -> Self {
        let mut pointers = Vec::with_capacity(starts.len() + 1);
        let first: *const c_char = bytes.as_ptr().cast();
        pointers.extend(starts.iter().map(|start| first.wrapping_add(*start)));
        pointers.push(std::ptr::null());
        Self {
            bytes,
            starts,
            pointers,
        }
    }

    /// Overwrites the bytes of string `index` from `at` on, up to its end, with
    /// a text and then NULs. Allocates nothing: it is used between fork and
    /// exec.
    pub(crate) fn patch(&mut self, index: usize, at: usize, text: &[u8]) {
        let next = self.starts.get(index + 1).copied();
        let end = next.unwrap_or(self.bytes.len()).saturating_sub(1);
        let Some(start) = self.starts.get(index).map(|start| start + at) else {
            return;
        };
        if let Some(room) = self.bytes.get_mut(start..end) {
            let text = text.iter().chain(std::iter::repeat(&0));
            for (slot, byte) in room.iter_mut().zip(text) {
                *slot = *byte;
            }
        }
        let first: *const c_char = self.bytes.as_ptr().cast();
        for (pointer, start) in self.pointers.iter_mut().zip(&self.starts) {
            *pointer = first.wrapping_add(*start);
        }
    }
}

impl Clone for Strings {
    fn clone(&self) -> Self {
        Self::of(self.bytes.clone(), self.starts.clone())
    }
}

/// Replaces this process; comes back only with an error.
pub(crate) fn execve(path: &CStr, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: the path ends in NUL; both lists end in null and point to
    // strings with a NUL at their end, owned by the same value.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}
