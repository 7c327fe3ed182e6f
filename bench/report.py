#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make tables, and data for gnuplot, from the output of measure.py.

usage: report.py DIRECTORY

Reads DIRECTORY/*.jsonl; writes results.json, table.md and ratios.dat there, and
prints the table.
"""

import glob
import json
import statistics
import sys

PEERS = {"raw": "store itself", "loop": "loop.ko", "ublk": "ublk", "rust_loop": "rust_loop"}

# Additional results of some workloads.
MEMORY = {
    "kib_per_device": ("memory of an attached device", "KiB"),
    "bytes_per_cgroup": ("kmalloc for a cgroup that has read from it", "bytes"),
}


def collect(directory):
    """{(set, workload): {peer: [run, ...]}}, in the order in which they were run."""
    found = {}
    for path in sorted(glob.glob(f"{directory}/*.jsonl")):
        which = path.rpartition("/")[2].removesuffix(".jsonl")
        with open(path, encoding="ascii") as lines:
            for line in lines:
                one = json.loads(line)
                peers = found.setdefault((which, one["workload"]), {})
                peers.setdefault(one["peer"], []).append(one)
                for key, (row, unit) in MEMORY.items():
                    if key in one and which != "instructions":
                        memory = found.setdefault((which, row), {})
                        memory.setdefault(one["peer"], []).append(
                            {"value": one[key], "unit": unit}
                        )
    return found


def summarize(runs, key):
    values = [one[key] for one in runs]
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(summary):
    spread = f"{number(summary['least'])}–{number(summary['most'])}"
    return f"{number(summary['median'])} ({spread})"


def rows(found):
    for (which, workload), peers in found.items():
        is_exact = which == "instructions"
        key = "ns" if is_exact else "value"
        row = {
            "set": which,
            "workload": workload,
            "unit": "instructions per I/O" if is_exact else next(iter(peers.values()))[0]["unit"],
            "peers": {peer: summarize(runs, key) for peer, runs in peers.items()},
        }
        median = {peer: summary["median"] for peer, summary in row["peers"].items()}
        if {"loop", "rust_loop"} <= median.keys() and median["loop"] > 0:
            row["to_loop"] = median["rust_loop"] / median["loop"]
        if {"raw", "rust_loop"} <= median.keys():
            row["to_raw"] = median["rust_loop"] / median["raw"]
            if is_exact:
                row["own"] = {
                    peer: median[peer] - median["raw"] for peer in median if peer != "raw"
                }
        yield row


def table(found_rows):
    peers = [peer for peer in PEERS if any(peer in row["peers"] for row in found_rows)]
    columns = ["unit", *(PEERS[peer] for peer in peers), "to loop.ko", "to the store"]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|---|" + "---:|" * (len(columns) - 1)
    for row in found_rows:
        cells = [cell(row["peers"][peer]) if peer in row["peers"] else "–" for peer in peers]
        ratios = [f"{row[key]:.2f}" if key in row else "–" for key in ("to_loop", "to_raw")]
        yield "| " + " | ".join([row["workload"], row["unit"], *cells, *ratios]) + " |"


def main():
    directory = sys.argv[1]
    found_rows = list(rows(collect(directory)))
    if not found_rows:
        sys.exit("report: nothing was measured")
    with open(f"{directory}/results.json", "w", encoding="utf-8") as out:
        json.dump(found_rows, out, indent=1)
    lines = list(table(found_rows))
    with open(f"{directory}/table.md", "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    with open(f"{directory}/ratios.dat", "w", encoding="utf-8") as out:
        for row in reversed(found_rows):
            if row["unit"].endswith("per second") and "to_loop" in row:
                raw = row.get("to_raw", "NaN")
                print(f"\"{row['workload']}\" {row['to_loop']} {raw}", file=out)


if __name__ == "__main__":
    main()
