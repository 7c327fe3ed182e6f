#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Print how many pages of a file the page cache holds.

usage: pages_in_memory.py FILE
"""

import ctypes
import mmap
import sys


def main():
    with open(sys.argv[1], "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    pages = (ctypes.c_ubyte * (len(memory) // mmap.PAGESIZE))()
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(memory)), pages):
        sys.exit(f"mincore: errno {ctypes.get_errno()}")
    print(sum(page & 1 for page in pages))


main()
