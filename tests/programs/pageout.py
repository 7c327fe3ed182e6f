#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Have memory written to swap while the device is read, and look what comes back.

usage: pageout.py DEVICE CGROUP PAGES ROUNDS [STORE]

CGROUP is the directory of that which this process is in, and nothing else. Each page
carries its number and the round, so that an old one is found. Of STORE, the backing file of
the device, nothing is in the page cache when a round begins.
"""

import ctypes
import itertools
import mmap
import os
import struct
import sys
import threading
import time

PAGE = mmap.PAGESIZE
MADV_PAGEOUT = 21
MARK = struct.Struct("<QQ")
PIECE = 64 * PAGE


def counter(name):
    with open("/proc/vmstat", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def in_memory(memory, pages):
    """How many of the pages are in memory, be they mapped or only kept beside their swap."""
    found = (ctypes.c_ubyte * pages)()
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(pages * PAGE), found):
        sys.exit(f"mincore: errno {ctypes.get_errno()}")
    return sum(page & 1 for page in found)


def let_go(cgroup, memory, pages):
    """What has been written to swap is in memory still, until that is wanted. Most goes, but memory
    of this program, too, which comes back."""
    end = time.monotonic() + 60
    for attempt in itertools.count():
        left = in_memory(memory, pages)
        if left == 0 or attempt >= 50 and left < pages // 2 or time.monotonic() > end:
            return
        try:
            with open(f"{cgroup}/memory.reclaim", "w", encoding="ascii") as reclaim:
                reclaim.write(f"{left * PAGE}")
        except BlockingIOError:
            pass


def read_until(device, stop):
    """Past the cache of the device: it is that of the backing file that is read into."""
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, PIECE)
    while not stop.is_set():
        pos = 0
        while not stop.is_set() and os.preadv(handle, [buffer], pos) == PIECE:
            pos += PIECE
    os.close(handle)


def drop_cache(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def main():
    device, cgroup, pages, rounds = *sys.argv[1:3], *map(int, sys.argv[3:5])
    memory = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for turn in range(1, rounds + 1):
        for page in range(pages):
            MARK.pack_into(memory, page * PAGE, page, turn)
        for store in sys.argv[5:]:
            drop_cache(store)
        stop = threading.Event()
        reader = threading.Thread(target=read_until, args=(device, stop))
        reader.start()
        written = counter("pswpout")
        memory.madvise(MADV_PAGEOUT)
        while counter("nr_writeback"):
            pass
        stop.set()
        reader.join()
        let_go(cgroup, memory, pages)
        written, read = counter("pswpout") - written, counter("pswpin")
        for page in range(pages):
            found = MARK.unpack_from(memory, page * PAGE)
            if found != (page, turn):
                sys.exit(f"page {page} in round {turn}: found {found}")
        read = counter("pswpin") - read
        if min(written, read) < pages // 4:
            sys.exit(f"round {turn}: of {pages} pages {written} were written, {read} read")


main()
