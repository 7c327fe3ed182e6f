// SPDX-License-Identifier: GPL-2.0

//! Arithmetic for the capacity and the queue limits of a device.

use crate::{
    abstractions::block::{
        mq::{
            SECTOR_SHIFT,
            SECTOR_SIZE, //
        },
        queue_limits::{
            BlockSizes,
            QueueLimits, //
        },
    },
    backing_file::{
        capabilities::DirectIo,
        Backing, //
    },
};
use kernel::prelude::*;

/// Returns the capacity, in sectors, of a device whose file has `file_size` bytes.
pub(super) fn sectors(backing: &Backing, file_size: u64) -> u64 {
    let settings = backing.settings();
    device_sectors(
        file_size,
        settings.offset,
        settings.size_limit,
        backing.block_size(),
    )
}

/// Returns the capacity, in sectors, of a device that begins at byte `offset` of a file of
/// `file_size` bytes. The device has at most `size_limit` bytes, unless that is 0.
///
/// The device ends with the last whole logical block, of `block_size` bytes, because the block
/// layer rejects I/O to a part of a block.
fn device_sectors(file_size: u64, offset: u64, size_limit: u64, block_size: u32) -> u64 {
    let size = file_size.saturating_sub(offset);
    let size = match size_limit {
        0 => size,
        limit => size.min(limit),
    };
    (size - size % u64::from(block_size.max(SECTOR_SIZE))) >> SECTOR_SHIFT
}

/// Returns the byte of the device at which the first discard unit, of `granularity` bytes,
/// begins. The first unit of the file begins at its byte `alignment`, and the device at byte
/// `offset` of the file.
fn discard_alignment(granularity: u32, alignment: u32, offset: u64) -> u32 {
    let granularity = u64::from(granularity);
    match offset.checked_rem(granularity) {
        Some(rest) => ((granularity + u64::from(alignment) - rest) % granularity) as u32,
        None => 0,
    }
}

/// The input of [`limits`].
#[derive(Clone, Copy)]
pub(super) struct LimitsInput {
    /// The requested logical block size, in bytes; 0 for the default.
    pub(super) block_size: u32,
    /// Whether direct I/O was requested.
    pub(super) direct: bool,
    /// The requirements of direct I/O to the file.
    pub(super) direct_io: DirectIo,
    /// Whether the device is writable.
    pub(super) writable: bool,
    /// Whether the file can be flushed.
    pub(super) has_fsync: bool,
    /// Whether the file supports writes that are durable without a flush (`IOCB_DSYNC`).
    pub(super) has_dsync: bool,
    /// Whether the block device that stores the file is rotational.
    pub(super) rotational: bool,
    /// Whether the pages of a write must not change while it is in flight.
    pub(super) stable_writes: bool,
    /// The position in the file at which the device begins, in bytes.
    pub(super) offset: u64,
    /// The way in which the file deallocates space.
    pub(super) discard: Discard,
}

/// The way in which a file deallocates space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Discard {
    /// The file does not deallocate space.
    No,
    /// A regular file with holes of any size.
    Holes {
        /// The block size of the filesystem, in bytes.
        granularity: u32,
    },
    /// A block device. A discard becomes a write-zeroes there, so that discarded blocks read as
    /// zeroes.
    Device {
        /// The maximum size of a write-zeroes, in sectors; 0 if the device does not support it.
        max_sectors: u32,
        /// The discard granularity of the block device, in bytes.
        granularity: u32,
        /// The position of the first discard unit, in bytes.
        alignment: u32,
        /// The logical block size, which is the minimum for a write-zeroes, in bytes.
        logical_block_size: u32,
    },
}

/// Returns the limits of a device.
pub(super) fn limits(input: LimitsInput) -> QueueLimits {
    let block_size = match input.block_size {
        0 if input.direct => input.direct_io.offset_align,
        0 => SECTOR_SIZE,
        size => size,
    };
    let (max_sectors, granularity, alignment) = match input.discard {
        Discard::No | Discard::Device { max_sectors: 0, .. } => (0, 0, 0),
        Discard::Holes { granularity } => {
            (u32::MAX >> SECTOR_SHIFT, granularity.max(block_size), 0)
        }
        Discard::Device {
            max_sectors,
            granularity,
            alignment,
            logical_block_size,
        } => (
            max_sectors,
            granularity.max(logical_block_size).max(block_size),
            alignment,
        ),
    };
    QueueLimits {
        block_sizes: BlockSizes::all(block_size),
        // At most a sector. The block layer rejects buffers that are aligned to less than this,
        // and buffers of one sector are aligned to a sector only. If the file then rejects a
        // buffer, the I/O goes through its page cache.
        dma_alignment: input.direct_io.mem_align.min(SECTOR_SIZE),
        write_cache: input.has_fsync && input.writable,
        // Otherwise the block layer replaces `REQ_FUA` by a flush after the write.
        fua: input.has_fsync && input.has_dsync && input.writable,
        rotational: input.rotational,
        stable_writes: input.stable_writes,
        max_discard_sectors: max_sectors,
        max_write_zeroes_sectors: max_sectors,
        discard_granularity: granularity,
        discard_alignment: discard_alignment(granularity, alignment, input.offset),
    }
}

#[kunit_tests(rust_loop_limits)]
mod tests {
    use super::*;

    #[test]
    fn sectors_of_sizes() {
        const MAX: u64 = i64::MAX as u64;
        // (file size, offset, size limit, expected)
        let table = [
            (0, 0, 0, 0),
            (511, 0, 0, 0),
            (512, 0, 0, 1),
            (1023, 0, 0, 1),
            (1 << 20, 0, 0, 2048),
            (1 << 20, 4096, 0, 2040),
            (1 << 20, 1, 0, 2047),
            (1 << 20, 1 << 20, 0, 0),
            (1 << 20, (1 << 20) + 1, 0, 0),
            (1 << 20, MAX, 0, 0),
            (1 << 20, 0, 512, 1),
            (1 << 20, 0, 511, 0),
            (1 << 20, 0, 1, 0),
            (1 << 20, 4096, 8192, 16),
            (1 << 20, 4096, 1 << 20, 2040),
            (1 << 20, 4096, MAX, 2040),
            (MAX, 0, 0, MAX >> 9),
            (MAX, 0, MAX, MAX >> 9),
            (MAX, MAX - 512, 0, 1),
        ];
        for (size, offset, limit, expected) in table {
            assert_eq!(device_sectors(size, offset, limit, SECTOR_SIZE), expected);
        }
    }

    #[test]
    fn sectors_are_whole_blocks() {
        const MAX: u64 = i64::MAX as u64;
        // (file size, offset, size limit, block size, expected)
        let table = [
            (1_050_112, 0, 0, 512, 2051),
            (1_050_112, 0, 0, 1024, 2050),
            (1_050_112, 0, 0, 4096, 2048),
            (1_050_112, 0, 0, 65536, 2048),
            (4095, 0, 0, 4096, 0),
            (4096, 0, 0, 4096, 8),
            (8191, 0, 0, 4096, 8),
            (8192, 1, 0, 4096, 8),
            (8192, 512, 0, 4096, 8),
            (8192, 4096, 0, 4096, 8),
            (8192, 4097, 0, 4096, 0),
            (1 << 20, 0, 100_000, 4096, 192),
            (1 << 20, 0, 4095, 4096, 0),
            (1 << 20, 512, 1 << 20, 4096, 2040),
            (MAX, 0, 0, 4096, MAX >> 12 << 3),
            (MAX, MAX - 4095, 0, 4096, 0),
            (MAX, MAX - 4096, 0, 4096, 8),
        ];
        for (size, offset, limit, block_size, expected) in table {
            assert_eq!(device_sectors(size, offset, limit, block_size), expected);
        }
    }

    #[test]
    fn discard_alignments() {
        const MAX: u64 = i64::MAX as u64;
        // (granularity, alignment, offset, expected)
        let table = [
            (0, 0, 0, 0),
            (0, 512, 4096, 0),
            (4096, 0, 0, 0),
            (4096, 0, 512, 3584),
            (4096, 0, 3584, 512),
            (4096, 0, 4096, 0),
            (4096, 0, 1000, 3096),
            (4096, 512, 0, 512),
            (4096, 512, 512, 0),
            (4096, 512, 1024, 3584),
            (4096, 8192, 0, 0),
            (4096, 0, MAX, 1),
            (1 << 31, 0, 1 << 31, 0),
            (1 << 31, u32::MAX, 1, 0x7fff_fffe),
        ];
        for (granularity, alignment, offset, expected) in table {
            assert_eq!(discard_alignment(granularity, alignment, offset), expected);
        }
    }

    const DIRECT_IO: DirectIo = DirectIo {
        allowed: true,
        bypasses: true,
        offset_align: 4096,
        mem_align: 4,
    };

    #[test]
    fn limits_for_direct_io() {
        // (asked, direct, expected)
        let table = [
            (0, false, 512),
            (0, true, 4096),
            (512, true, 512),
            (8192, true, 8192),
        ];
        for (block_size, direct, expected) in table {
            let limits = limits(LimitsInput {
                block_size,
                direct,
                ..PLAIN
            });
            assert_eq!(limits.block_sizes.logical, expected);
            assert_eq!(limits.dma_alignment, 4);
        }
    }

    #[test]
    fn limits_memory_alignment() {
        for (mem_align, expected) in [(1, 1), (4, 4), (512, 512), (4096, 512)] {
            let limits = limits(LimitsInput {
                direct_io: DirectIo {
                    mem_align,
                    ..DIRECT_IO
                },
                ..PLAIN
            });
            assert_eq!(limits.dma_alignment, expected);
        }
    }

    const PLAIN: LimitsInput = LimitsInput {
        block_size: 0,
        direct: false,
        direct_io: DIRECT_IO,
        writable: true,
        has_fsync: true,
        has_dsync: true,
        rotational: false,
        stable_writes: false,
        offset: 0,
        discard: Discard::No,
    };

    #[test]
    fn limits_block_size() {
        for (asked, expected) in [(0, 512), (512, 512), (4096, 4096), (1234, 1234)] {
            let limits = limits(LimitsInput {
                block_size: asked,
                ..PLAIN
            });
            assert_eq!(limits.block_sizes.logical, expected);
        }
    }

    #[test]
    fn limits_write_cache() {
        // (writable, can be flushed, can be written durably, write cache, FUA)
        for (writable, has_fsync, has_dsync, write_cache, fua) in [
            (true, true, true, true, true),
            (true, true, false, true, false),
            (true, false, true, false, false),
            (true, false, false, false, false),
            (false, true, true, false, false),
            (false, false, false, false, false),
        ] {
            let limits = limits(LimitsInput {
                writable,
                has_fsync,
                has_dsync,
                ..PLAIN
            });
            assert!(limits.write_cache == write_cache);
            assert!(limits.fua == fua);
        }
    }

    #[test]
    fn limits_discard() {
        const DEVICE: Discard = device(64, 1024, 512);
        const fn device(max_sectors: u32, granularity: u32, logical_block_size: u32) -> Discard {
            Discard::Device {
                max_sectors,
                granularity,
                alignment: 0,
                logical_block_size,
            }
        }
        const HOLES: Discard = Discard::Holes { granularity: 4096 };
        // (how, offset, block size, expected sectors, granularity, alignment)
        let table = [
            (Discard::No, 512, 0, 0, 0, 0),
            (HOLES, 0, 0, 0x7f_ffff, 4096, 0),
            (HOLES, 512, 0, 0x7f_ffff, 4096, 3584),
            (HOLES, 512, 8192, 0x7f_ffff, 8192, 7680),
            (DEVICE, 0, 0, 64, 1024, 0),
            (DEVICE, 512, 0, 64, 1024, 512),
            (device(0, 1024, 512), 512, 0, 0, 0, 0),
            (device(64, 0, 512), 0, 0, 64, 512, 0),
            (device(64, 0, 4096), 0, 0, 64, 4096, 0),
            (device(64, 0, 4096), 512, 0, 64, 4096, 3584),
            (device(64, 0, 512), 512, 4096, 64, 4096, 3584),
        ];
        for (discard, offset, block_size, sectors, granularity, alignment) in table {
            let limits = limits(LimitsInput {
                discard,
                offset,
                block_size,
                ..PLAIN
            });
            assert_eq!(limits.max_discard_sectors, sectors);
            assert_eq!(limits.max_write_zeroes_sectors, sectors);
            assert_eq!(limits.discard_granularity, granularity);
            assert_eq!(limits.discard_alignment, alignment);
        }
    }
}
