#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Print what a user of a device is told for each errno of the backing file.

usage: errnos.py DEVICE ERRORS OPERATION ERRNO...

ERRORS is the file of that name of fusefs.py, which serves the backing file. OPERATION is
one of the operations there: read, write, fsync, punch or zero. Each line is an ERRNO and
what came of it: another one, or "ok".
"""

import errno
import fcntl
import mmap
import os
import sys

import loopioctl

RANGE = loopioctl.RANGE.pack(0, 65536)


def attempt(operation, fd, memory):
    if operation == "read":
        os.preadv(fd, [memory], 0)
    elif operation == "write":
        os.pwritev(fd, [memory], 0)
    elif operation == "fsync":
        os.fsync(fd)
    elif operation == "punch":
        fcntl.ioctl(fd, loopioctl.BLKDISCARD, RANGE)
    elif operation == "zero":
        fcntl.ioctl(fd, loopioctl.BLKZEROOUT, RANGE)


def main():
    device, errors, operation, *names = sys.argv[1:]
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    memory = mmap.mmap(-1, 4096)
    for name in names:
        with open(errors, "w", encoding="ascii") as lines:
            lines.write(f"{operation} {name}\n")
        try:
            attempt(operation, fd, memory)
            result = "ok"
        except OSError as error:
            result = errno.errorcode[error.errno]
        print(name, result)
    with open(errors, "w", encoding="ascii"):
        pass


if __name__ == "__main__":
    main()
