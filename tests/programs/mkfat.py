#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Make a minimal FAT16 filesystem of 32 MiB on a device.

The guest carries no mkfs for it, and the tests want a filesystem whose
fallocate() refuses to punch holes.
"""

import struct
import sys

SECTOR = 512
SECTORS = 65535
PER_CLUSTER = 4
FAT_SECTORS = 64
ROOT_ENTRIES = 512


def main():
    boot = struct.pack("<3s8sHBHBHHBHHHIIBBBI11s8s", b"\xeb\x3c\x90", b"MKFAT   ",
                       SECTOR, PER_CLUSTER, 1, 2, ROOT_ENTRIES, SECTORS, 0xF8,
                       FAT_SECTORS, 32, 2, 0, 0, 0x80, 0, 0x29, 1,
                       b"NO NAME    ", b"FAT16   ")
    boot += bytes(510 - len(boot)) + b"\x55\xaa"
    fat = b"\xf8\xff\xff\xff" + bytes(FAT_SECTORS * SECTOR - 4)
    with open(sys.argv[1], "r+b") as disk:
        disk.write(boot + fat * 2 + bytes(ROOT_ENTRIES * 32))


if __name__ == "__main__":
    main()
