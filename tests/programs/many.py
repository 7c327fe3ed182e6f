#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""I/O from many cgroups, by few processes that go from one to the next.

usage: many.py fill FILE BLOCKS [FIRST]
       many.py wave DEVICE CGROUP COUNT
       many.py stalled DEVICE CGROUP COUNT DM-NAME
       many.py figures DEVICE CGROUP COUNT
       many.py stress DEVICE CGROUP PROCESSES COUNT
       many.py hold DEVICE FIRST BLOCKS DEPTH BALLAST CGROUP...
       many.py kmalloc

CGROUP is a directory whose children have the io controller; those that are made
there are gone at the end. Each block of the device says which one it is, as
"fill" has written it. A number that was measured is printed as "NAME VALUE"; the
exit status is not 0 if a read or write has failed or data were wrong.

"hold" reads, DEPTH at once from each of the cgroups, until it is killed, and holds
BALLAST MiB of memory in each.
"""

import ctypes
import glob
import mmap
import os
import struct
import sys
import time

import syscalls

BLOCK = 4096


def block(number):
    return struct.pack("<Q", number) * (BLOCK // 8)


def fill(path, blocks, first=0):
    first = int(first)
    with open(path, "wb") as out:
        out.seek(first * BLOCK)
        for number in range(first, first + int(blocks)):
            out.write(block(number))


def write(path, text):
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def enter(cgroup):
    write(f"{cgroup}/cgroup.procs", "0")


def leave():
    enter("/sys/fs/cgroup")


def make(parent, name):
    path = f"{parent}/{name}"
    os.mkdir(path)
    return path


class Reads:
    """Reads that are under way, each of one block, past the page cache."""

    def __init__(self, device, depth):
        self.handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
        self.depth = depth
        self.context = ctypes.c_ulong(0)
        syscalls.call("io_setup", depth, ctypes.byref(self.context))
        self.memory = mmap.mmap(-1, depth * BLOCK)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.events = ctypes.create_string_buffer(32 * depth)
        self.free = list(range(depth))
        self.number = {}
        self.done = 0

    def start(self, number):
        while not self.free:
            self.end(1)
        slot = self.free.pop()
        self.number[slot] = number
        iocb = ctypes.create_string_buffer(
            struct.pack(
                "<QIIHhIQQqQII",
                *(slot, 0, 0, 0, 0, self.handle),
                *(self.address + slot * BLOCK, BLOCK, number * BLOCK, 0, 0, 0),
            )
        )
        pointer = ctypes.c_void_p(ctypes.addressof(iocb))
        syscalls.call("io_submit", self.context, 1, ctypes.byref(pointer))

    def end(self, least):
        """Wait for as many, and look at what they have read."""
        try:
            count = syscalls.call("io_getevents", self.context, least, self.depth, self.events, None)
        except InterruptedError:
            return
        for index in range(count):
            slot, _, result, _ = struct.unpack_from("<QQqq", self.events, index * 32)
            number = self.number.pop(slot)
            if result != BLOCK:
                sys.exit(f"block {number}: {result}")
            if self.memory[slot * BLOCK : (slot + 1) * BLOCK] != block(number):
                sys.exit(f"block {number}: wrong data")
            self.free.append(slot)
            self.done += 1

    def end_all(self):
        while self.number:
            self.end(1)


def wave(device, parent, count):
    """Make cgroups, use each, and remove every other one as soon as its I/O has
    been started, the rest when all is done."""
    count = int(count)
    reads = Reads(device, 64)
    cgroups = [make(parent, number) for number in range(count)]
    for number, cgroup in enumerate(cgroups):
        enter(cgroup)
        reads.start(number)
        reads.start(count + number)
        if number % 2:
            leave()
            os.rmdir(cgroup)
    leave()
    for cgroup in cgroups[::2]:
        os.rmdir(cgroup)
    reads.end_all()
    print("reads", reads.done)


def stalled(device, parent, count, name):
    """Remove cgroups all of whose I/O is stuck in a disk that does not answer."""
    count = int(count)
    reads = Reads(device, count)
    for number in range(count):
        cgroup = make(parent, number)
        enter(cgroup)
        reads.start(number)
        leave()
        os.rmdir(cgroup)
    print("stuck", len(reads.number))
    if os.system(f"dmsetup resume {name}"):
        sys.exit("the disk does not go on")
    reads.end_all()
    print("reads", reads.done)


def summary(device):
    path = f"/sys/kernel/debug/rust_loop/{os.path.basename(device)}/summary"
    with open(path) as lines:
        return {name: int(value) for name, value in map(str.split, lines)}


def workers_are(device, wanted):
    end = time.monotonic() + 30
    while summary(device)["workers"] != wanted:
        if time.monotonic() > end:
            sys.exit(f"{summary(device)['workers']} workers, expected {wanted}")


def kmalloc():
    """What is allocated by kmalloc(), in bytes. Pages that only have free objects
    left do not count, which makes this much sharper than what meminfo has."""
    total = 0
    for cache in glob.glob("/sys/kernel/slab/kmalloc-*/shrink"):
        write(cache, "1")
    with open("/proc/slabinfo") as lines:
        for line in lines:
            if line.startswith("kmalloc-"):
                _, active, _, size = line.split()[:4]
                total += int(active) * int(size)
    return total


def set_timeout(seconds):
    write("/sys/module/rust_loop/parameters/idle_timeout_secs", str(seconds))


def median(values):
    return sorted(values)[len(values) // 2]


def figures(device, parent, count):
    """What workers cost. What is measured first is not theirs alone: when a cgroup
    first uses a device the block layer, too, makes something for the two."""
    count = int(count)
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, BLOCK)

    def read(number):
        begin = time.perf_counter()
        if os.preadv(handle, [page], number * BLOCK) != BLOCK or page[:] != block(number):
            sys.exit(f"block {number}: wrong data")
        return (time.perf_counter() - begin) * 1e6

    def cost():
        enter(cgroups[0])
        return median([read(0) for _ in range(2 * count)])

    def use_all():
        first, later = [], []
        for number in range(len(cgroups)):
            enter(cgroups[number])
            first.append(read(number))
            later.append(min(read(number), read(number)))
        return median(first), median(later)

    def free_all():
        # The timer is told by the next worker that becomes idle.
        set_timeout(0)
        enter(cgroups[0])
        begin = time.perf_counter()
        read(0)
        workers_are(device, 0)
        print("reaping_ms", round((time.perf_counter() - begin) * 1000, 1))
        set_timeout(3600)

    for number in range(count):
        read(number)
    cgroups = []
    set_timeout(3600)
    for size in (1, count // 10, count):
        cgroups += [make(parent, number) for number in range(len(cgroups), size)]
        first, later = use_all()
        workers_are(device, size)
        print(f"io_us_{size}", round(cost(), 1))
    print("first_io_us", round(first))
    free_all()
    # Now the block layer has what it needs.
    before = kmalloc()
    first, later = use_all()
    workers_are(device, count)
    print("worker_us", round(first - later))
    print("worker_bytes", (kmalloc() - before) // count)
    free_all()
    leave()
    for cgroup in cgroups:
        os.rmdir(cgroup)


def stress_one(device, parent, name, count):
    """Write and read blocks of its own, from a cgroup that is a new one now and then."""
    handle = os.open(device, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, BLOCK)
    cgroup = None
    for turn in range(count):
        if turn % 25 == 0:
            old, cgroup = cgroup, make(parent, f"{name}.{turn}")
            enter(cgroup)
            if old:
                os.rmdir(old)
        number = name * 8 + turn % 8
        page[:] = data = block(number << 32 | turn)
        os.pwritev(handle, [page], number * BLOCK)
        page[:] = bytes(BLOCK)
        os.preadv(handle, [page], number * BLOCK)
        if page[:] != data:
            sys.exit(f"block {number}, turn {turn}: wrong data")
    leave()
    os.rmdir(cgroup)


def stress(device, parent, processes, count):
    pids = []
    for name in range(int(processes)):
        pid = os.fork()
        if not pid:
            stress_one(device, parent, name, int(count))
            os._exit(0)
        pids.append(pid)
    if any([os.waitpid(pid, 0)[1] for pid in pids]):
        sys.exit("a process has failed")
    print("commands", 2 * len(pids) * int(count))


def hold_one(device, first, blocks, depth, ballast, cgroup):
    enter(cgroup)
    memory = bytearray(ballast << 20)
    memory[::BLOCK] = b"x" * (len(memory) // BLOCK)
    reads = Reads(device, depth)
    while True:
        for number in range(first, first + blocks):
            reads.start(number)


def hold(device, first, blocks, depth, ballast, *cgroups):
    share = int(blocks) // len(cgroups)
    for index, cgroup in enumerate(cgroups):
        if not os.fork():
            begin = int(first) + index * share
            hold_one(device, begin, share, int(depth), int(ballast), cgroup)
    os.wait()
    sys.exit("a process has ended")


if __name__ == "__main__":
    {
        "fill": fill,
        "wave": wave,
        "stalled": stalled,
        "figures": figures,
        "stress": stress,
        "hold": hold,
        "kmalloc": lambda: print(kmalloc()),
    }[sys.argv[1]](*sys.argv[2:])
