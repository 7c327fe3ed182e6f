# SPDX-License-Identifier: GPL-2.0
"""The ioctls of loop devices and of block devices: numbers, flags and structures."""

import os
import struct

LOOP_SET_FD = 0x4C00
LOOP_CLR_FD = 0x4C01
LOOP_SET_STATUS = 0x4C02
LOOP_GET_STATUS = 0x4C03
LOOP_SET_STATUS64 = 0x4C04
LOOP_GET_STATUS64 = 0x4C05
LOOP_CHANGE_FD = 0x4C06
LOOP_SET_CAPACITY = 0x4C07
LOOP_SET_DIRECT_IO = 0x4C08
LOOP_SET_BLOCK_SIZE = 0x4C09
LOOP_CONFIGURE = 0x4C0A

# Requests of the control device.
LOOP_CTL_ADD = 0x4C80
LOOP_CTL_REMOVE = 0x4C81
LOOP_CTL_GET_FREE = 0x4C82

# Requests of any block device.
BLKRRPART = 0x125F
BLKFLSBUF = 0x1261
BLKPG = 0x1269
BLKDISCARD = 0x1277
BLKZEROOUT = 0x127F

LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_PARTSCAN = 8
LO_FLAGS_DIRECT_IO = 16

# struct loop_info64: device, inode, rdevice, offset, sizelimit, number,
# encrypt_type, encrypt_key_size, flags, file_name, crypt_name, key, init.
INFO64 = struct.Struct("=5Q4I64s64s32s2Q")

# struct loop_info: number, device, inode, rdevice, offset, encrypt_type,
# encrypt_key_size, flags, name, key, init, reserved.
OLD_DEV = "L" if os.uname().machine == "x86_64" else "I"
INFO = struct.Struct(f"@i{OLD_DEV}L{OLD_DEV}4i64s32s2L4s0L")

# The head of struct loop_config: fd, block_size. A struct loop_info64 and 64
# reserved bytes follow.
CONFIG_HEAD = struct.Struct("=2I")

# struct blkpg_ioctl_arg: op, flags, length of the data, address of the data.
BLKPG_ARGUMENT = struct.Struct("@3iP")
# struct blkpg_partition: start, length, number, names.
BLKPG_PARTITION = struct.Struct("@2qi64s64s0q")
BLKPG_ADD_PARTITION = 1
BLKPG_DEL_PARTITION = 2

# The argument of BLKDISCARD and BLKZEROOUT: start, length.
RANGE = struct.Struct("=2Q")


def info64(offset=0, sizelimit=0, flags=0, name=b"", encrypt_type=0, key_size=0):
    """A struct loop_info64, with offset and limit of any sign."""
    mask = (1 << 64) - 1
    return INFO64.pack(0, 0, 0, offset & mask, sizelimit & mask, 0,
                       encrypt_type, key_size, flags, name, b"", b"", 0, 0)


def config(fd, block_size=0, info=info64()):
    """A struct loop_config."""
    return CONFIG_HEAD.pack(fd, block_size) + info + bytes(64)
