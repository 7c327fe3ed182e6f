#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Write or read each block of a device once, many at a time, on a disk that fails.

usage: eachblock.py write|read DEVICE BLOCKS BAD-FROM BAD-TO SEED
       eachblock.py sometimes DEVICE BLOCKS FILE
       eachblock.py check DEVICE FILE

Blocks are of 4 KiB. Those from BAD-FROM up to BAD-TO must fail with EIO, and all
others must be right. With "sometimes" it is not known which fail: all blocks are
written again and again until some have failed and some have not, and FILE gets those
whose last write succeeded, for "check". Ends with "failed N", how many calls did.
"""

import errno
import mmap
import os
import random
import sys
import threading

BLOCK = 4096
THREADS = 16


def contents(number, seed):
    return (b"%015d %015d\n" % (number, seed)) * (BLOCK // 32)


class Run:
    """Calls for many blocks, and what became of them."""

    def __init__(self, device):
        self.device = device
        self.failed = set()
        self.problems = []

    def one(self, fd, memory, kind, number, seed):
        try:
            if kind == "write":
                memory[:] = contents(number, seed)
                done = os.pwrite(fd, memory, number * BLOCK)
            else:
                done = os.preadv(fd, [memory], number * BLOCK)
                if memory[:] != contents(number, seed):
                    self.problems.append(f"block {number}: wrong data")
            if done != BLOCK:
                self.problems.append(f"block {number}: {done} bytes")
        except OSError as err:
            if err.errno != errno.EIO:
                self.problems.append(f"block {number}: {err}")
            self.failed.add(number)

    def all(self, kind, seeds):
        """Does it for all blocks of `seeds`, in any order, by many threads."""
        numbers = list(seeds)
        random.Random(len(numbers)).shuffle(numbers)

        def work(mine):
            fd = os.open(self.device, os.O_RDWR | os.O_DIRECT)
            memory = mmap.mmap(-1, BLOCK)
            for number in mine:
                self.one(fd, memory, kind, number, seeds[number])
            os.close(fd)

        threads = [threading.Thread(target=work, args=(numbers[i::THREADS],))
                   for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.problems:
            sys.exit(self.problems[0])


def each(kind, device, blocks, bad_from, bad_to, seed):
    run = Run(device)
    run.all(kind, {number: seed for number in range(blocks)})
    wrong = run.failed ^ set(range(bad_from, bad_to))
    if wrong:
        sys.exit(f"{len(wrong)} blocks are wrong, the first is {min(wrong)}")
    print("failed", len(run.failed))


def sometimes(device, blocks, path):
    good, failed, seed = {}, 0, 0
    while not failed or not good:
        seed += 1
        run = Run(device)
        run.all("write", {number: seed for number in range(blocks)})
        failed += len(run.failed)
        good = {number: seed for number in range(blocks) if number not in run.failed}
    with open(path, "w", encoding="ascii") as out:
        for number, last in good.items():
            print(number, last, file=out)
    print("failed", failed)


def check(device, path):
    with open(path, encoding="ascii") as lines:
        seeds = dict(map(int, line.split()) for line in lines)
    run = Run(device)
    run.all("read", seeds)
    if run.failed:
        sys.exit(f"{len(run.failed)} blocks cannot be read")
    print("failed 0")


def main():
    kind, device, *rest = sys.argv[1:]
    if kind == "check":
        check(device, rest[0])
    elif kind == "sometimes":
        sometimes(device, int(rest[0]), rest[1])
    else:
        each(kind, device, *map(int, rest))


main()
