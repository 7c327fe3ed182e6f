#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make tables, and data for gnuplot, from the output of measure.py.

usage: report.py DIRECTORY

Reads DIRECTORY/*.jsonl; writes results.json, table.md, ratios.dat and, for each series, a
SERIES.dat there, and prints the table.

A ratio is the median of the ratios of the rounds: of runs that were neighbours, so that they
saw the host at the same speed.
"""

import glob
import json
import statistics
import sys

PEERS = {
    "raw": "store itself",
    "loop": "loop.ko",
    "ublk": "ublk",
    "rust_loop_1": "rust_loop, nr_hw_queues=1",
    "rust_loop": "rust_loop",
}
RATIOS = {"to_loop": "loop", "to_1_queue": "rust_loop_1", "to_raw": "raw"}
HEADS = {"to_loop": "to loop.ko", "to_1_queue": "to one queue", "to_raw": "to the store"}
# Ratios whose quartiles differ by more than this part of the median are marked.
MOST_SPREAD = 0.15

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


def by_round(runs, key):
    return {one.get("round", index): one[key] for index, one in enumerate(runs)}


def ratio(runs, to, key):
    """The median of the ratios of neighbours, and their quartiles."""
    values, base = by_round(runs, key), by_round(to, key)
    ratios = [values[one] / base[one] for one in values if base.get(one)]
    if not ratios:
        return None
    if len(ratios) == 1:
        return {"median": ratios[0], "quartiles": ratios * 2, "rounds": 1}
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high], "rounds": len(ratios)}


def spreads(found):
    low, high = found["quartiles"]
    return high - low > MOST_SPREAD * found["median"]


def rows(found):
    for (which, workload), peers in found.items():
        is_exact = which == "instructions"
        key = "ns" if is_exact else "value"
        first = next(iter(peers.values()))[0]
        row = {
            "set": which,
            "workload": workload,
            "unit": "instructions per I/O" if is_exact else first["unit"],
            "peers": {peer: summarize(runs, key) for peer, runs in peers.items()},
        }
        row.update((name, first[name]) for name in ("series", "x") if name in first)
        if "rust_loop" in peers:
            for name, to in RATIOS.items():
                if to in peers and (of := ratio(peers["rust_loop"], peers[to], key)):
                    row[name] = of
        if is_exact and "raw" in peers:
            median = {peer: summary["median"] for peer, summary in row["peers"].items()}
            row["own"] = {peer: median[peer] - median["raw"] for peer in median if peer != "raw"}
        yield row


def ratio_cell(row, name):
    if name not in row:
        return "–"
    found = row[name]
    low, high = found["quartiles"]
    if found["rounds"] == 1:
        return f"{found['median']:.2f}"
    return f"{'~' if spreads(found) else ''}{found['median']:.2f} ({low:.2f}–{high:.2f})"


def table(found_rows):
    peers = [peer for peer in PEERS if any(peer in row["peers"] for row in found_rows)]
    ratios = [name for name in RATIOS if any(name in row for row in found_rows)]
    columns = ["unit", *(PEERS[peer] for peer in peers), *(HEADS[name] for name in ratios)]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|---|" + "---:|" * (len(columns) - 1)
    for row in found_rows:
        cells = [cell(row["peers"][peer]) if peer in row["peers"] else "–" for peer in peers]
        cells += [ratio_cell(row, name) for name in ratios]
        yield "| " + " | ".join([row["workload"], row["unit"], *cells]) + " |"


def write_series(directory, found_rows):
    """A file for each series: x, then the figure of each peer."""
    series = {}
    for row in found_rows:
        if "series" in row:
            series.setdefault(row["series"], []).append(row)
    for name, points in series.items():
        peers = [peer for peer in PEERS if any(peer in row["peers"] for row in points)]
        with open(f"{directory}/{name}.dat", "w", encoding="utf-8") as out:
            print(name, *(f'"{PEERS[peer]}"' for peer in peers), file=out)
            for row in sorted(points, key=lambda row: row["x"]):
                found = [row["peers"].get(peer, {}).get("median", "NaN") for peer in peers]
                print(row["x"], *found, file=out)


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
                raw = row["to_raw"]["median"] if "to_raw" in row else "NaN"
                print(f"\"{row['workload']}\" {row['to_loop']['median']} {raw}", file=out)
    write_series(directory, found_rows)


if __name__ == "__main__":
    main()
