#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Fill a directory with files of many sizes, and remove every seventh.

usage: populate.py DIRECTORY COUNT
"""

import os
import random
import sys


def main():
    top, count = sys.argv[1], int(sys.argv[2])
    rng = random.Random(3)
    for i in range(count):
        directory = f"{top}/{i % 10}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{i}", "wb") as file:
            file.write(rng.randbytes(i * i * 17 % 60000 + i))
    for i in range(0, count, 7):
        os.unlink(f"{top}/{i % 10}/{i}")


main()
