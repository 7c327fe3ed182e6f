#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Print what bench/measure.py found for a workload, as an integer.

usage: measured_ns.py FILE WORKLOAD
"""

import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            if one["workload"] == sys.argv[2]:
                print(round(one["ns"]))


main()
