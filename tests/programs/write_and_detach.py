#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Write 1 MiB through the page cache of a device, detach and close it.

usage: write_and_detach.py DEVICE FILE
"""

import fcntl
import os
import sys

import loopioctl


def main():
    fd = os.open(sys.argv[1], os.O_RDWR)
    with open(sys.argv[2], "rb") as data:
        assert os.write(fd, data.read()) == 1 << 20
    fcntl.ioctl(fd, loopioctl.LOOP_CLR_FD, 0)
    os.close(fd)


main()
