#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Use more memory than there is, and look whether it is what was put there.

usage: hog.py MIB ROUNDS

Each page carries its own number and round, so that a page that came back from swap
as another one, or an old one, is found.
"""

import mmap
import struct
import sys

PAGE = mmap.PAGESIZE
MARK = struct.Struct("<QQ")


def main():
    pages = (int(sys.argv[1]) << 20) // PAGE
    rounds = int(sys.argv[2])
    memory = mmap.mmap(-1, pages * PAGE)
    for turn in range(1, rounds + 1):
        for page in range(pages):
            if turn > 1:
                found = MARK.unpack_from(memory, page * PAGE)
                if found != (page, turn - 1):
                    sys.exit(f"page {page} in round {turn}: found {found}")
            MARK.pack_into(memory, page * PAGE, page, turn)
        print(f"round {turn}: {pages} pages", flush=True)


main()
