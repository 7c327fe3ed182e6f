#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Detach a device as its only opener. From then on the device is unbound.

usage: only_opener.py DEVICE
"""

import errno
import fcntl
import mmap
import os
import sys

import loopioctl


def main():
    device = sys.argv[1]
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    assert os.preadv(fd, [page], 0) == 4096
    fcntl.ioctl(fd, loopioctl.LOOP_CLR_FD, 0)
    status = bytearray(loopioctl.INFO64.size)
    for what, call in (
            ("open", lambda: os.open(device, os.O_RDONLY)),
            ("status", lambda: fcntl.ioctl(fd, loopioctl.LOOP_GET_STATUS64, status)),
            ("detach", lambda: fcntl.ioctl(fd, loopioctl.LOOP_CLR_FD, 0))):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.ENXIO, f"{what}: {error}"
        else:
            sys.exit(f"{what} succeeded after detach")


main()
