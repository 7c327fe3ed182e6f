#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
#
# Users are killed in the middle of what they do.

. "$(dirname "$0")/lib.sh"

usable() {
	random_file "$WORK/data" 256K
	dd if="$WORK/data" of="$1" bs=64K oflag=direct status=none
	dd if="$1" bs=64K count=4 iflag=direct status=none | cmp - "$WORK/data"
}

# Killed while its requests cannot proceed; they end after it.
stalled() {
	ensure_driver
	stall_new slow /dev/vdb
	attach "${DEV}0" /dev/mapper/slow
	udevadm settle
	blockdev --flushbufs /dev/mapper/slow
	stall_begin slow
	fio --name=victim --filename="${DEV}0" --ioengine=libaio --iodepth=16 --thread \
		--direct=1 --rw=randread --bs=4k --size=16M --output="$WORK/fio" &
	local pid=$!
	wait_until 20 has_inflight "${DEV}0" 16 || fail "no I/O in flight"
	kill -9 "$pid"
	has_inflight "${DEV}0" 16 || fail "I/O ended while the disk was stopped"
	stall_end slow
	wait "$pid" || true
	wait_until 10 has_none_inflight "${DEV}0" || fail "I/O still in flight"
	usable "${DEV}0"
	detach "${DEV}0"
}

# Detach is asked for while requests are in flight and their user is dead.
stalled_then_detached() {
	ensure_driver
	stall_new slow /dev/vdb
	attach "${DEV}0" /dev/mapper/slow
	udevadm settle
	blockdev --flushbufs /dev/mapper/slow
	stall_begin slow
	dd if="${DEV}0" of=/dev/null bs=64k skip=100 iflag=direct status=none &
	local pid=$!
	wait_until 20 has_inflight "${DEV}0" 1 || fail "no I/O in flight"
	kill -9 "$pid"
	losetup -d "${DEV}0"
	is_bound "${DEV}0" || fail "detached under its I/O"
	stall_end slow
	wait "$pid" || true
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
}

at_random() {
	local rounds=8 i pid
	[[ $KERNEL == stock ]] || rounds=4
	ensure_driver
	truncate -s 32M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	for ((i = 0; i < rounds; i++)); do
		fio --name=victim --filename="${DEV}0" --ioengine=libaio --iodepth=32 --thread \
			--direct=$((i % 2)) --rw=randrw --bsrange=512-256k --size=32M \
			--time_based --runtime=60 --output="$WORK/fio" &
		pid=$!
		wait_until 20 busy_since "$(completed_ios)" || fail "fio does no I/O"
		kill -9 "$pid"
		wait "$pid" || true
	done
	wait_until 20 has_none_inflight "${DEV}0" || fail "I/O still in flight"
	usable "${DEV}0"
	detach "${DEV}0"
}

completed_ios() {
	awk '{ print $1 + $5 }' "/sys/block/${PREFIX}0/stat"
}

busy_since() {
	(($(completed_ios) > $1 + 50))
}

# losetup itself is killed at any moment: attached or not, never in between.
attach_killed() {
	local i pid
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer detach_quietly "${DEV}1"
	defer rm -f "$WORK/image"
	for ((i = 0; i < 20; i++)); do
		losetup "${DEV}1" "$WORK/image" 2>/dev/null &
		pid=$!
		sleep "0.0$((RANDOM % 4))"
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		detach_quietly "${DEV}1"
	done
	attach "${DEV}1" "$WORK/image"
	usable "${DEV}1"
	detach "${DEV}1"
}

test_case "I/O in flight of a killed user ends well" stalled
test_case "detach waits for the I/O in flight of a killed user" stalled_then_detached
test_case "the device works after users killed at random moments" at_random
test_case "a killed losetup leaves the device attached or not" attach_killed

run_cases
