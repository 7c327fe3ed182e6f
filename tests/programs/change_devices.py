#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Add or remove many devices, and print how many nanoseconds that took.

usage: change_devices.py CONTROL add|remove COUNT
"""

import fcntl
import os
import sys
import time

import loopioctl

FIRST = 100


def main():
    control = os.open(sys.argv[1], os.O_RDWR)
    request = {"add": loopioctl.LOOP_CTL_ADD, "remove": loopioctl.LOOP_CTL_REMOVE}[sys.argv[2]]
    start = time.monotonic_ns()
    for number in range(FIRST, FIRST + int(sys.argv[3])):
        fcntl.ioctl(control, request, number)
    print(time.monotonic_ns() - start)


main()
