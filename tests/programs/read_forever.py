#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Read a device from its beginning to its end, again and again, until killed.

usage: read_forever.py DEVICE
"""

import mmap
import os
import sys


def main():
    device = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    piece = mmap.mmap(-1, 65536)
    while True:
        if os.readv(device, [piece]) == 0:
            os.lseek(device, 0, os.SEEK_SET)


main()
