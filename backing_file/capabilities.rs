// SPDX-License-Identifier: GPL-2.0

//! Capabilities of backing files that no interface of the kernel reports.
//!
//! They depend on the code of the filesystem. Filesystems whose code was checked are known by
//! name. For all others the weakest guarantee is assumed, which costs a flush or a trip through
//! the page cache, but no data.

use crate::abstractions::fs::BackingFile;
use kernel::block::SECTOR_SIZE;

/// Requirements of direct I/O to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectIo {
    /// Whether the file can be opened with `O_DIRECT`.
    pub(crate) allowed: bool,
    /// Whether direct I/O bypasses the page cache. Some filesystems accept `O_DIRECT` but use the
    /// page cache all the same.
    pub(crate) bypasses: bool,
    /// Alignment of positions and lengths, in bytes; a power of two.
    pub(crate) offset_align: u32,
    /// Alignment of addresses in memory, in bytes; a power of two.
    pub(crate) mem_align: u32,
}

/// Returns the requirements of direct I/O, as the filesystem reports them, else as the block
/// device below requires them. May sleep.
///
/// The rules are those of [`loop_update_dio_alignment()`](srctree/drivers/block/loop.c).
pub(super) fn direct_io(file: &BackingFile) -> DirectIo {
    // A block device reports the limits of its queue, which are used below anyway.
    let reported = if file.is_block_device() {
        None
    } else {
        file.dio_align().ok().flatten()
    };
    let device = file.lower_dio_align();
    let (offset_align, mem_align) = match (reported, device) {
        (Some(align), _) if align.mem != 0 => (align.offset.max(SECTOR_SIZE), align.mem),
        (_, Some(align)) => (align.offset, align.mem),
        (_, None) => (SECTOR_SIZE, SECTOR_SIZE),
    };
    DirectIo {
        allowed: file.has_direct(),
        // A file that accepts direct I/O but uses the page cache reports an alignment of 0.
        bypasses: reported.is_none_or(|align| align.mem != 0),
        offset_align,
        mem_align,
    }
}

/// Returns whether a [durable](crate::abstractions::fs::kiocb::RwOptions::dsync) write is durable
/// when it is done, synchronous or not, direct or not.
///
/// Other filesystems need a flush after the write:
///
/// - ocfs2, and netfs for direct I/O, ignore the flag.
/// - btrfs does not sync asynchronous writes.
/// - exfat and f2fs forget some of the metadata.
/// - FUSE leaves it to a server.
pub(crate) fn has_dsync(file: &BackingFile) -> bool {
    file.is_block_device() || matches!(file.fs_type_name(), b"ext4" | b"xfs")
}

/// Returns whether `fdatasync()` makes everything durable that reading the data takes.
///
/// f2fs leaves out ranges that were zeroed, gfs2 does not flush the disk.
pub(super) fn has_fdatasync(file: &BackingFile) -> bool {
    file.is_block_device() || matches!(file.fs_type_name(), b"ext4" | b"xfs" | b"btrfs")
}

/// Prepares `len` bytes at byte `pos` for a direct write with access to the
/// [memory reserves](crate::abstractions::task::with_memory_reserve). Returns whether the file
/// allows such a write now. Sleeps.
///
/// Most filesystems do not allow it. Before a direct write they write back dirty page cache, for
/// example with `iomap_writepages()`, which warns about `PF_MEMALLOC` and refuses. Block devices
/// with buffer heads and ext4 use another function. More rules hold for ext4:
///
/// - The range must be allocated and written. For an unwritten extent or a hole, ext4 begins a
///   transaction with allocations that must not fail, about which the page allocator warns. For a
///   hole it may also wait for another workqueue.
/// - The modification time must be up to date, because updating it takes a transaction, too. The
///   clock may tick before the write. A write with
///   [`nowait`](crate::abstractions::fs::kiocb::RwOptions::nowait) fails then.
/// - No page of the range is cached, because a write with that option would fail. Cached pages are
///   dropped here, if that is possible.
/// - The inode must not be synchronous, because the write would then write the inode.
pub(super) fn prepare_for_reserve(file: &BackingFile, pos: u64, len: u32) -> bool {
    if file.is_block_device() {
        file.write_back(pos, len.into());
        return cfg!(CONFIG_BUFFER_HEAD);
    }
    if file.fs_type_name() != b"ext4" || file.is_sync() || !file.is_written(pos, len) {
        return false;
    }
    if file.is_cached(pos, len) && !file.drop_cached(pos, len.into()) {
        return false;
    }
    file.update_time();
    true
}
