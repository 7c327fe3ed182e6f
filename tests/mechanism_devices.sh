#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
# leaks: no
# debug: it measures
#
# A device without a backing file costs memory only.

. "$(dirname "$0")/lib.sh"

DEVICES=24
[[ -z ${WHOLE:-} ]] || DEVICES=100

# Threads that run the work of a workqueue of the driver when no other can be created.
threads() {
	local file comm count=0
	for file in /proc/[0-9]*/comm; do
		# A process may be gone by now.
		read -r comm 2>/dev/null <"$file" || continue
		[[ $comm != kworker/R-*loop* ]] || count=$((count + 1))
	done
	echo "$count"
}

no_thread() {
	need_rust_loop
	ensure_driver
	local before i
	before=$(threads)
	truncate -s 1M "$WORK/image"
	"$PROGRAMS/change_devices.py" "$CTL" add 50 >/dev/null
	expect_equal "$(threads)" "$before" "threads with 50 more devices"
	for i in {100..109}; do
		attach "${DEV}$i" "$WORK/image"
	done
	expect_equal "$(threads)" "$before" "threads with 10 devices attached"
	for i in {100..109}; do
		detach "${DEV}$i"
	done
	udevadm settle
	"$PROGRAMS/change_devices.py" "$CTL" remove 50 >/dev/null
	expect_equal "$(threads)" "$before" "threads with 50 devices less"
}

# Memory that the kernel has allocated, in KiB: page tables and caches of udev come and go.
kernel_memory() {
	awk '$1 == "Slab:" || $1 == "Percpu:" || $1 == "KernelStack:" { sum += $2 } END { print sum }' /proc/meminfo
}

# udev opens what it is told of, and takes longer than all else.
without_udev() {
	udevadm settle
	udevadm control --stop-exec-queue
	defer udevadm control --start-exec-queue
}

# cost CONTROL: nanoseconds to add and to remove a device, and its memory in bytes.
cost() {
	local before added removed after
	before=$(kernel_memory)
	added=$("$PROGRAMS/change_devices.py" "$1" add "$DEVICES")
	after=$(kernel_memory)
	removed=$("$PROGRAMS/change_devices.py" "$1" remove "$DEVICES")
	echo "$((added / DEVICES)) $((removed / DEVICES)) $(((after - before) * 1024 / DEVICES))"
}

# Medians of three rounds by turns with the C driver, in the same guest, and with as many
# hardware queues.
as_cheap() {
	need_rust_loop
	[[ $KERNEL == stock ]] || skip "the memory and time of the debug kernel's checks are not the driver's"
	modprobe -q loop max_loop=0 || skip "this kernel has no loop.ko"
	defer rmmod loop
	reload_driver nr_hw_queues=1
	without_udev
	for _ in 1 2 3; do
		cost /dev/loop-control >>"$WORK/cost.loop"
		cost "$CTL" >>"$WORK/cost.rloop"
	done
	local c ours i what=("adding, ns" "removing, ns" "memory, bytes") limit=(150 150 110)
	read -ra c < <(medians "$WORK/cost.loop")
	read -ra ours < <(medians "$WORK/cost.rloop")
	for i in 0 1 2; do
		report "${what[i]}: ${ours[i]}, loop.ko ${c[i]}"
	done
	for i in 0 1 2; do
		((100 * ours[i] <= limit[i] * c[i])) ||
			fail "${what[i]}: ${ours[i]}, more than ${limit[i]} % of loop.ko's ${c[i]}"
	done
}

# The block layer has a directory in sysfs and one in debugfs for each hardware queue.
second_queue() {
	need_rust_loop
	[[ $KERNEL == stock ]] || skip "the memory of the debug kernel's checks is not the driver's"
	local queues memory=()
	for queues in 1 2; do
		reload_driver nr_hw_queues="$queues"
		without_udev
		for _ in 1 2 3; do
			cost "$CTL" >>"$WORK/cost.$queues"
		done
		udevadm control --start-exec-queue
		memory+=("$(medians "$WORK/cost.$queues" | cut -d ' ' -f 3)")
	done
	report "memory, bytes: ${memory[0]} with one hardware queue, ${memory[1]} with two"
	((memory[1] - memory[0] <= 16384)) || fail "the second one takes $((memory[1] - memory[0])) bytes"
}

medians() {
	local column
	for column in 1 2 3; do
		cut -d ' ' -f "$column" "$1" | sort -n | sed -n 2p
	done | paste -sd ' '
}

test_case "a device has no thread, with or without a backing file" no_thread
test_case "a device without a backing file is as cheap as one of loop.ko" as_cheap
test_case "another hardware queue of a device takes at most 16 KiB" second_queue

run_cases
