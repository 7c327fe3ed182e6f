#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""usage: offsets.py DEVICE FILE ROUNDS

Writes to a device through its page cache and changes the offset at once. What is
read then has to be what the file has there; prints how often it was not.
"""

import fcntl
import mmap
import os
import sys

import loopioctl

PAGE = mmap.PAGESIZE
# Of the device, so that it does not change with the offset.
SIZE = 8 * PAGE


def set_offset(device, offset):
    fcntl.ioctl(device, loopioctl.LOOP_SET_STATUS64, loopioctl.info64(offset, SIZE))


def main():
    path, file, rounds = sys.argv[1:]
    device = os.open(path, os.O_RDWR)
    os.posix_fadvise(device, 0, 0, os.POSIX_FADV_RANDOM)
    backing = os.open(file, os.O_RDONLY)
    offset = stale = 0
    for i in range(int(rounds)):
        pages = 1 + i % 7
        data = b"".join(b"%-*d" % (PAGE, i * 8 + page) for page in range(pages))
        os.pwrite(device, data, 0)
        offset ^= 1 << 16
        set_offset(device, offset)
        size = pages * PAGE
        stale += os.pread(device, size, 0) != os.pread(backing, size, offset)
    print(stale)


main()
