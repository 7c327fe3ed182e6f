// SPDX-License-Identifier: GPL-2.0

//! Files that a kernel driver reads, writes and flushes.
//!
//! A driver gets an [`UncheckedFile`] from user space, checks it, and turns it into a
//! [`BackingFile`]. The parts of this module add methods to [`BackingFile`]: reading and writing
//! ([`kiocb`]), flushing and the page cache (`fs/writeback.rs`), allocation
//! (`fs/fallocate.rs`), attributes (`fs/stat.rs`), and the block device below
//! (`fs/lower_device.rs`).
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

mod fallocate;
mod in_memory;
pub(crate) mod kiocb;
mod lower_device;
mod mapping;
mod stat;
mod writeback;

pub(crate) use self::{
    fallocate::FallocateMode,
    mapping::NoIoGfpTable, //
};
use super::bindings;
use core::ptr::NonNull;
use kernel::{
    fs::{
        file::flags,
        File,
        LocalFile, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

/// A file that may become a [`BackingFile`].
///
/// # Invariants
///
/// As for [`BackingFile`].
pub(crate) struct UncheckedFile(ARef<File>);

impl UncheckedFile {
    /// Takes a reference to the file that `fd` is open on in the current task (`fget()`).
    ///
    /// # Errors
    ///
    /// - `EBADF` if there is no such file descriptor;
    /// - `EINVAL` if the kernel cannot read and write the file.
    ///
    /// # Safety
    ///
    /// The current task must not be in a system call that holds an `fdget_pos()` reference. An
    /// ioctl holds none.
    pub(super) unsafe fn fget(fd: u32) -> Result<Self> {
        let file = LocalFile::fget(fd)?;
        // SAFETY: By the caller's promise.
        let file = unsafe { LocalFile::assume_no_fdget_pos(file) };
        // SAFETY: The file is alive, and so are its operations.
        let f_op = unsafe { &*(*file.as_ptr()).f_op };
        if f_op.read_iter.is_none() {
            return Err(EINVAL);
        }
        if is_open_for_write(&file) && f_op.write_iter.is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: Both methods have been checked above.
        Ok(Self(file))
    }

    /// Returns whether the file was opened for writing.
    pub(crate) fn is_open_for_write(&self) -> bool {
        is_open_for_write(&self.0)
    }

    /// Returns whether this is a regular file or a block device.
    pub(crate) fn is_file_or_block_device(&self) -> bool {
        let inode = inode(&self.0);
        // SAFETY: The file is alive, and so is its inode.
        unsafe {
            bindings::rust_loop_helper_s_isreg(inode) || bindings::rust_loop_helper_s_isblk(inode)
        }
    }

    /// Returns the file. Any context.
    pub(super) fn as_file(&self) -> &File {
        &self.0
    }
}

/// A file in which a driver stores data: a regular file or a block device.
///
/// Memory for its page cache is allocated without starting I/O and without entering filesystems,
/// because either may wait for the driver.
///
/// # Context
///
/// Unless they say otherwise, the methods may sleep and enter the filesystem. They must not be
/// called from `queue_rq`, with the driver's queue frozen, or with its limits locked. Methods that
/// return properties of the file (`has_*`, `is_*`, `may_*`) neither sleep nor enter the
/// filesystem.
///
/// # Examples
///
/// ```
/// use crate::abstractions::fs::{
///     BackingFile,
///     UncheckedFile,
///     NoIoGfpTable, //
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// /// Checks a file of user space, and starts to use it.
/// fn attach(file: UncheckedFile, no_io: &Arc<NoIoGfpTable>) -> Result<BackingFile> {
///     if !file.is_file_or_block_device() {
///         return Err(EINVAL);
///     }
///     BackingFile::new(file, no_io.clone())
/// }
/// ```
///
/// # Invariants
///
/// The file has a `read_iter` method. If it is open for writing it also has a `write_iter` method.
pub(crate) struct BackingFile {
    file: ARef<File>,
    no_io: Arc<NoIoGfpTable>,
}

impl BackingFile {
    /// Starts to use `file`, and enters it in the table of mappings.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for the entry.
    pub(crate) fn new(file: UncheckedFile, no_io: Arc<NoIoGfpTable>) -> Result<Self> {
        no_io.start(&file.0)?;
        // INVARIANT: Those of `UncheckedFile`.
        Ok(Self {
            file: file.0,
            no_io,
        })
    }

    /// Returns whether the file supports [`nowait`](kiocb::RwOptions::nowait) (`FMODE_NOWAIT`).
    pub(crate) fn has_nowait(&self) -> bool {
        self.has_mode(bindings::RUST_LOOP_CONST_FMODE_NOWAIT)
    }

    /// Returns whether the file supports [`direct`](kiocb::RwOptions::direct) I/O
    /// (`FMODE_CAN_ODIRECT`).
    pub(crate) fn has_direct(&self) -> bool {
        self.has_mode(bindings::RUST_LOOP_CONST_FMODE_CAN_ODIRECT)
    }

    /// Returns whether the file supports [`fsync`](Self::fsync).
    pub(crate) fn has_fsync(&self) -> bool {
        // SAFETY: The file is alive.
        unsafe { (*self.f_op()).fsync.is_some() }
    }

    /// Returns whether the file was opened with `O_DIRECT`.
    pub(crate) fn is_open_direct(&self) -> bool {
        self.file.flags() & flags::O_DIRECT != 0
    }

    /// Returns whether the file is a block device.
    pub(crate) fn is_block_device(&self) -> bool {
        block_device(&self.file).is_some()
    }

    /// Returns the file. Any context.
    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    fn has_mode(&self, mode: bindings::fmode_t) -> bool {
        has_mode(&self.file, mode)
    }

    fn as_ptr(&self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    /// Returns the page cache. It lives as long as the file.
    fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: The file is alive, and its mapping does not change.
        unsafe { (*self.as_ptr()).f_mapping }
    }

    fn f_op(&self) -> *const bindings::file_operations {
        // SAFETY: The file is alive, and its operations do not change.
        unsafe { (*self.as_ptr()).f_op }
    }

    fn check_open_for_write(&self) -> Result {
        if is_open_for_write(&self.file) {
            Ok(())
        } else {
            Err(EBADF)
        }
    }
}

impl Drop for BackingFile {
    fn drop(&mut self) {
        self.no_io.end(&self.file);
    }
}

/// Returns the inode that holds the data of `file`: for a device node, that of the device. It
/// lives as long as the file.
fn inode(file: &File) -> *mut bindings::inode {
    // SAFETY: The file is alive, and neither its mapping nor the host of that changes.
    unsafe { (*(*file.as_ptr()).f_mapping).host }
}

fn has_mode(file: &File, mode: bindings::fmode_t) -> bool {
    // SAFETY: The file is alive, and its mode does not change.
    unsafe { (*file.as_ptr()).f_mode & mode != 0 }
}

fn is_open_for_write(file: &File) -> bool {
    has_mode(file, bindings::RUST_LOOP_CONST_FMODE_WRITE)
}

/// Returns the block device that `file` is open on, if any. It lives as long as the file.
pub(super) fn block_device(file: &File) -> Option<NonNull<bindings::block_device>> {
    let inode = inode(file);
    // SAFETY: The file is alive, and so is its inode.
    if !unsafe { bindings::rust_loop_helper_s_isblk(inode) } {
        return None;
    }
    // SAFETY: The inode is that of a block device.
    NonNull::new(unsafe { bindings::I_BDEV(inode) })
}
