#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Attach a device to one that is being detached: EINVAL.

usage: attach_to_detaching.py LOWER UPPER

LOWER stays open, so that its detach is asked for and not done.
"""

import errno
import fcntl
import os
import sys

import loopioctl


def main():
    below, above = (os.open(path, os.O_RDWR) for path in sys.argv[1:])
    fcntl.ioctl(below, loopioctl.LOOP_CLR_FD, 0)
    try:
        fcntl.ioctl(above, loopioctl.LOOP_SET_FD, below)
    except OSError as error:
        assert error.errno == errno.EINVAL, error
    else:
        fcntl.ioctl(above, loopioctl.LOOP_CLR_FD, 0)
        sys.exit("attached to a device that is being detached")


main()
