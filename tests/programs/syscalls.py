# SPDX-License-Identifier: GPL-2.0
"""System calls for which neither Python nor the C library has a function."""

import ctypes
import os

NUMBERS = {
    "x86_64": {
        "delete_module": 176,
        "io_setup": 206,
        "io_getevents": 208,
        "io_submit": 209,
        "finit_module": 313,
    },
    "aarch64": {
        "io_setup": 0,
        "io_submit": 2,
        "io_getevents": 4,
        "delete_module": 106,
        "finit_module": 273,
    },
}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(name, *arguments):
    """Return the result, or raise an OSError."""
    # An int of Python would be passed as one of C, and the kernel reads longs.
    longs = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *longs)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
