// SPDX-License-Identifier: GPL-2.0

//! Files, used by the kernel on somebody's behalf: read, written, flushed and
//! asked about.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

pub(crate) mod kiocb;
mod support;

pub(crate) use self::support::DirectIo;

use super::{
    bindings,
    block::{
        bdev::{
            self,
            DeviceFile, //
        },
        disk::DiskOperations,
    },
    errno::eopnotsupp, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::c_ulong,
    fs::{
        File,
        LocalFile, //
    },
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    str::BStr,
    sync::{
        aref::ARef,
        atomic::{
            atomic_load,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

/// A mode of `fallocate` (`FALLOC_FL_*`). None of these changes the file size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FallocateMode {
    /// Deallocate the range; it reads as zeroes afterwards.
    PunchHole,
    /// Make the range read as zeroes and keep it allocated.
    ZeroRange,
}

impl FallocateMode {
    fn as_raw(self) -> i32 {
        let mode = match self {
            Self::PunchHole => bindings::FALLOC_FL_PUNCH_HOLE,
            Self::ZeroRange => bindings::FALLOC_FL_ZERO_RANGE,
        };
        (mode | bindings::FALLOC_FL_KEEP_SIZE) as i32
    }
}

/// What a file says of itself: where it lives and which file it is there.
#[derive(Clone, Copy, Default)]
pub(crate) struct FileId {
    /// Device of the filesystem, encoded for user space (`huge_encode_dev`).
    pub(crate) dev: u64,
    /// Number of the inode.
    pub(crate) ino: u64,
    /// Which device the file stands for, if it is a device node.
    pub(crate) rdev: u64,
}

/// The files whose page cache is filled without starting I/O, by mapping.
///
/// A file may be in use more than once, and gets its own allocation flags back
/// when the last use ends.
#[pin_data]
pub(crate) struct NoIoMappings {
    #[pin]
    uses: Mutex<RBTree<usize, NoIoUse>>,
}

struct NoIoUse {
    count: usize,
    orig_gfp: bindings::gfp_t,
}

impl NoIoMappings {
    /// Creates the table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            uses <- new_mutex!(RBTree::new(), "rust_loop_mappings"),
        })
    }

    fn start(&self, file: &File) -> Result {
        // SAFETY: The file is alive, hence its mapping is.
        let mapping = unsafe { (*file.as_ptr()).f_mapping };
        let mut uses = self.uses.lock();
        if let Some(found) = uses.get_mut(&(mapping as usize)) {
            found.count += 1;
            return Ok(());
        }
        // SAFETY: As above.
        let orig_gfp = unsafe { bindings::rust_loop_helper_mapping_gfp_mask(mapping) };
        let new = NoIoUse { count: 1, orig_gfp };
        uses.try_create_and_insert(mapping as usize, new, GFP_KERNEL)?;
        // SAFETY: As above.
        unsafe {
            bindings::rust_loop_helper_mapping_set_gfp_mask(
                mapping,
                orig_gfp & !bindings::RUST_LOOP_CONST_GFP_IO_FS,
            )
        };
        Ok(())
    }

    fn end(&self, file: &File) {
        // SAFETY: The file is alive, hence its mapping is.
        let mapping = unsafe { (*file.as_ptr()).f_mapping };
        let mut uses = self.uses.lock();
        let last = match uses.get_mut(&(mapping as usize)) {
            Some(found) => {
                found.count -= 1;
                found.count == 0
            }
            None => false,
        };
        if last {
            if let Some(found) = uses.remove(&(mapping as usize)) {
                // SAFETY: As above.
                unsafe { bindings::rust_loop_helper_mapping_set_gfp_mask(mapping, found.orig_gfp) };
            }
        }
    }
}

/// A file that a driver stores data in: a regular file or a block device.
///
/// While this lives, memory for the file's page cache is allocated without
/// starting I/O or entering filesystems, for either could come back to wait for
/// the driver. All methods that do not say otherwise may sleep, and enter the
/// filesystem: they must not be called from `queue_rq`, nor with the driver's queue
/// frozen, nor with its limits locked. Those that tell what a file is or can do
/// (`has_*`, `is_*`, `may_*`) do neither.
///
/// # Invariants
///
/// The file has a `read_iter` method and, if it is open for writing, a
/// `write_iter` method.
pub(crate) struct BackingFile {
    file: ARef<File>,
    no_io: Arc<NoIoMappings>,
    /// The errno of what [`Self::settle`] has lost, until a flush tells it; 0 if nothing is.
    lost: Atomic<i32>,
}

/// A file that is a candidate for being a [`BackingFile`].
///
/// # Invariants
///
/// As for [`BackingFile`].
pub(crate) struct Candidate(ARef<File>);

impl Candidate {
    /// Takes a reference to the file that `fd` is open on in the current task.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is none, `EINVAL` if the file cannot be read and written
    /// by the kernel.
    ///
    /// # Safety
    ///
    /// No system call that has an `fdget_pos` reference may be in progress in the current
    /// task. An ioctl has none.
    pub(super) unsafe fn fget(fd: u32) -> Result<Self> {
        let file = LocalFile::fget(fd)?;
        // SAFETY: The caller vouches for that.
        let file = unsafe { LocalFile::assume_no_fdget_pos(file) };
        let this = Self(file);
        // SAFETY: The file is alive, and so are its operations.
        let (has_read, has_write) = unsafe {
            let f_op = (*this.as_ptr()).f_op;
            ((*f_op).read_iter.is_some(), (*f_op).write_iter.is_some())
        };
        // INVARIANT: This is what is checked here.
        if !has_read || (this.is_open_for_write() && !has_write) {
            return Err(EINVAL);
        }
        Ok(this)
    }

    /// Returns whether the file was opened for writing.
    pub(crate) fn is_open_for_write(&self) -> bool {
        is_open_for_write(&self.0)
    }

    /// Returns whether this is a regular file or a block device.
    pub(crate) fn is_file_or_block_device(&self) -> bool {
        // SAFETY: The file is alive, hence its mapping's host is.
        unsafe {
            let inode = self.inode();
            bindings::rust_loop_helper_s_isreg(inode) || bindings::rust_loop_helper_s_isblk(inode)
        }
    }

    /// Returns the file as one on a block device, if it is that.
    pub(crate) fn device(&self) -> Option<DeviceFile> {
        DeviceFile::from_file(&self.0)
    }

    fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    fn inode(&self) -> *mut bindings::inode {
        inode(&self.0)
    }
}

/// Returns the inode that holds the data of `file`: for a device node, that of
/// the device.
pub(super) fn inode(file: &File) -> *mut bindings::inode {
    // SAFETY: The file is alive, and its mapping and host do not change.
    unsafe { (*(*file.as_ptr()).f_mapping).host }
}

/// Returns whether a filesystem that fails with `err` refuses to tell the current process
/// something, as FUSE refuses whatever it can to root on a mount of another user. The process
/// has the file open, though, and may read it.
fn is_refusal(err: Error) -> bool {
    err == EACCES || err == EPERM
}

/// Returns the first and the last of `len` bytes at byte `pos`; `None` if there are none.
fn bounds(pos: u64, len: u64) -> Option<(bindings::loff_t, bindings::loff_t)> {
    let start = bindings::loff_t::try_from(pos).ok()?;
    let len = bindings::loff_t::try_from(len).unwrap_or(bindings::loff_t::MAX);
    (len > 0).then(|| (start, start.saturating_add(len - 1)))
}

fn is_open_for_write(file: &File) -> bool {
    // SAFETY: The file is alive; what it was opened for does not change.
    unsafe { (*file.as_ptr()).f_mode & bindings::RUST_LOOP_CONST_FMODE_WRITE != 0 }
}

/// Returns the block device that `file` is open on, if it is one. It lives as long as the
/// file.
pub(super) fn block_device(file: &File) -> Option<NonNull<bindings::block_device>> {
    let inode = inode(file);
    // SAFETY: The file is alive, hence its inode is.
    unsafe {
        bindings::rust_loop_helper_s_isblk(inode)
            .then(|| NonNull::new(bindings::I_BDEV(inode)))
            .flatten()
    }
}

impl BackingFile {
    /// Starts to use `file`, which is entered in the table.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for the entry.
    pub(crate) fn new(file: Candidate, no_io: Arc<NoIoMappings>) -> Result<Self> {
        no_io.start(&file.0)?;
        // INVARIANT: Those of `Candidate`.
        Ok(Self {
            file: file.0,
            no_io,
            lost: Atomic::new(0),
        })
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    ///
    /// That of the filesystem: `EINVAL` if the file has no way to, else what it has failed to
    /// write since it was asked last.
    pub(crate) fn fsync(&self) -> Result {
        // SAFETY: The file is alive.
        to_result(unsafe { bindings::vfs_fsync(self.as_ptr(), 0) })
    }

    /// Makes everything that was written durable, and all that it takes to read it; not
    /// when it was written.
    ///
    /// # Errors
    ///
    /// As for [`Self::fsync`]; that of [`Self::settle`] if it has failed since the last call.
    pub(crate) fn flush(&self) -> Result {
        let datasync = self.has_fdatasync();
        // SAFETY: The file is alive.
        to_result(unsafe { bindings::vfs_fsync(self.as_ptr(), datasync.into()) })?;
        to_result(self.lost.xchg(0, Full))
    }

    /// Makes everything that was written durable, on behalf of somebody who cannot do
    /// anything about it if that fails. The next [`Self::flush`] then does.
    pub(crate) fn settle(&self) {
        if let Err(err) = self.fsync() {
            self.lost.store(err.to_errno(), Relaxed);
        }
    }

    /// Returns whether the page cache of the file has something to write back, or is being
    /// written back. Never, if the file is in memory only. Any context.
    pub(crate) fn is_dirty(&self) -> bool {
        // SAFETY: The file is alive, hence its mapping is.
        unsafe { bindings::rust_loop_helper_mapping_is_dirty((*self.as_ptr()).f_mapping) }
    }

    /// Begins to write back what is in the page cache of the file. Sleeps. If that fails, a
    /// later [`Self::fsync`] does.
    pub(crate) fn start_writeback(&self) {
        // SAFETY: The file is alive, hence its mapping is.
        unsafe { bindings::filemap_flush((*self.as_ptr()).f_mapping) };
    }

    /// Writes back what is in the page cache of `len` bytes at byte `pos`, and waits for
    /// that. Sleeps. If it fails, a later [`Self::fsync`] does.
    fn write_back(&self, pos: u64, len: u32) {
        let Some((start, end)) = bounds(pos, len.into()) else {
            return;
        };
        // SAFETY: The file is alive, hence its mapping is.
        unsafe { bindings::filemap_write_and_wait_range((*self.as_ptr()).f_mapping, start, end) };
    }

    /// Writes back and drops the page cache of `len` bytes at byte `pos`, so that what is
    /// read through it next comes from the storage. Pages go as a whole. If writing back
    /// fails, a later [`Self::fsync`] does.
    ///
    /// Files that are nothing but page cache keep it.
    pub(crate) fn drop_cached(&self, pos: u64, len: u64) {
        let Some((start, end)) = bounds(pos, len) else {
            return;
        };
        let page = i64::from(bindings::PAGE_SHIFT);
        // SAFETY: The file is alive, hence its mapping is.
        unsafe {
            let mapping = (*self.as_ptr()).f_mapping;
            if !bindings::rust_loop_helper_mapping_can_writeback(mapping) {
                return;
            }
            let (first, last) = (start >> page, end >> page);
            bindings::filemap_write_and_wait_range(
                mapping,
                first << page,
                (last << page) | (bindings::PAGE_SIZE as i64 - 1),
            );
            // Pages that are dirty again are newer than the storage.
            bindings::invalidate_inode_pages2_range(mapping, first as c_ulong, last as c_ulong);
        }
    }

    /// Drops all page cache that is clean. Waits for pages that are being read or written
    /// back, but writes nothing, so it may be called with the driver's queue frozen.
    ///
    /// Files that are nothing but page cache keep it.
    pub(crate) fn drop_clean(&self) {
        // SAFETY: The file is alive, hence its mapping is.
        unsafe {
            let mapping = (*self.as_ptr()).f_mapping;
            if bindings::rust_loop_helper_mapping_can_writeback(mapping) {
                bindings::invalidate_inode_pages2_range(mapping, 0, c_ulong::MAX);
            }
        }
    }

    /// Returns whether something of `len` bytes at byte `pos` is in the page cache. Any
    /// context.
    pub(crate) fn is_cached(&self, pos: u64, len: u32) -> bool {
        bounds(pos, len.into()).is_some_and(|(start, end)| {
            // SAFETY: The file is alive, hence its mapping is.
            unsafe { bindings::filemap_range_has_page((*self.as_ptr()).f_mapping, start, end) }
        })
    }

    /// Changes the allocation of `len` bytes at byte `pos`. Waits while the filesystem is
    /// frozen.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the file cannot do this, `EBADF` if it is not open for writing, else
    /// that of the filesystem.
    pub(crate) fn fallocate(&self, mode: FallocateMode, pos: u64, len: u64) -> Result {
        self.check_open_for_write()?;
        let (pos, len) = (pos.try_into()?, len.try_into()?);
        // SAFETY: The file is alive.
        let Some(fallocate) = (unsafe { (*self.f_op()).fallocate }) else {
            return Err(eopnotsupp());
        };
        // SAFETY: The file is alive and open for writing, and this is its method. As in
        // `vfs_fallocate`, the filesystem is not frozen meanwhile.
        let ret = unsafe {
            bindings::rust_loop_helper_file_start_write(self.as_ptr());
            let ret = fallocate(self.as_ptr(), mode.as_raw(), pos, len);
            bindings::rust_loop_helper_file_end_write(self.as_ptr());
            ret
        };
        to_result(ret as i32)
    }

    /// Returns whether the file might be able to [`fallocate`](Self::fallocate).
    pub(crate) fn has_fallocate(&self) -> bool {
        // SAFETY: The file is alive.
        unsafe { (*self.f_op()).fallocate.is_some() }
    }

    /// Returns whether the file can be read so that one need not wait for the device
    /// below it, see [`Access::nowait`](kiocb::Access::nowait).
    pub(crate) fn has_nowait(&self) -> bool {
        // SAFETY: The file is alive; what it can do does not change.
        unsafe { (*self.as_ptr()).f_mode & bindings::RUST_LOOP_CONST_FMODE_NOWAIT != 0 }
    }

    /// Returns whether the file can be read and written past its page cache, see
    /// [`Access::direct`](kiocb::Access::direct).
    pub(crate) fn has_direct(&self) -> bool {
        // SAFETY: The file is alive; what it can do does not change.
        unsafe { (*self.as_ptr()).f_mode & bindings::RUST_LOOP_CONST_FMODE_CAN_ODIRECT != 0 }
    }

    /// Returns whether the file can be [flushed](Self::fsync).
    pub(crate) fn has_fsync(&self) -> bool {
        // SAFETY: The file is alive.
        unsafe { (*self.f_op()).fsync.is_some() }
    }

    /// Returns the size of the file in bytes, as the filesystem knows it: on a
    /// network filesystem the cached inode may be out of date. The inode answers for a
    /// filesystem that [refuses to](is_refusal).
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn size(&self) -> Result<u64> {
        // SAFETY: The file is alive, hence the inode is.
        let cached = || unsafe { bindings::rust_loop_helper_i_size_read(inode(&self.file)) };
        if block_device(&self.file).is_some() {
            return Ok(cached().try_into()?);
        }
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The file is alive; `stat` is valid for writes.
        let size = match to_result(unsafe {
            bindings::vfs_getattr_nosec(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                stat.as_mut_ptr(),
                bindings::STATX_SIZE,
                0,
            )
        }) {
            // SAFETY: `vfs_getattr_nosec` has filled it in.
            Ok(()) => unsafe { stat.assume_init() }.size,
            Err(err) if is_refusal(err) => cached(),
            Err(err) => return Err(err),
        };
        Ok(size.try_into()?)
    }

    /// Returns whether the file was opened for direct I/O (`O_DIRECT`).
    pub(crate) fn is_open_direct(&self) -> bool {
        // SAFETY: The file is alive. `fcntl(F_SETFL)` changes the word at any time, under
        // a lock of the file and in C; a marked access reads one value or the other.
        let flags = unsafe { atomic_load(&raw mut (*self.as_ptr()).f_flags, Relaxed) };
        flags & bindings::O_DIRECT != 0
    }

    /// Returns which file this is. The inode answers for a filesystem that
    /// [refuses to](is_refusal).
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn id(&self) -> Result<FileId> {
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The file is alive; `stat` is valid for writes.
        let (dev, ino, rdev) = match to_result(unsafe {
            bindings::vfs_getattr(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                stat.as_mut_ptr(),
                bindings::STATX_INO,
                bindings::AT_STATX_SYNC_AS_STAT,
            )
        }) {
            Ok(()) => {
                // SAFETY: `vfs_getattr` has filled it in.
                let stat = unsafe { stat.assume_init() };
                (stat.dev, stat.ino, stat.rdev)
            }
            // The inode in the filesystem: for a device node, that of the node.
            //
            // SAFETY: The file is alive, hence the inode and its superblock are. None of the
            // numbers changes.
            Err(err) if is_refusal(err) => unsafe {
                let inode = (*self.as_ptr()).f_inode;
                ((*(*inode).i_sb).s_dev, (*inode).i_ino, (*inode).i_rdev)
            },
            Err(err) => return Err(err),
        };
        // SAFETY: Pure arithmetic; has no preconditions.
        let (dev, rdev) = unsafe {
            (
                bindings::rust_loop_helper_huge_encode_dev(dev),
                bindings::rust_loop_helper_huge_encode_dev(rdev),
            )
        };
        Ok(FileId { dev, ino, rdev })
    }

    /// Returns the block size of the filesystem that the file lives in, in bytes. The inode
    /// answers for a filesystem that [refuses to](is_refusal), which FUSE does by 0, and for
    /// one whose size is none: a server of FUSE may say whatever it likes.
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn fs_block_size(&self) -> Result<u32> {
        let mut bsize = 0;
        // SAFETY: The file is alive; `bsize` is valid for writes.
        match to_result(unsafe {
            bindings::rust_loop_helper_vfs_statfs_bsize(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                &mut bsize,
            )
        }) {
            Err(err) if !is_refusal(err) => return Err(err),
            _ => (),
        }
        Ok(match u32::try_from(bsize) {
            Ok(bsize) if bsize.is_power_of_two() && bsize >= bindings::SECTOR_SIZE => bsize,
            _ => self.inode_block_size(),
        })
    }

    /// Returns the block size of the inode that holds the data, in bytes. Does not enter the
    /// filesystem.
    fn inode_block_size(&self) -> u32 {
        // SAFETY: The file is alive, hence the inode is.
        unsafe { bindings::rust_loop_helper_i_blocksize(inode(&self.file)) }
    }

    /// Returns what the ranges may have to be multiples of that [`Self::fallocate`] changes, in
    /// bytes, the smallest first. A block device takes whole logical blocks. A filesystem
    /// mostly takes any range; some take whole blocks only. Any context.
    pub(crate) fn fallocate_alignments(&self) -> [u32; 2] {
        let first = match block_device(&self.file) {
            // SAFETY: The file keeps the device alive.
            Some(bdev) => unsafe {
                bindings::rust_loop_helper_bdev_logical_block_size(bdev.as_ptr())
            },
            None => 1,
        };
        [first, first.max(self.inode_block_size())]
    }

    /// Returns whether the memory of a write must not change before the write has been done,
    /// past the page cache: something below computes checksums or parity of it. Any context.
    pub(crate) fn needs_stable_writes(&self) -> bool {
        // SAFETY: The file is alive, hence its mapping and the device below are.
        unsafe {
            bindings::rust_loop_helper_mapping_stable_writes((*self.as_ptr()).f_mapping)
                || self.device_below().is_some_and(|bdev| {
                    bindings::rust_loop_helper_bdev_stable_writes(bdev.as_ptr())
                })
        }
    }

    /// Writes the path of the file into `buf` and returns it.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` if it does not fit.
    pub(crate) fn path<'b>(&self, buf: &'b mut [u8]) -> Result<&'b BStr> {
        let len = buf.len().try_into()?;
        // SAFETY: The file is alive, and `buf` is valid for writes of `len`.
        let path = kernel::error::from_err_ptr(unsafe {
            bindings::file_path(self.as_ptr(), buf.as_mut_ptr().cast(), len)
        })?;
        // SAFETY: `file_path` returns a NUL-terminated string within `buf`.
        let path = unsafe { <CStr as kernel::str::CStrExt>::from_char_ptr(path) };
        Ok(BStr::from_bytes(path.to_bytes()))
    }

    /// What the block device below the file can do: the file itself if it is a
    /// device, else that which its filesystem is on.
    pub(crate) fn below(&self) -> Below {
        let own = block_device(&self.file);
        let Some(bdev) = self.device_below().map(NonNull::as_ptr) else {
            return Below::default();
        };
        // SAFETY: The file keeps the device that it is, or that its superblock
        // is on, alive.
        unsafe {
            Below {
                is_device: own.is_some(),
                rotational: bindings::rust_loop_helper_bdev_rot(bdev),
                write_zeroes_sectors: bindings::rust_loop_helper_bdev_write_zeroes_sectors(bdev),
                discard_granularity: bindings::rust_loop_helper_bdev_discard_granularity(bdev),
                discard_alignment: bindings::rust_loop_helper_bdev_discard_alignment(bdev),
                logical_block_size: bindings::rust_loop_helper_bdev_logical_block_size(bdev),
            }
        }
    }

    /// The device that the file is, else that which its filesystem is on.
    fn device_below(&self) -> Option<NonNull<bindings::block_device>> {
        let inode = inode(&self.file);
        // SAFETY: The file is alive, hence its superblock is.
        block_device(&self.file).or_else(|| NonNull::new(unsafe { (*(*inode).i_sb).s_bdev }))
    }

    /// Returns the file as one on a block device, if it is that.
    pub(crate) fn device(&self) -> Option<DeviceFile> {
        DeviceFile::from_file(&self.file)
    }

    /// Returns the driver's data of the disk that the file is, or that its filesystem is on,
    /// if that is a disk of `T` or a partition of one. Any context.
    pub(crate) fn disk_below<T: DiskOperations>(&self) -> Option<Arc<T>> {
        let bdev = self.device_below()?;
        // SAFETY: The file keeps the device that it is, or that its superblock is on, open.
        unsafe { bdev::disk_data(bdev) }
    }

    fn as_ptr(&self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    fn f_op(&self) -> *const bindings::file_operations {
        // SAFETY: The file is alive, and its operations do not change.
        unsafe { (*self.as_ptr()).f_op }
    }

    fn check_open_for_write(&self) -> Result {
        match is_open_for_write(&self.file) {
            true => Ok(()),
            false => Err(EBADF),
        }
    }
}

impl Drop for BackingFile {
    fn drop(&mut self) {
        self.no_io.end(&self.file);
    }
}

/// See [`BackingFile::below`]. All zero if there is no device.
#[derive(Clone, Copy, Default)]
pub(crate) struct Below {
    /// Whether the file is the device, rather than on it.
    pub(crate) is_device: bool,
    /// Whether seeking is expensive.
    pub(crate) rotational: bool,
    /// The most that can be zeroed at once, in sectors.
    pub(crate) write_zeroes_sectors: u32,
    /// In bytes.
    pub(crate) discard_granularity: u32,
    /// Position of the first unit of that size, in bytes.
    pub(crate) discard_alignment: u32,
    /// In bytes.
    pub(crate) logical_block_size: u32,
}
