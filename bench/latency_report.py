#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make a table of the output of latency.py.

usage: latency_report.py DIRECTORY

Reads DIRECTORY/N.jsonl for each number of CPUs N, writes table.md there and prints it.
"""

import glob
import json
import sys


def load(directory):
    """{workload: {cpus: {peer: result}}}"""
    found, numbers = {}, set()
    for path in glob.glob(f"{directory}/*.jsonl"):
        with open(path, encoding="ascii") as lines:
            for line in lines:
                one = json.loads(line)
                numbers.add(one["cpus"])
                peers = found.setdefault(one["workload"], {}).setdefault(one["cpus"], {})
                peers[one["peer"]] = one
    return found, sorted(numbers)


def beyond(peers, peer):
    if peer not in peers or "raw" not in peers:
        return "–"
    median, mean = ((peers[peer][key] - peers["raw"][key]) / 1000 for key in ("median", "mean"))
    return f"{median:.1f} ({mean:.1f})"


def table(found, numbers):
    heads = ["store", "loop.ko", "rust_loop"]
    columns = [f"{cpus} CPU{'s' if cpus > 1 else ''}: {head}" for cpus in numbers for head in heads]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for workload, cpus in found.items():
        cells = []
        for number in numbers:
            peers = cpus.get(number, {})
            store = f"{peers['raw']['median'] / 1000:.1f}" if "raw" in peers else "–"
            cells += [store, beyond(peers, "loop"), beyond(peers, "rust_loop")]
        yield f"| {workload} | " + " | ".join(cells) + " |"


def main():
    directory = sys.argv[1]
    found, numbers = load(directory)
    if not found:
        sys.exit("latency_report: nothing was measured")
    lines = list(table(found, numbers))
    with open(f"{directory}/table.md", "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
