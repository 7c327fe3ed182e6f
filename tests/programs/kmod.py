# SPDX-License-Identifier: GPL-2.0
"""Load and unload modules, and wait for udev, without starting programs."""

import errno
import os
import time

import syscalls

MODULE_INIT_COMPRESSED_FILE = 4


def load(path, parameters=b""):
    compressed = not path.endswith(".ko")
    fd = os.open(path, os.O_RDONLY)
    try:
        flags = MODULE_INIT_COMPRESSED_FILE if compressed else 0
        syscalls.call("finit_module", fd, parameters, flags)
    finally:
        os.close(fd)


def retried(operation, *arguments):
    """udev may have the device open for a moment, or not have made its node."""
    end = time.monotonic() + 30
    while True:
        try:
            return operation(*arguments)
        except OSError as error:
            transient = (errno.EBUSY, errno.ENXIO, errno.EAGAIN, errno.ENOENT)
            if error.errno not in transient or time.monotonic() > end:
                raise
        time.sleep(0.01)


def unload(name):
    retried(syscalls.call, "delete_module", name.encode(), os.O_NONBLOCK)
