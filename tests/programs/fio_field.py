#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Print numbers from the JSON output of fio, in one line.

usage: fio_field.py FILE FIELD...

A field is a path like jobs.0.read.runtime. A missing field is 0: fio leaves out
the percentiles of what was not done. Fails if a job had an error.
"""

import json
import sys


def field(value, path):
    for name in path:
        if isinstance(value, list):
            value = value[int(name)]
        else:
            value = value.get(name, {})
    return value if value != {} else 0


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    # fio may write warnings before its output.
    output = json.loads(text[text.index("{"):])
    for job in output["jobs"]:
        if job["error"]:
            sys.exit(f"fio: error {job['error']}")
    # A percentile like 99.000000 has a dot in its name, so "/" separates, too.
    print(*(field(output, path.split("/" if "/" in path else ".")) for path in sys.argv[2:]))


main()
