#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Load a module, attach, write, read, detach, unload; again and again.

usage: cycles.py MODULE-FILE DEVICE IMAGE COUNT
"""

import fcntl
import mmap
import os
import sys

import kmod
import loopioctl


def use(device, image, pattern):
    handle = kmod.retried(os.open, device, os.O_RDWR | os.O_DIRECT)
    backing = os.open(image, os.O_RDWR)
    fcntl.ioctl(handle, loopioctl.LOOP_SET_FD, backing)
    os.close(backing)
    page = mmap.mmap(-1, 4096)
    page[:] = pattern * 4096
    assert os.pwrite(handle, page, 8192) == 4096
    page[:] = bytes(4096)
    assert os.preadv(handle, [page], 8192) == 4096
    if page[:] != pattern * 4096:
        sys.exit("read back something else")
    fcntl.ioctl(handle, loopioctl.LOOP_CLR_FD)
    os.close(handle)


def main():
    path, device, image, count = sys.argv[1:]
    name = os.path.basename(path).split(".")[0]
    for cycle in range(int(count)):
        kmod.load(path, b"max_loop=1")
        use(device, image, bytes([cycle % 255 + 1]))
        kmod.unload(name)
    print(f"{count} cycles")


if __name__ == "__main__":
    main()
