#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
# kernels: stock debug
#
# When a worker cannot be allocated its I/O goes to the rootcg queue and is
# counted; the data arrive all the same.

. "$(dirname "$0")/lib.sh"

FAILSLAB=$DEBUGFS/failslab

setup() {
	[[ -d $FAILSLAB ]] || skip "this kernel has no fault injection"
	ensure_driver
	truncate -s 8M "$WORK/image"
	random_file "$WORK/data" 2M
	defer 'rm -f "$WORK/image" "$WORK/data"'
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
	local file=/sys/module/rust_loop/parameters/idle_timeout_secs old
	[[ $DRIVER == rust_loop ]] || return 0
	old=$(<"$file")
	echo 1 >"$file"
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=1 iflag=direct status=none
	wait_until 30 has_no_worker "${DEV}0" /alpha || fail "the worker does not go"
	echo "$old" >"$file"
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

existing_worker() {
	need_rust_loop
	setup
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=2 iflag=direct status=none
	local before
	before=$(fallbacks "${DEV}0")
	failslab_on
	failing_in alpha dd if="${DEV}0" of=/dev/null bs=4k count=8 iflag=direct status=none
	failslab_off
	same "$(fallbacks "${DEV}0")" "$before" "fallbacks with a worker in place"
	same "$(worker "${DEV}0" /alpha completed)" 10 "completed"
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

it "no memory for a worker: rootcg queue, counted, data right" falls_back
it "a worker in place needs no memory" existing_worker
it "memory now and then, several cgroups" sometimes

run
