#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
#
# When a worker cannot be allocated its I/O goes to the rootcg queue and is
# counted; the data arrive all the same.

. "$(dirname "$0")/lib.sh"

FAILSLAB=$DEBUGFS/failslab
TIMEOUT=/sys/module/rust_loop/parameters/idle_timeout_secs

setup() {
	[[ -d $FAILSLAB ]] || skip "this kernel has no fault injection"
	ensure_driver
	truncate -s 8M "$WORK/image"
	random_file "$WORK/data" 2M
	defer rm -f "$WORK/image" "$WORK/data"
	attach "${DEV}0" "$WORK/image"
	make_cgroup alpha
	make_cgroup beta
}

# Only allocations that cannot sleep, only of tasks that asked for it.
failslab_on() {
	defer failslab_off
	echo Y >"$FAILSLAB/task-filter"
	echo N >"$FAILSLAB/cache-filter" 2>/dev/null || true
	echo Y >"$FAILSLAB/ignore-gfp-wait"
	echo 0 >"$FAILSLAB/verbose"
	echo -1 >"$FAILSLAB/times"
	echo 0 >"$FAILSLAB/space"
	echo 1 >"$FAILSLAB/interval"
	echo 100 >"$FAILSLAB/probability"
}

failslab_off() {
	echo 0 >"$FAILSLAB/probability"
}

failing_in() {
	local cgroup=$1
	shift
	in_cgroup "$cgroup" bash -c 'echo 1 >/proc/self/make-it-fail && exec "$@"' sh "$@"
}

# Without memory for its own state of a cgroup the block layer takes the I/O
# for the root cgroup's, and the driver never hears of another. So the queue
# must know the cgroup, by I/O whose worker is gone again.
known_to_queue() {
	local old
	[[ $DRIVER == rust_loop ]] || return 0
	old=$(<"$TIMEOUT")
	echo 1 >"$TIMEOUT"
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=1 iflag=direct status=none
	wait_until 30 has_no_worker "${DEV}0" /alpha || fail "the worker does not go"
	echo "$old" >"$TIMEOUT"
}

falls_back() {
	setup
	known_to_queue
	failslab_on
	failing_in alpha dd if="$WORK/data" of="${DEV}0" bs=64K oflag=direct status=none
	failing_in alpha dd if="${DEV}0" of="$WORK/back" bs=64K count=32 iflag=direct status=none
	failslab_off
	cmp "$WORK/data" "$WORK/back"
	cmp -n 2097152 "$WORK/data" "$WORK/image"
	[[ $DRIVER == rust_loop ]] || skip "I/O is correct; the C driver counts no fallbacks"
	cat "$(workers_file "${DEV}0")"
	(($(fallbacks "${DEV}0") > 0)) || fail "no fallback was counted"
	has_no_worker "${DEV}0" /alpha || fail "a worker was allocated all the same"

	# With memory again the cgroup gets its worker.
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=64K count=4 iflag=direct status=none
	has_worker "${DEV}0" /alpha || fail "no worker after memory came back"
}

# On one CPU: each hardware queue has a worker of its own.
existing_worker() {
	need_rust_loop
	setup
	in_cgroup alpha taskset -c 0 dd if="${DEV}0" of=/dev/null bs=4k count=2 iflag=direct status=none
	local before
	before=$(fallbacks "${DEV}0")
	failslab_on
	failing_in alpha taskset -c 0 dd if="${DEV}0" of=/dev/null bs=4k count=8 iflag=direct status=none
	failslab_off
	expect_equal "$(fallbacks "${DEV}0")" "$before" "fallbacks with a worker in place"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 10 "completed"
}

sometimes() {
	need_rust_loop
	setup
	failslab_on
	echo 30 >"$FAILSLAB/probability"
	local i pids=()
	for ((i = 0; i < 6; i++)); do
		make_cgroup "part$i"
	done
	for ((i = 0; i < 6; i++)); do
		failing_in "part$i" dd if="$WORK/data" of="${DEV}0" bs=16K count=16 \
			seek=$((i * 16)) oflag=direct conv=notrunc status=none &
		pids+=($!)
	done
	wait "${pids[@]}"
	failslab_off
	for ((i = 0; i < 6; i++)); do
		dd if="${DEV}0" bs=16K skip=$((i * 16)) count=16 iflag=direct status=none |
			cmp -n 262144 - "$WORK/data"
	done
}

# failslab_for_module PERCENT: also allocations that may sleep, of any task, but only those that our own code does
# or that are done on its behalf.
failslab_for_module() {
	local first last
	read -r first last < <(awk '$4 == "[rust_loop]" && $3 ~ /[tT]/ { print $1 }' /proc/kallsyms |
		sort | sed -n '1p;$p' | xargs)
	[[ -e $FAILSLAB/require-start ]] || skip "this kernel does not look at the stack"
	defer write_file "$FAILSLAB/require-start" 0
	defer write_file "$FAILSLAB/require-end" 0xffffffffffffffff
	echo "0x$first" >"$FAILSLAB/require-start"
	printf '0x%x\n' "$((16#$last + 4096))" >"$FAILSLAB/require-end"
	defer write_file "$FAILSLAB/stacktrace-depth" 32
	echo 16 >"$FAILSLAB/stacktrace-depth"
	failslab_on
	defer write_file "$FAILSLAB/ignore-gfp-wait" Y
	echo N >"$FAILSLAB/ignore-gfp-wait"
	echo N >"$FAILSLAB/task-filter"
	echo "$1" >"$FAILSLAB/probability"
}

# Each worker is freed as soon as it is idle, so that there is much to allocate.
now_and_then() {
	need_rust_loop
	setup
	local errors fallbacks completed
	set_for_test "$TIMEOUT" 0
	losetup --direct-io="$1" "${DEV}0"
	echo "+io +memory" >"$CGROUP/alpha/cgroup.subtree_control"
	errors=$(summary_field "${DEV}0" errors) fallbacks=$(summary_field "${DEV}0" fallbacks) completed=$(summary_field "${DEV}0" completed)
	failslab_for_module 20
	"$PROGRAMS/many.py" stress "${DEV}0" "$CGROUP/alpha" 8 50
	failslab_off
	report "$(($(summary_field "${DEV}0" fallbacks) - fallbacks)) fallbacks," \
		"$(summary_field "${DEV}0" retries) retries of $(($(summary_field "${DEV}0" completed) - completed)) commands"
	expect_equal "$(summary_field "${DEV}0" errors)" "$errors" errors
	(($(summary_field "${DEV}0" completed) >= completed + 800)) || fail "not all was done by this device"
	(($(summary_field "${DEV}0" fallbacks) > fallbacks)) || fail "no fallback was counted"
	wait_until 20 has_no_workers "${DEV}0" || fail "$(summary_field "${DEV}0" workers) workers left"
	wait_until 20 dying_cgroups_at_most nr_dying_descendants 0 || fail "cgroups are still held"
}

test_case "without memory for a worker I/O goes to the rootcg queue" falls_back
test_case "a worker in place needs no memory" existing_worker
test_case "data are right if some workers cannot be allocated" sometimes
test_case "no request fails if allocations of the driver do, buffered" now_and_then off
test_case "no request fails if allocations of the driver do, direct" now_and_then on

run_cases
