#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Attach a file to a device that another opener holds exclusively.

usage: exclusive_owner.py DEVICE FILE

LOOP_SET_FD of a second opener fails with EBUSY, that of the owner succeeds.
"""

import errno
import fcntl
import os
import sys

import loopioctl


def main():
    device, file = sys.argv[1:]
    owner = os.open(device, os.O_RDWR | os.O_EXCL)
    other = os.open(device, os.O_RDWR)
    backing = os.open(file, os.O_RDWR)
    try:
        fcntl.ioctl(other, loopioctl.LOOP_SET_FD, backing)
    except OSError as error:
        assert error.errno == errno.EBUSY, error
    else:
        sys.exit("configured under an exclusive owner")
    fcntl.ioctl(owner, loopioctl.LOOP_SET_FD, backing)
    fcntl.ioctl(owner, loopioctl.LOOP_CLR_FD, 0)


main()
