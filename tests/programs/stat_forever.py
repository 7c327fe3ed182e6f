#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Ask for the times of a file, again and again, until killed.

usage: stat_forever.py FILE

A filesystem with fine-grained times then changes them with each write.
"""

import os
import sys


def main():
    while True:
        os.stat(sys.argv[1])


main()
