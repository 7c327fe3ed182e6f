// SPDX-License-Identifier: GPL-2.0

//! Debugfs directories, and files that print a value.
//!
//! An open file keeps the module loaded, because the file refers to code and tables of the module.
//! The files of `kernel::debugfs` do not: their `file_operations` have no `owner`.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use super::bindings;
use core::marker::PhantomData;
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::Arc, //
};

/// A value that can be read through a debugfs file.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     compat::this_module::this_module,
///     debugfs::{
///         Dir,
///         File,
///         Show,
///         ShowVTable, //
///     },
/// };
/// use kernel::{
///     prelude::*,
///     seq_file::SeqFile,
///     seq_print,
///     sync::Arc, //
/// };
///
/// struct Number(u32);
///
/// impl Show for Number {
///     const VTABLE: &'static ShowVTable<Self> = {
///         static VTABLE: ShowVTable<Number> = ShowVTable::new(this_module());
///         &VTABLE
///     };
///
///     fn show(&self, out: &SeqFile) -> Result {
///         seq_print!(out, "{}\n", self.0);
///         Ok(())
///     }
/// }
///
/// fn create() -> Result<File<Number>> {
///     let dir = Arc::new(Dir::new(c"example"), GFP_KERNEL)?;
///     Ok(File::new(dir, c"number", Arc::new(Number(42), GFP_KERNEL)?))
/// }
/// ```
pub(crate) trait Show: Sized + Send + Sync + 'static {
    /// The C view of this trait; one static for each type.
    const VTABLE: &'static ShowVTable<Self>;

    /// Prints the value. Process context. Removing the file waits for this to return.
    fn show(&self, out: &SeqFile) -> Result;
}

/// Table of a [`Show`] type ([`struct file_operations`](srctree/include/linux/fs.h)).
pub(crate) struct ShowVTable<T: Show>(bindings::file_operations, PhantomData<fn() -> T>);

// SAFETY: The table has function pointers and a pointer to a module, none of which change.
unsafe impl<T: Show> Sync for ShowVTable<T> {}

impl<T: Show> ShowVTable<T> {
    /// Creates the table of a type in `module`, which stays loaded while a file is open.
    pub(crate) const fn new(module: &'static kernel::ThisModule) -> Self {
        let mut fops: bindings::file_operations = pin_init::zeroed();
        fops.owner = module.as_ptr();
        fops.open = Some(Self::open_callback);
        fops.read = Some(bindings::seq_read);
        fops.llseek = Some(bindings::seq_lseek);
        fops.release = Some(bindings::single_release);
        Self(fops, PhantomData)
    }

    /// Opens a file.
    ///
    /// # Safety
    ///
    /// Called by the VFS only, for a file of [`File::new`].
    unsafe extern "C" fn open_callback(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: Both come from the VFS. `i_private` is the data with which the file was created.
        unsafe { bindings::single_open(file, Some(Self::show_callback), (*inode).i_private) }
    }

    /// Prints the value.
    ///
    /// # Safety
    ///
    /// Called by seq_file only, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn show_callback(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The file was created with an `Arc<T>`. That is dropped after debugfs has waited
        // for readers and keeps new ones out.
        let data = unsafe { &*(*seq).private.cast::<T>() };
        // SAFETY: seq_file passes a valid pointer.
        let seq = unsafe { SeqFile::from_raw(seq) };
        kernel::error::from_result(|| data.show(seq).map(|()| 0))
    }
}

/// An entry of debugfs, which is removed with its contents when this is dropped.
///
/// If debugfs is missing or fails there is no entry. This is not an error.
///
/// # Invariants
///
/// The pointer is to an entry that was created and not removed, or is an error pointer.
struct Entry(*mut bindings::dentry);

// SAFETY: Debugfs entries may be used and removed from any thread.
unsafe impl Send for Entry {}
// SAFETY: Debugfs does its own locking.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    /// Waits for readers. Sleeps.
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::rust_loop_helper_debugfs_remove(self.0) };
    }
}

/// A directory that exists while this lives.
pub(crate) struct Dir {
    entry: Entry,
    // Removed after this directory.
    _parent: Option<Arc<Dir>>,
}

impl Dir {
    /// Creates a directory at the root of debugfs. Sleeps.
    pub(crate) fn new(name: &CStr) -> Self {
        Self::create(name, None)
    }

    /// Creates a directory in another. Sleeps.
    pub(crate) fn new_in(parent: Arc<Self>, name: &CStr) -> Self {
        Self::create(name, Some(parent))
    }

    fn create(name: &CStr, parent: Option<Arc<Self>>) -> Self {
        let at = parent
            .as_ref()
            .map_or(core::ptr::null_mut(), |parent| parent.entry.0);
        Self {
            // INVARIANT: The entry was just created.
            //
            // SAFETY: `name` is a NUL-terminated string. The parent is null, an entry, or an error
            // pointer; debugfs handles all three.
            entry: Entry(unsafe {
                bindings::rust_loop_helper_debugfs_create_dir(name.as_char_ptr(), at)
            }),
            _parent: parent,
        }
    }
}

/// A file that prints a `T`, readable by root, while this lives.
pub(crate) struct File<T: Show> {
    // Dropped first, so that the file is removed before its data and its directory are.
    _entry: Entry,
    _data: Arc<T>,
    _dir: Arc<Dir>,
}

impl<T: Show> File<T> {
    /// Creates a file in `dir`. Sleeps.
    pub(crate) fn new(dir: Arc<Dir>, name: &CStr, data: Arc<T>) -> Self {
        // SAFETY: `name` is a NUL-terminated string. The file is removed before `data` is dropped.
        // The table is static.
        let entry = unsafe {
            bindings::rust_loop_helper_debugfs_create_file(
                name.as_char_ptr(),
                0o400,
                dir.entry.0,
                Arc::as_ptr(&data).cast_mut().cast(),
                &T::VTABLE.0,
            )
        };
        // INVARIANT: The entry was just created.
        Self {
            _entry: Entry(entry),
            _data: data,
            _dir: dir,
        }
    }
}
