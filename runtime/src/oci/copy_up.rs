//! `tmpcopyup`: a tmpfs that begins with what it covers. Podman asks for it on
//! /run, /tmp and /var/tmp of a read-only root.
//!
//! Both directories are open, and nothing is followed: each name is looked up
//! in its directory, and a link is copied as a link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

/// Directories within directories. An image's /run or /tmp has few; one made
/// to exhaust the stack or the descriptors has more.
const MAX_DEPTH: u32 = 64;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Copies the files, directories and links in `from` into `to`, with their
/// owners and modes. Devices, FIFOs and sockets are left out: without the
/// program that made them they are of no use.
pub(crate) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    copy(from, to, MAX_DEPTH)
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
    let mut entries = Dir::openat(from, ".", DIRECTORY, Mode::empty())?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => {
                mkdirat(to, name, Mode::S_IRWXU)?;
                let [below, copied] =
                    [from, to].map(|dir| openat(dir, name, DIRECTORY, Mode::empty()));
                let (below, copied) = (below?, copied?);
                copy(below.as_fd(), copied.as_fd(), depth)?;
                describe(&copied, &stat)?;
            }
            SFlag::S_IFREG => {
                let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
                let mut source = File::from(openat(from, name, read, Mode::empty())?);
                let mut copied = File::from(openat(to, name, new, Mode::S_IRUSR)?);
                io::copy(&mut source, &mut copied)?;
                describe(&OwnedFd::from(copied), &stat)?;
            }
            SFlag::S_IFLNK => {
                symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?;
                let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
                let (uid, gid) = owner(&stat);
                fchownat(to, name, Some(uid), Some(gid), flags)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives a directory the owner and mode of the one it covers.
pub(crate) fn look_like(covered: BorrowedFd<'_>, new: BorrowedFd<'_>) -> nix::Result<()> {
    describe(
        &openat(new, ".", DIRECTORY, Mode::empty())?,
        &fstat(covered)?,
    )
}

/// Owner, then mode: a change of owner takes the set-user-ID bit away.
fn describe(copied: &OwnedFd, stat: &FileStat) -> nix::Result<()> {
    let (uid, gid) = owner(stat);
    fchown(copied, Some(uid), Some(gid))?;
    fchmod(copied, Mode::from_bits_truncate(stat.st_mode))
}

fn owner(stat: &FileStat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use nix::unistd::mkfifo;

    use super::*;

    fn copied(from: &Path, to: &Path) -> io::Result<()> {
        copy_up(File::open(from)?.as_fd(), File::open(to)?.as_fd())
    }

    #[test]
    fn files_directories_and_links_are_copied_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let [from, to, outside] = ["from", "to", "outside"].map(|name| dir.path().join(name));
        for dir in [&from.join("a/b"), &to, &outside] {
            fs::create_dir_all(dir).expect("a folder");
        }
        fs::write(from.join("a/b/file"), "words").expect("a file");
        let mode = |bits| fs::Permissions::from_mode(bits);
        fs::set_permissions(from.join("a/b/file"), mode(0o4751)).expect("chmod");
        fs::set_permissions(from.join("a"), mode(0o1777)).expect("chmod");
        fs::write(outside.join("secret"), "secret").expect("a file");
        symlink(&outside, from.join("link")).expect("a link");
        mkfifo(&from.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
        copied(&from, &to).expect("copied");

        let bits = |path: &Path| {
            fs::symlink_metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(
            fs::read_to_string(to.join("a/b/file")).expect("a file"),
            "words"
        );
        assert_eq!(bits(&to.join("a/b/file")), 0o4751);
        assert_eq!(bits(&to.join("a")), 0o1777);
        assert_eq!(fs::read_link(to.join("link")).expect("a link"), outside);
        assert!(!to.join("fifo").exists());
    }

    #[test]
    fn a_tree_without_end_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::create_dir_all(&to).expect("a folder");
        let deep: Vec<&str> = (0..MAX_DEPTH + 1).map(|_| "d").collect();
        fs::create_dir_all(from.join(deep.join("/"))).expect("folders");
        let error = copied(&from, &to).expect_err("too deep");
        assert_eq!(error.raw_os_error(), Some(Errno::ELOOP as i32));
    }
}
