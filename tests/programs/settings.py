#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Change settings of a device one after the other, without closing it in between.

usage: settings.py DEVICE SETTING=VALUE...

Settings are change-fd=FILE, offset=BYTES, block-size=BYTES, direct-io=0|1 and
capacity=. A setting that fails is printed and is no failure.
"""

import fcntl
import os
import sys

import loopioctl


def main():
    fd = os.open(sys.argv[1], os.O_RDWR)
    for one in sys.argv[2:]:
        setting, value = one.split("=")
        if setting == "change-fd":
            request, argument = loopioctl.LOOP_CHANGE_FD, os.open(value, os.O_RDONLY)
        elif setting == "offset":
            request = loopioctl.LOOP_SET_STATUS64
            argument = loopioctl.info64(offset=int(value), flags=loopioctl.LO_FLAGS_PARTSCAN)
        elif setting == "block-size":
            request, argument = loopioctl.LOOP_SET_BLOCK_SIZE, int(value)
        elif setting == "direct-io":
            request, argument = loopioctl.LOOP_SET_DIRECT_IO, int(value)
        elif setting == "capacity":
            request, argument = loopioctl.LOOP_SET_CAPACITY, 0
        else:
            sys.exit(f"no setting is called {setting}")
        try:
            fcntl.ioctl(fd, request, argument)
        except OSError as error:
            print(one, error)


main()
