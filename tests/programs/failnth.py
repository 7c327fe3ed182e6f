#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Fail the first, second, third... allocation of one operation.

usage: failnth.py load MODULE-FILE PARAMETERS
       failnth.py attach DEVICE IMAGE
       failnth.py add CONTROL NUMBER

Each round repeats the operation with a later allocation failing, until a round
ends without any failure. A round may succeed (some allocations can be done
without) or end with ENOMEM; what it did is undone before the next. Needs a
kernel with CONFIG_FAILSLAB and failslab's ignore-gfp-wait off.
"""

import errno
import fcntl
import os
import sys

import kmod
import loopioctl

LIMIT = 2000


def injected(nth, operation):
    """Run with the nth allocation failing: (was it reached, errno or 0)."""
    path = f"/proc/self/task/{os.getpid()}/fail-nth"
    control = os.open(path, os.O_RDWR)
    result = 0
    try:
        os.write(control, str(nth).encode())
        try:
            operation()
        except OSError as error:
            result = error.errno
        left = int(os.pread(control, 16, 0).split(b"\0")[0])
        os.pwrite(control, b"0", 0)
    finally:
        os.close(control)
    return left == 0, result


def load(path, parameters):
    name = os.path.basename(path).split(".")[0]

    def operation():
        kmod.load(path, parameters.encode())

    def undo():
        kmod.unload(name)

    return operation, undo


def attach(device, image):
    backing = os.open(image, os.O_RDWR)
    handle = os.open(device, os.O_RDWR)

    def operation():
        fcntl.ioctl(handle, loopioctl.LOOP_SET_FD, backing)

    # Not by the directory "loop", for the failure may have been to make that.
    def unbound():
        with open(f"/sys/block/{os.path.basename(device)}/size") as size:
            if int(size.read()):
                raise OSError(errno.EBUSY, "still bound")

    # While udev has it open too it is bound until udev closes it, or we reopen.
    def undo():
        nonlocal handle
        fcntl.ioctl(handle, loopioctl.LOOP_CLR_FD)
        os.close(handle)
        kmod.retried(unbound)
        handle = kmod.retried(os.open, device, os.O_RDWR)

    return operation, undo


def add(control, number):
    handle = os.open(control, os.O_RDWR)
    number = int(number)

    def operation():
        fcntl.ioctl(handle, loopioctl.LOOP_CTL_ADD, number)

    def undo():
        kmod.retried(fcntl.ioctl, handle, loopioctl.LOOP_CTL_REMOVE, number)

    return operation, undo


def main():
    operation, undo = {"load": load, "attach": attach, "add": add}[sys.argv[1]](*sys.argv[2:])
    failures = 0
    nth = 1
    while True:
        reached, result = injected(nth, operation)
        if result == 0:
            undo()
        elif result != errno.ENOMEM:
            print(f"allocation {nth}: {errno.errorcode.get(result, result)}")
        if not reached:
            break
        failures += result != 0
        # The first ones one by one, the long tail in larger steps.
        nth += 1 if nth < 30 else 1 + nth // 10
        if nth > LIMIT:
            break
    print(f"{nth} rounds' worth of allocations, {failures} refused")
    if not failures:
        sys.exit("no allocation failed")
    if result:
        sys.exit(f"failed without an injected failure: {os.strerror(result)}")


if __name__ == "__main__":
    main()
