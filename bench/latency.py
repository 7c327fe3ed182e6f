#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure the latency of one command at a time in virtual time: in a guest whose clock
counts instructions (scripts/vm --icount), a nanosecond is an instruction.

usage: latency.py COMMANDS [NAME...]

The store is an ext4 file on a null_blk that completes each request after DELAY_NS of
virtual time. A longer latency through a loop device is the way of the command through the
driver: instructions, and waits for tasks that take their turn.

Prints one JSON object per workload and peer, with the median and the mean of COMMANDS
latencies in ns. With NAMEs, only workloads whose name contains one of them run.
"""

import json
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure  # noqa: E402

DELAY_NS = 100_000
IMAGE = "/bench/latency/image"
SIZE = 64 * measure.MIB
# The first commands read the file's extents.
WARM_UP = 20

READ, WRITE = "--rw=randread", "--rw=randwrite"

# {name: (direct I/O to the file, pages of the file are cached, options of fio)}
WORKLOADS = {
    "read, direct, psync": (True, False, [READ, "--ioengine=psync"]),
    "write, direct, psync": (True, False, [WRITE, "--ioengine=psync"]),
    "read, direct, libaio": (True, False, [READ, "--ioengine=libaio"]),
    "write, direct, libaio": (True, False, [WRITE, "--ioengine=libaio"]),
    "cold read, buffered, psync": (False, False, [READ, "--ioengine=psync"]),
    "O_DSYNC write, direct, psync": (True, False, [WRITE, "--ioengine=psync", "--sync=dsync"]),
    # The filesystem ends such a write in a task, after it has invalidated the pages.
    "write, direct, libaio, pages of the image cached": (
        True,
        True,
        [WRITE, "--ioengine=libaio"],
    ),
}


def make_store():
    null = measure.Null(
        memory_backed=1,
        irqmode=2,
        completion_nsec=DELAY_NS,
        submit_queues=os.cpu_count(),
        blocksize=4096,
    )
    directory = os.path.dirname(IMAGE)
    os.makedirs(directory)
    measure.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", null.path)
    measure.run("mount", null.path, directory)
    with open(IMAGE, "wb") as out:
        for _ in range(SIZE // measure.MIB):
            out.write(bytes(measure.MIB))
    os.sync()


def prepare_cache(cached):
    measure.drop_caches()
    if cached:
        with open(IMAGE, "rb") as file:
            while file.read(measure.MIB):
                pass


def latencies(path, options, commands):
    log = "/tmp/latency"
    measure.run(
        "fio",
        "--name=latency",
        f"--filename={path}",
        "--bs=4k",
        "--iodepth=1",
        "--direct=1",
        # Otherwise, fio would drop cached pages of the store itself.
        "--invalidate=0",
        f"--size={SIZE}",
        f"--number_ios={commands + WARM_UP}",
        "--randrepeat=1",
        f"--write_lat_log={log}",
        "--output=/dev/null",
        *options,
    )
    # Time, latency, direction, size, ...
    with open(f"{log}_lat.1.log", encoding="ascii") as lines:
        found = [int(line.split(",")[1]) for line in lines]
    if len(found) < commands:
        sys.exit(f"latency: fio has logged {len(found)} commands of {commands}")
    return found[WARM_UP:]


def attach(device, direct):
    mode = "on" if direct else "off"
    measure.run("losetup", f"--direct-io={mode}", device, IMAGE)
    with open(f"/sys/block/{os.path.basename(device)}/loop/dio", encoding="ascii") as dio:
        if dio.read().strip() != str(int(direct)):
            sys.exit(f"latency: {device} does not have direct I/O {mode}")
    measure.run("udevadm", "settle")


def one_run(peer, direct, cached, options, commands):
    prefix = measure.PEERS[peer][1]
    device = prefix and f"{prefix}0"
    if device:
        attach(device, direct)
    prepare_cache(cached)
    found = latencies(device or IMAGE, options, commands)
    if device:
        measure.run("losetup", "-d", device)
        measure.run("udevadm", "settle")
    quarters = statistics.quantiles(found, n=4)
    return {
        "median": quarters[1],
        "mean": statistics.fmean(found),
        "quarters": [quarters[0], quarters[2]],
    }


def main():
    commands, names = int(sys.argv[1]), sys.argv[2:]
    measure.PEERS.pop("ublk", None)
    measure.load_modules()
    make_store()
    for name, (direct, cached, options) in WORKLOADS.items():
        if names and not any(part in name for part in names):
            continue
        measure.say(name)
        for peer in measure.PEERS:
            result = one_run(peer, direct, cached, options, commands)
            result.update(workload=name, peer=peer, cpus=os.cpu_count())
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
