# SPDX-License-Identifier: GPL-2.0
"""Load and unload modules, and wait for udev, without starting programs."""

import ctypes
import errno
import os
import time

SYS_DELETE_MODULE = 176
SYS_FINIT_MODULE = 313
MODULE_INIT_COMPRESSED_FILE = 4

libc = ctypes.CDLL(None, use_errno=True)


def call(what, *arguments):
    if libc.syscall(what, *arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def load(path, parameters=b""):
    compressed = not path.endswith(".ko")
    fd = os.open(path, os.O_RDONLY)
    try:
        call(SYS_FINIT_MODULE, fd, parameters, MODULE_INIT_COMPRESSED_FILE if compressed else 0)
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
    retried(call, SYS_DELETE_MODULE, name.encode(), os.O_NONBLOCK)
