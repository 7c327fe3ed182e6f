#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Write and read one device with scattered, sub-page direct I/O.

usage: vecio.py [--discard] [--offset=BYTES] DEVICE IMAGE

One vectored call takes pieces of 512 bytes to a few KiB from odd multiples of
512 within their pages, so that a request has many vectors, vectors that begin
mid-page, and (being larger than a bio holds, or than the queue allows) several
bios or splits in the middle of a vector. Everything is compared with a model
in memory, and at the end IMAGE, the backing file, is too, from that offset on. With
--discard, ranges are discarded and zeroed in between: either reads as zeroes.
"""

import fcntl
import mmap
import os
import random
import sys

import loopioctl

SECTOR = 512
SIZE = 8 << 20


def pieces(rng, arena, total):
    """Cut `total` bytes into memoryviews at 512-aligned places of `arena`."""
    views = []
    place = 0
    while total:
        place += SECTOR * rng.randrange(1, 8)
        length = min(total, SECTOR * rng.choice((1, 1, 2, 3, 5, 7, 8, 9, 24)))
        views.append(arena[place:place + length])
        place += length
        total -= length
    return views


def vectored(call, fd, views, position):
    """preadv/pwritev take at most 1024 vectors a call."""
    while views:
        batch = views[:1024]
        want = sum(len(view) for view in batch)
        got = call(fd, batch, position)
        if got != want:
            sys.exit(f"{call.__name__} at {position}: {got} of {want} bytes")
        views = views[1024:]
        position += want


def main():
    device, image = sys.argv[-2:]
    discard = "--discard" in sys.argv
    offset = sum(int(arg.split("=")[1]) for arg in sys.argv if arg.startswith("--offset="))
    rng = random.Random(7)
    arena = memoryview(mmap.mmap(-1, 8 << 20))
    model = bytearray(SIZE)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    os.pwrite(fd, mmap.mmap(-1, SIZE), 0)

    for _ in range(60):
        total = SECTOR * rng.choice((1, 2, 7, 8, 9, 64, 255, 256, 1023, 2048, 2047))
        position = SECTOR * rng.randrange((SIZE - total) // SECTOR)
        views = pieces(rng, arena, total)
        data = rng.randbytes(total)
        done = 0
        for view in views:
            view[:] = data[done:done + len(view)]
            done += len(view)
        vectored(os.pwritev, fd, views, position)
        model[position:position + total] = data

        if discard:
            position = SECTOR * rng.randrange((SIZE - total) // SECTOR)
            request = rng.choice((loopioctl.BLKDISCARD, loopioctl.BLKZEROOUT))
            fcntl.ioctl(fd, request, loopioctl.RANGE.pack(position, total))
            model[position:position + total] = bytes(total)

        position = SECTOR * rng.randrange((SIZE - total) // SECTOR)
        views = pieces(rng, arena, total)
        vectored(os.preadv, fd, views, position)
        if b"".join(views) != model[position:position + total]:
            sys.exit(f"difference in {total} bytes read at {position}")

    os.fsync(fd)
    with open(image, "rb") as backing:
        backing.seek(offset)
        if backing.read(SIZE) != model:
            sys.exit("the backing file differs from what was written")


if __name__ == "__main__":
    main()
