#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Read and write a device with RWF_NOWAIT, and compare it with its image.

usage: nowait.py DEVICE IMAGE
"""

import mmap
import os
import sys

PIECE = 65536


def main():
    device = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, PIECE)
    with open(sys.argv[2], "rb") as image:
        wanted = image.read()
    for offset in range(0, 1 << 20, PIECE):
        # The block layer itself may have no tag at once: EAGAIN on the call.
        got = os.preadv(device, [buffer], offset, os.RWF_NOWAIT)
        if got != PIECE or buffer[:] != wanted[offset:offset + PIECE]:
            sys.exit(f"{got} bytes at {offset}")
        if os.pwritev(device, [buffer], offset, os.RWF_NOWAIT) != PIECE:
            sys.exit(f"short write at {offset}")


main()
