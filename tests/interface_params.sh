#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: only numbers differ
#
# Module parameters.

. "$(dirname "$0")/lib.sh"
need_loopctl

PARAMETERS=/sys/module/$DRIVER/parameters

devices() {
	find /sys/block -maxdepth 1 -name "${PREFIX}[0-9]*" | wc -l
}

defaults() {
	reload_driver
	expect_equal "$(<"$PARAMETERS/max_loop")" 8 max_loop
	expect_equal "$(<"$PARAMETERS/hw_queue_depth")" 128 hw_queue_depth
	expect_equal "$(devices)" 8 devices
	expect_equal "$(stat -c %a "$PARAMETERS/max_loop")" 444 "mode of max_loop"
	expect_equal "$(stat -c %a "$PARAMETERS/hw_queue_depth")" 444 "mode of hw_queue_depth"
}

idle_timeout_default() {
	need_rust_loop
	reload_driver
	expect_equal "$(<"$PARAMETERS/idle_timeout_secs")" 60 idle_timeout_secs
	expect_equal "$(stat -c %a "$PARAMETERS/idle_timeout_secs")" 644 "mode of idle_timeout_secs"
}

max_loop() {
	local count
	for count in 3 1 0; do
		reload_driver max_loop="$count"
		expect_equal "$(<"$PARAMETERS/max_loop")" "$count" max_loop
		expect_equal "$(devices)" "$count" devices
	done
	# No limit on what is asked for later.
	expect loopctl control "$CTL" get-free = 0
	expect loopctl control "$CTL" add 5 = 5
	expect_equal "$(devices)" 2 devices
	reload_driver
}

refused() {
	! is_loaded || unload_driver
	expect_failure modprobe "$DRIVER" "$1" 2>"$WORK/error"
	grep -q 'Invalid argument' "$WORK/error" || fail "$(<"$WORK/error")"
	! is_loaded || fail "loaded all the same"
	[[ ! -e $CTL ]] || fail "$CTL left behind"
	expect_equal "$(devices)" 0 devices
}

queue_depth() {
	local depth
	truncate -s 4M "$WORK/image"
	defer rm -f "$WORK/image"
	for depth in 1 7 256; do
		reload_driver max_loop=1 hw_queue_depth="$depth"
		expect_equal "$(<"$PARAMETERS/hw_queue_depth")" "$depth" hw_queue_depth
		expect_equal "$(<"/sys/block/${PREFIX}0/mq/0/nr_tags")" "$depth" nr_tags
		attach "${DEV}0" "$WORK/image"
		fio --name=depth --filename="${DEV}0" --ioengine=libaio --iodepth=32 --direct=1 \
			--rw=randwrite --bs=4k --size=512k --verify=crc32c --verify_state_save=0 \
			--output="$WORK/fio"
		detach "${DEV}0"
	done
}

idle_timeout() {
	need_rust_loop
	reload_driver max_loop=1 idle_timeout_secs=7
	local file=$PARAMETERS/idle_timeout_secs
	expect_equal "$(<"$file")" 7 idle_timeout_secs
	echo 11 >"$file"
	expect_equal "$(<"$file")" 11 idle_timeout_secs
	expect_failure bash -c "echo never >$file" 2>/dev/null
	expect_failure bash -c "echo -1 >$file" 2>/dev/null
	expect_failure bash -c "echo 99999999999999999999 >$file" 2>/dev/null
	expect_equal "$(<"$file")" 11 idle_timeout_secs
}

test_case "parameters have their defaults and are read-only" defaults
test_case "idle_timeout_secs has its default and is writable" idle_timeout_default
test_case "max_loop devices are made" max_loop
test_case "hw_queue_depth is the number of tags" queue_depth
test_case "hw_queue_depth=0 is refused" refused hw_queue_depth=0
test_case "hw_queue_depth=-1 is refused" refused hw_queue_depth=-1
test_case "hw_queue_depth=many is refused" refused hw_queue_depth=many
test_case "max_loop beyond the minor numbers is refused" refused max_loop=2000000
test_case "idle_timeout_secs takes numbers only" idle_timeout

run_cases
