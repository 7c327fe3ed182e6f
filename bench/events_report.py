#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make a table of the output of events.py.

usage: events_report.py DIRECTORY

Reads DIRECTORY/N.jsonl for each number of CPUs N, writes table.md there and prints it.
"""

import glob
import json
import sys

PEERS = {"raw": "store", "loop": "loop.ko", "rust_loop": "rust_loop"}


def load(directory):
    found = []
    for path in glob.glob(f"{directory}/*.jsonl"):
        with open(path, encoding="ascii") as lines:
            found += [json.loads(line) for line in lines]
    order = list(PEERS)
    found.sort(key=lambda one: (one["workload"], one["cpus"], order.index(one["peer"])))
    return found


def table(found):
    events = list(found[0]["events"])
    yield "| workload | CPUs | | " + " | ".join(events) + " | waits in |"
    yield "|---|---:|---|" + "---:|" * len(events) + "---|"
    for one in found:
        cells = [f"{max(one['events'][event], 0):.2f}" for event in events]
        waiters = [f"`{name}` {count:.2f}" for name, count in one["waiters"] if count >= 0.005]
        head = [one["workload"], str(one["cpus"]), PEERS[one["peer"]]]
        yield "| " + " | ".join([*head, *cells, ", ".join(waiters)]) + " |"


def main():
    directory = sys.argv[1]
    found = load(directory)
    if not found:
        sys.exit("events_report: nothing was counted")
    lines = list(table(found))
    with open(f"{directory}/table.md", "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
