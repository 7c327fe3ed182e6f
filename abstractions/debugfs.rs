// SPDX-License-Identifier: GPL-2.0

//! Debugfs directories and files that print a value.
//!
//! Unlike `kernel::debugfs` of today, an open file keeps the module loaded,
//! whose code and tables the file refers to.
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
pub(crate) trait Show: Sized + Send + Sync + 'static {
    /// The C view of this trait; one static for each type.
    const VTABLE: &'static ShowVTable<Self>;

    /// Prints the value. Process context; whoever removes the file waits for
    /// this to return.
    fn show(&self, out: &SeqFile) -> Result;
}

/// The `struct file_operations` of a [`Show`].
pub(crate) struct ShowVTable<T: Show>(bindings::file_operations, PhantomData<fn() -> T>);

// SAFETY: Function pointers and a pointer to our module, none of which change.
unsafe impl<T: Show> Sync for ShowVTable<T> {}

impl<T: Show> ShowVTable<T> {
    /// Creates the table of a type in `module`, which stays loaded while a file
    /// is open.
    pub(crate) const fn new(module: &'static kernel::ThisModule) -> Self {
        let mut fops: bindings::file_operations = pin_init::zeroed();
        fops.owner = module.as_ptr();
        fops.open = Some(Self::open_callback);
        fops.read = Some(bindings::seq_read);
        fops.llseek = Some(bindings::seq_lseek);
        fops.release = Some(bindings::single_release);
        Self(fops, PhantomData)
    }

    /// # Safety
    ///
    /// Called by the VFS only, for a file of [`File::new`].
    unsafe extern "C" fn open_callback(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: Both come from the VFS. `i_private` is the data that the file
        // was created with.
        unsafe { bindings::single_open(file, Some(Self::show_callback), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by seq_file only, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn show_callback(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The file was created with an `Arc<T>`, which is given up only
        // after debugfs has waited for readers and keeps new ones out.
        let (data, seq) = unsafe { (&*(*seq).private.cast::<T>(), SeqFile::from_raw(seq)) };
        kernel::error::from_result(|| data.show(seq).map(|()| 0))
    }
}

/// An entry of debugfs that we have created and that is removed, with all that is
/// in it, when this is dropped.
///
/// Debugfs may be missing, or fail; then nothing is there, and nothing else
/// goes wrong.
struct Entry(*mut bindings::dentry);

// SAFETY: Debugfs entries may be used and removed from any thread.
unsafe impl Send for Entry {}
// SAFETY: Debugfs does its own locking.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    /// Waits for readers. Sleeps.
    fn drop(&mut self) {
        // SAFETY: An entry that we have created and not removed, or an error.
        unsafe { bindings::rust_loop_helper_debugfs_remove(self.0) };
    }
}

/// A directory that exists while this lives.
pub(crate) struct Dir {
    entry: Entry,
    // Removed after what is in it.
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
            // SAFETY: `name` is a NUL-terminated string; the parent is none, an
            // entry, or an error, with which debugfs can deal.
            entry: Entry(unsafe {
                bindings::rust_loop_helper_debugfs_create_dir(name.as_char_ptr(), at)
            }),
            _parent: parent,
        }
    }
}

/// A file that prints `T`, readable by root, while this lives.
pub(crate) struct File<T: Show> {
    // Removed before what it refers to is released, and before the directory is.
    _entry: Entry,
    _data: Arc<T>,
    _dir: Arc<Dir>,
}

impl<T: Show> File<T> {
    /// Creates a file in `dir`. Sleeps.
    pub(crate) fn new(dir: Arc<Dir>, name: &CStr, data: Arc<T>) -> Self {
        // SAFETY: `name` is a NUL-terminated string. The file is removed before
        // `data` is released. The table is static.
        let entry = unsafe {
            bindings::rust_loop_helper_debugfs_create_file(
                name.as_char_ptr(),
                0o400,
                dir.entry.0,
                Arc::as_ptr(&data).cast_mut().cast(),
                &T::VTABLE.0,
            )
        };
        Self {
            _entry: Entry(entry),
            _data: data,
            _dir: dir,
        }
    }
}
