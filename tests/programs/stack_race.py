#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Attach devices on each other in all orders while they come and go.

usage: stack_race.py DEVICE-PREFIX IMAGE SECONDS

Prints how often each of the three devices was attached.
"""

import fcntl
import os
import sys
import threading
import time

import loopioctl


def churn(path, below, end, bound):
    while time.monotonic() < end:
        fds = []
        try:
            fds.append(os.open(path, os.O_RDWR))
            fds.append(os.open(below, os.O_RDWR))
            fcntl.ioctl(fds[0], loopioctl.LOOP_SET_FD, fds[1])
            bound[path] = bound.get(path, 0) + 1
            os.pread(fds[0], 4096, 0)
            fcntl.ioctl(fds[0], loopioctl.LOOP_CLR_FD, 0)
        except OSError:
            pass
        finally:
            for fd in fds:
                os.close(fd)


def main():
    dev, image, seconds = sys.argv[1:]
    end = time.monotonic() + int(seconds)
    bound = {}
    stack = [(0, image), (1, f"{dev}0"), (2, f"{dev}1"), (0, f"{dev}2"), (1, f"{dev}1")]
    threads = [threading.Thread(target=churn, args=(f"{dev}{number}", below, end, bound))
               for number, below in stack]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(bound)


main()
