#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Change pages of a file through a mapping while they are written back.

usage: change_while_written.py FILE
"""

import mmap
import os
import sys
import threading

SIZE = 1 << 20
SYNCS = 30


def change(memory, done):
    byte = 0
    while not done.is_set():
        byte = (byte + 1) % 256
        for page in range(SIZE // 4096):
            memory[page * 4096 + byte * 16] = byte


def main():
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, SIZE)
    memory = mmap.mmap(fd, SIZE)
    done = threading.Event()
    thread = threading.Thread(target=change, args=(memory, done))
    thread.start()
    try:
        for _ in range(SYNCS):
            os.fsync(fd)
    finally:
        done.set()
        thread.join()


main()
