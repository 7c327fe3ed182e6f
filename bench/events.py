#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Count what the kernel does for an I/O beside executing it: wakeups, context switches,
interrupts between CPUs, timers and contended locks, by trace events.

usage: events.py FEW MANY

Each workload runs with FEW and with MANY I/Os, so that events that do not depend on the
number of I/Os cancel out. With many cgroups, a second counts in which all jobs run. The store
is a null_blk that completes a request in the submitting task. Prints one JSON object per
workload and peer, with the events per I/O, and, for a contended lock, the functions that
waited for it most often.
"""

import collections
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure  # noqa: E402

TRACING = "/sys/kernel/tracing"
CONTENTION = "lock/contention_begin"
EVENTS = {
    "wakeups": ["sched/sched_wakeup"],
    "switches": ["sched/sched_switch"],
    "IPIs": [
        "irq_vectors/reschedule_entry",
        "irq_vectors/call_function_entry",
        "irq_vectors/call_function_single_entry",
    ],
    "timers set": ["timer/hrtimer_start", "timer/timer_start"],
    "timer interrupts": ["irq_vectors/local_timer_entry"],
    "softirqs": ["irq/softirq_raise"],
    "work queued": ["workqueue/workqueue_queue_work"],
    "contended locks": [CONTENTION],
}
# {name: (jobs, depth)}
WORKLOADS = {"QD1": (1, 1), "8 jobs, QD16": (8, 16)}
# {name: (cgroups, depth)}
CGROUPS = {"16 cgroups with a job each, QD16": (16, 16)}
# Functions that are between a contended lock and the function that takes it.
LOCKING = re.compile(r"contention|_raw_|queued_spin|__mutex|mutex_|rwsem|down_|__traceiter|trace_")


def trigger(event, text):
    # Truncating the file would remove the triggers.
    with open(f"{TRACING}/events/{event}/trigger", "a", encoding="ascii") as out:
        out.write(text)


def key(event):
    return "common_stacktrace" if event == CONTENTION else "common_cpu"


def histogram(event):
    with open(f"{TRACING}/events/{event}/hist", encoding="ascii") as lines:
        return lines.read()


def hits(text):
    found = re.search(r"^ *Hits: (\d+)", text, re.MULTILINE)
    if not found:
        sys.exit(f"events: no number of hits in: {text}")
    return int(found[1])


def waiters(text):
    """{function: number of times that it waited for a lock}"""
    found = collections.Counter()
    for entry in re.finditer(r"\{([^}]*)\} *hitcount: *(\d+)", text):
        lines = entry[1].replace("common_stacktrace:", "").splitlines()
        names = [line.strip().partition("+")[0] for line in lines]
        names = [name for name in names if name and not LOCKING.search(name)]
        if names:
            found[names[0]] += int(entry[2])
    return found


def counted(function):
    """The events while a function runs, and the functions that waited for locks."""
    events = [event for group in EVENTS.values() for event in group]
    # Setting one up takes long, so all of them start paused.
    for event in events:
        trigger(event, f"hist:keys={key(event)}:size=4096:pause")
    try:
        for event in events:
            trigger(event, f"hist:keys={key(event)}:size=4096:cont")
        function()
        for event in events:
            trigger(event, f"hist:keys={key(event)}:size=4096:pause")
        texts = {event: histogram(event) for event in events}
    finally:
        for event in events:
            trigger(event, f"!hist:keys={key(event)}")
    if hits(texts["sched/sched_switch"]) == 0:
        sys.exit("events: nothing was counted")
    counts = {
        name: sum(hits(texts[event]) for event in group) for name, group in EVENTS.items()
    }
    return counts, waiters(texts[CONTENTION])


def one_run(peer, path, jobs, depth, numbers):
    results = []
    for number in numbers:
        job = measure.Fio(
            "null_queues",
            True,
            f"{measure.RANDOM_READ} --iodepth={depth} --numjobs={jobs}",
            number // jobs,
        )
        results.append(counted(lambda command=job.command(peer, path): measure.run(*command)))
    (few, few_waiters), (many, many_waiters) = results
    ios = (numbers[1] // jobs - numbers[0] // jobs) * jobs
    many_waiters.subtract(few_waiters)
    return {
        "events": {name: (many[name] - few[name]) / ios for name in EVENTS},
        "waiters": [[name, count / ios] for name, count in many_waiters.most_common(4)],
    }


def one_second(peer, path, count, depth):
    """The same of one second in which the jobs of many cgroups run."""
    job = measure.CgroupEach(
        count, "null_queues", True, f"{measure.RANDOM_READ} --iodepth={depth}"
    )
    ios = 0

    def wait():
        nonlocal ios
        ios = -measure.completed_reads(stat)
        time.sleep(1)
        ios += measure.completed_reads(stat)

    with job.running(peer, path) as stat:
        counts, found = counted(wait)
    return {
        "events": {name: counts[name] / ios for name in EVENTS},
        "waiters": [[name, count / ios] for name, count in found.most_common(4)],
    }


def main():
    numbers = [int(number) for number in sys.argv[1:3]]
    measure.PEERS.pop("ublk", None)
    # The jobs that it counts do not delay it.
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    measure.load_modules()
    store = measure.STORES["null_queues"]()
    for peer, (_, prefix) in measure.PEERS.items():
        path = store.path
        if prefix:
            path = f"{prefix}0"
            measure.run("losetup", "--direct-io=on", path, store.path)
            measure.run("udevadm", "settle")
        for name in (*WORKLOADS, *CGROUPS):
            measure.say(f"{peer}: {name}")
            if name in WORKLOADS:
                result = one_run(peer, path, *WORKLOADS[name], numbers)
            else:
                result = one_second(peer, path, *CGROUPS[name])
            result.update(workload=name, peer=peer, cpus=os.cpu_count())
            print(json.dumps(result), flush=True)
        if prefix:
            measure.run("losetup", "-d", path)


if __name__ == "__main__":
    main()
