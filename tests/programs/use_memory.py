#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Write to all pages of some memory, and look whether they stay the same.

usage: use_memory.py MIB

The exit status is 1 if one does not.
"""

import mmap
import sys

PAGE = mmap.PAGESIZE


def main():
    memory = bytearray(int(sys.argv[1]) << 20)
    for i in range(0, len(memory), PAGE):
        memory[i] = i // PAGE & 255
    sys.exit(any(memory[i] != i // PAGE & 255 for i in range(0, len(memory), PAGE)))


main()
