#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
#
# Hundreds of cgroups on one device, that come and go while their I/O is under way,
# and workers that go as fast as they come: nothing is lost, nothing stays behind.
# The cost of a worker is measured and reported. With WHOLE=1 a thousand.

. "$(dirname "$0")/lib.sh"

MANY=300 TURNS=300 STUCK=100
[[ -z ${WHOLE:-} ]] || MANY=1000
[[ $KERNEL == stock ]] || MANY=32 TURNS=25 STUCK=32
# Two for each cgroup, and eight for each of 16 processes.
BLOCKS=$((MANY > 64 ? 2 * MANY : 128))
PARENT=$CGROUP/many
TIMEOUT=/sys/module/$DRIVER/parameters/idle_timeout_secs

# setup SECONDS: after which time idle workers go.
setup() {
	local old
	need_rust_loop
	ensure_driver
	set_for_test "$TIMEOUT" "$1"
	# Otherwise each move of a process to a cgroup waits for a grace period.
	old=$(findmnt -n -o FS-OPTIONS "$CGROUP")
	defer mount --options-mode ignore -o "remount,$old" "$CGROUP"
	mount -o remount,favordynmods "$CGROUP"
	make_cgroup many
	echo "+io +memory" >"$PARENT/cgroup.subtree_control"
}

on_file() {
	mount_disk
	if [[ ! -e $WORK/fs/image ]]; then
		helper fill "$WORK/fs/image" "$BLOCKS"
		mount_disk_again
	fi
	attach "${DEV}0" "$@" "$WORK/fs/image"
	udevadm settle
}

helper() {
	"$PROGRAMS/many.py" "$@"
}

# A figure of the last run of the helper.
measured() {
	awk -v name="$1" '$1 == name { print $2 }' "$WORK/measured"
}

# Removed cgroups, and those of them whose blkcg state is still in use.
dying() {
	echo "$(dying_cgroups nr_dying_descendants) $(dying_cgroups nr_dying_subsys_io)"
}

none_dying() {
	[[ $(dying) == "0 0" ]]
}

nothing_left() {
	wait_until 20 has_no_workers "${DEV}0" || fail "$(summary_field "${DEV}0" workers) workers left"
	wait_until 20 none_dying || fail "cgroups dying, and held for I/O: $(dying)"
	expect_equal "$(summary_field "${DEV}0" queued) $(summary_field "${DEV}0" running) $(summary_field "${DEV}0" pending)" "0 0 0" "under way"
	expect_equal "$(summary_field "${DEV}0" errors)" 0 errors
}

available() {
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}

# In bytes, without unused inodes and the like.
memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	helper kmalloc
}

waves() {
	# Nothing goes for being idle here, only with its cgroup.
	setup 3600
	on_file
	local i before after available completed
	# Inodes, ids and per-CPU lists of the first wave need not go again.
	helper wave "${DEV}0" "$PARENT" "$MANY"
	nothing_left
	before=$(memory)
	available=$(available)
	completed=$(summary_field "${DEV}0" completed)
	for ((i = 0; i < 2; i++)); do
		helper wave "${DEV}0" "$PARENT" "$MANY"
		nothing_left
	done
	after=$(memory)
	(($(summary_field "${DEV}0" completed) >= completed + 4 * MANY)) || fail "not all was done by this device"
	expect_equal "$(summary_field "${DEV}0" fallbacks)" 0 fallbacks
	report "kmalloc: $((after - before)) bytes more after $((2 * MANY)) cgroups"
	report "available: $((available - $(available))) KiB less"
	((after - before <= 96 << 10)) || fail "$((after - before)) bytes more than before"
	(($(available) >= available - 32768)) || fail "$(available) KiB available, $available before"
	detach "${DEV}0"
}

stuck() {
	setup 3600
	stall_new slow /dev/vdb
	helper fill /dev/mapper/slow 512
	rm -f "$WORK/disk_made"
	attach "${DEV}0" "$@" /dev/mapper/slow
	udevadm settle
	blockdev --flushbufs /dev/mapper/slow
	stall_begin slow
	helper stalled "${DEV}0" "$PARENT" "$STUCK" slow >"$WORK/measured"
	expect_equal "$(measured stuck) $(measured reads)" "$STUCK $STUCK" "reads"
	nothing_left
	detach "${DEV}0"
}

figures() {
	setup 3600
	on_file
	helper figures "${DEV}0" "$PARENT" "$MANY" >"$WORK/measured"
	nothing_left
	report "a worker is made in $(measured worker_us) us and takes $(measured worker_bytes) bytes"
	report "first I/O of a cgroup on a device: $(measured first_io_us) us"
	report "a read with 1, $((MANY / 10)), $MANY workers:" \
		"$(measured io_us_1), $(measured "io_us_$((MANY / 10))"), $(measured "io_us_$MANY") us"
	report "$MANY workers freed in $(measured reaping_ms | xargs) ms"
	(($(measured worker_bytes) <= 4096)) || fail "a worker takes $(measured worker_bytes) bytes"
	detach "${DEV}0"
}

# Each worker is freed as soon as it is idle, while commands come.
at_once() {
	setup 0
	on_file "$@"
	local completed
	completed=$(summary_field "${DEV}0" completed)
	helper stress "${DEV}0" "$PARENT" 16 "$TURNS" >"$WORK/measured"
	nothing_left
	expect_equal "$(measured commands)" $((32 * TURNS)) commands
	(($(summary_field "${DEV}0" completed) >= completed + 32 * TURNS)) || fail "not all was done by this device"
	expect_equal "$(summary_field "${DEV}0" fallbacks)" 0 fallbacks
	# It has been written to.
	rm -f "$WORK/disk_made"
	detach "${DEV}0"
}

test_case "$MANY cgroups come and go, and leave no memory behind" waves
test_case "a worker takes no more than 4 KiB, of $MANY" on_stock figures
test_case "I/O of removed cgroups that is stuck ends, buffered" on_stock stuck
test_case "I/O of removed cgroups that is stuck ends, direct" stuck --direct-io=on
test_case "nothing is lost if workers are freed as fast as made, buffered" when_whole at_once
test_case "nothing is lost if workers are freed as fast as made, direct" at_once --direct-io=on

run_cases
