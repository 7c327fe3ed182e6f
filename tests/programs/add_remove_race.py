#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Add, remove, open and attach the same few devices at once.

usage: add_remove_race.py DEVICE-PREFIX CONTROL IMAGE SECONDS

Prints how often each succeeded; fails if one of the four never did.
"""

import fcntl
import os
import random
import sys
import threading
import time

import loopioctl

NUMBERS = range(40, 44)


def main():
    dev, ctl, image, seconds = sys.argv[1:]
    end = time.monotonic() + int(seconds)
    done = [0] * 4

    def attempt(kind, action):
        while time.monotonic() < end:
            try:
                action(random.choice(NUMBERS))
                done[kind] += 1
            except OSError:
                pass

    def control(request):
        def action(number):
            fd = os.open(ctl, os.O_RDWR)
            try:
                fcntl.ioctl(fd, request, number)
            finally:
                os.close(fd)
        return action

    def opener(number):
        fd = os.open(f"{dev}{number}", os.O_RDONLY)
        try:
            os.read(fd, 512)
        finally:
            os.close(fd)

    def attacher(number):
        fd = os.open(f"{dev}{number}", os.O_RDWR)
        backing = os.open(image, os.O_RDWR)
        try:
            fcntl.ioctl(fd, loopioctl.LOOP_SET_FD, backing)
            os.pread(fd, 4096, 0)
            fcntl.ioctl(fd, loopioctl.LOOP_CLR_FD, 0)
        finally:
            os.close(backing)
            os.close(fd)

    actions = (control(loopioctl.LOOP_CTL_ADD), control(loopioctl.LOOP_CTL_REMOVE),
               opener, attacher)
    threads = [threading.Thread(target=attempt, args=(kind, action))
               for kind, action in enumerate(actions) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("added, removed, opened, attached:", done)
    if not all(done):
        sys.exit("one of the four never succeeded")


main()
