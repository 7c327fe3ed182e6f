#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Read a page of a device five times a second for nine seconds.

usage: read_now_and_then.py DEVICE

Prints the number of reads.
"""

import mmap
import os
import sys
import time


def main():
    fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    end = time.monotonic() + 9
    count = 0
    while time.monotonic() < end:
        count += os.preadv(fd, [page], 0) == 4096
        time.sleep(0.2)
    print(count)


main()
