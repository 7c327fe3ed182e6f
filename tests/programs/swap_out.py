#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Have pages swapped out, and wait until all of them are written.

usage: swap_out.py PAGES

No swap is freed before, so blocks are taken that were not used yet.
"""

import mmap
import sys

MADV_PAGEOUT = 21


def in_writeback():
    with open("/proc/vmstat", encoding="ascii") as lines:
        counters = dict(map(str.split, lines))
    return counters["nr_writeback"] != "0"


def main():
    size = int(sys.argv[1]) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, size, mmap.PAGESIZE):
        memory[page:page + 8] = page.to_bytes(8, "little", signed=False)
        memory[page + 8] = 1
    memory.madvise(MADV_PAGEOUT)
    while in_writeback():
        pass


main()
