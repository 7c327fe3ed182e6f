#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Print the instructions that a guest has executed per I/O, by function.

usage: functions.py DIRECTORY FEW MANY

For N = FEW and MANY I/Os, DIRECTORY has N.counts of bench/functions.c and N.symbols, the list of
the kernel. Instructions that do not depend on the number of I/Os cancel out.
"""

import bisect
import collections
import sys

LEAST = 5  # instructions per I/O; functions with fewer are printed as one line


def load(base):
    symbols = []
    with open(f"{base}.symbols", encoding="ascii") as lines:
        for line in lines:
            address, kind, *name = line.split()
            if kind in "tTwW":
                symbols.append((int(address, 16), " ".join(name)))
    symbols.sort()
    counts = collections.Counter()
    with open(f"{base}.counts", encoding="ascii") as lines:
        for line in lines:
            address, count = line.split()
            address = int(address, 16)
            name = "(user space)"
            if address >> 63:
                name = symbols[bisect.bisect_right(symbols, (address, "~")) - 1][1]
            counts[name] += int(count)
    return counts


def main():
    directory, few, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    before, after = load(f"{directory}/{few}"), load(f"{directory}/{many}")
    each = {name: (after[name] - before[name]) / (many - few) for name in after}
    rest = sum(count for count in each.values() if count < LEAST)
    for name, count in sorted(each.items(), key=lambda item: -item[1]):
        if count >= LEAST:
            print(f"{count:10.1f}  {name}")
    print(f"{rest:10.1f}  (all others, and noise)")
    print(f"{sum(each.values()):10.1f}  all")


if __name__ == "__main__":
    main()
