#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""usage: stuck.py CASE DEVICE FREE-DEVICE OTHER-DEVICE SERVER FILE IMAGE

Have an ioctl wait for a filesystem that does not answer, and see who else waits.

SERVER is the process of a FUSE server, which is stopped. An ioctl on DEVICE then waits for it;
CASE says which one. Meanwhile DEVICE can be opened, asked and, if it has a file, told to let
it go; FREE-DEVICE can be given a file and OTHER-DEVICE be put on it; and all of that is
undone. Then the server goes on, and so must the ioctl. FILE is served, IMAGE is not. DEVICE has
FILE as its backing file in all cases but "configure" and "change-fd".
"""

import errno
import fcntl
import os
import signal
import sys
import threading
import time

import loopioctl

# How long something may take that does not wait for the server, in seconds.
LIMIT = 30

case, device, free, other, server, file, image = sys.argv[1:]
server = int(server)
# A connection is called after the device number of its filesystem.
REQUESTS = f"/sys/fs/fuse/connections/{os.stat(os.path.dirname(file)).st_dev}/waiting"


class Ioctl(threading.Thread):
    """An ioctl in a thread of its own."""

    def __init__(self, fd, command, argument=0):
        super().__init__(daemon=True)
        self.call = (fd, command, argument)
        self.error = None

    def run(self):
        try:
            fcntl.ioctl(*self.call)
        except OSError as error:
            self.error = errno.errorcode[error.errno]


def requests():
    """How many requests the server has not answered."""
    with open(REQUESTS, encoding="ascii") as waiting:
        return int(waiting.read())


def until(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {LIMIT} s")
        time.sleep(0.01)


def at_once(what, function, *arguments):
    """Call a function that must not wait for the server. Return what it returns."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*arguments)), daemon=True)
    thread.start()
    until(lambda: not thread.is_alive(), what)
    return result[0] if result else None


def ioctl(path, command, argument=0):
    """An ioctl on a device that is opened for it. Return the errno's name, or None."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.ioctl(fd, command, argument)
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        os.close(fd)
    return None


def same(got, want, what):
    if got != want:
        sys.exit(f"{what}: {got}, expected {want}")


def others_go_on(bound):
    """No other task waits."""
    at_once("opening the device", lambda: os.close(os.open(device, os.O_RDONLY)))
    below = os.open(image, os.O_RDWR)
    same(at_once("attaching another device", ioctl, free, loopioctl.LOOP_SET_FD, below), None, "LOOP_SET_FD")
    upper = os.open(free, os.O_RDWR)
    same(at_once("putting a device on that", ioctl, other, loopioctl.LOOP_SET_FD, upper), None, "LOOP_SET_FD on it")
    same(at_once("detaching it", ioctl, other, loopioctl.LOOP_CLR_FD), None, "LOOP_CLR_FD")
    os.close(upper)
    same(at_once("detaching that", ioctl, free, loopioctl.LOOP_CLR_FD), None, "LOOP_CLR_FD")
    os.close(below)
    control = os.open("/dev/" + os.path.basename(device).rstrip("0123456789") + "-control",
                      os.O_RDWR)
    number = at_once("asking for a free device", fcntl.ioctl, control, loopioctl.LOOP_CTL_GET_FREE)
    if device.rstrip("0123456789") + str(number) == device:
        sys.exit("a device that is about to have a file is called free")
    os.close(control)
    if bound:
        same(at_once("letting the file go", ioctl, device, loopioctl.LOOP_CLR_FD), None, "LOOP_CLR_FD")


def must_wait(call):
    if not call.is_alive():
        sys.exit(f"the ioctl did not wait for the server ({call.error})")


def main():
    served = os.open(file, os.O_RDWR)
    fd = os.open(device, os.O_RDWR)
    calls = {
        "configure": (loopioctl.LOOP_SET_FD, served),
        "change-fd": (loopioctl.LOOP_CHANGE_FD, served),
        "capacity": (loopioctl.LOOP_SET_CAPACITY, 0),
        "direct-io": (loopioctl.LOOP_SET_DIRECT_IO, 1),
        "offset": (loopioctl.LOOP_SET_STATUS64, loopioctl.info64(offset=4096)),
        "block-size": (loopioctl.LOOP_SET_BLOCK_SIZE, 4096),
        "status": (loopioctl.LOOP_GET_STATUS64, bytearray(loopioctl.INFO64.size)),
    }
    if case in ("offset", "block-size"):
        # For the ioctl to write back.
        os.pwrite(fd, b"x" * 4096, 0)
    until(lambda: requests() == 0, "answers to what came before")
    os.kill(server, signal.SIGSTOP)
    call = Ioctl(fd, *calls[case])
    call.start()
    until(lambda: not call.is_alive() or requests() > 0, "waiting for the server")
    must_wait(call)
    others_go_on(case != "configure")
    # The request may have been another task's.
    must_wait(call)
    os.kill(server, signal.SIGCONT)
    until(lambda: not call.is_alive(), "the ioctl, with the server going on")
    # The file is let go only with the last opener, so the change is made nevertheless.
    same(call.error, None, "the ioctl")


signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
try:
    main()
finally:
    # The kernel lets this process end only when the ioctl has.
    os.kill(server, signal.SIGCONT)
