#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Attach one device to another, with no room left in the address space.

usage: attach_without_memory.py LOOP_SET_FD|LOOP_CHANGE_FD UPPER LOWER

A driver that asked the lower device about itself would need memory of the caller.
"""

import fcntl
import os
import resource
import sys

import loopioctl


def main():
    request = getattr(loopioctl, sys.argv[1])
    upper = os.open(sys.argv[2], os.O_RDWR)
    lower = os.open(sys.argv[3], os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_AS, (0, resource.RLIM_INFINITY))
    fcntl.ioctl(upper, request, lower)


main()
