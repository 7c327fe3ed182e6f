#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# Module parameters.

. "$(dirname "$0")/lib.sh"

PARAMETERS=/sys/module/$DRIVER/parameters

reload() {
	! is_loaded || unload_driver
	load_driver "$@"
}

devices() {
	find /sys/block -maxdepth 1 -name "${PREFIX}[0-9]*" | wc -l
}

defaults() {
	reload
	same "$(<"$PARAMETERS/max_loop")" 8 max_loop
	same "$(<"$PARAMETERS/hw_queue_depth")" 128 hw_queue_depth
	same "$(devices)" 8 devices
	same "$(stat -c %a "$PARAMETERS/max_loop")" 444 "mode of max_loop"
	same "$(stat -c %a "$PARAMETERS/hw_queue_depth")" 444 "mode of hw_queue_depth"
}

idle_timeout_default() {
	need_rust_loop
	reload
	same "$(<"$PARAMETERS/idle_timeout_secs")" 60 idle_timeout_secs
	same "$(stat -c %a "$PARAMETERS/idle_timeout_secs")" 644 "mode of idle_timeout_secs"
}

max_loop() {
	local count
	for count in 3 1 0; do
		reload max_loop="$count"
		same "$(<"$PARAMETERS/max_loop")" "$count" max_loop
		same "$(devices)" "$count" devices
	done
	# No limit on what is asked for later.
	expect 0 loopctl control "$CTL" get-free
	expect 5 loopctl control "$CTL" add 5
	same "$(devices)" 2 devices
	reload
}

refused() {
	! is_loaded || unload_driver
	must_fail modprobe "$DRIVER" "$1" 2>"$WORK/error"
	grep -q 'Invalid argument' "$WORK/error" || fail "$(<"$WORK/error")"
	! is_loaded || fail "loaded all the same"
	[[ ! -e $CTL ]] || fail "$CTL left behind"
	same "$(devices)" 0 devices
}

queue_depth() {
	local depth
	truncate -s 4M "$WORK/image"
	defer 'rm -f "$WORK/image"'
	for depth in 1 7 256; do
		reload max_loop=1 hw_queue_depth="$depth"
		same "$(<"$PARAMETERS/hw_queue_depth")" "$depth" hw_queue_depth
		same "$(<"/sys/block/${PREFIX}0/mq/0/nr_tags")" "$depth" nr_tags
		attach "${DEV}0" "$WORK/image"
		fio --name=depth --filename="${DEV}0" --ioengine=libaio --iodepth=32 --direct=1 \
			--rw=randwrite --bs=4k --size=512k --verify=crc32c --verify_state_save=0 \
			--output="$WORK/fio"
		detach "${DEV}0"
	done
}

idle_timeout() {
	need_rust_loop
	reload max_loop=1 idle_timeout_secs=7
	local file=$PARAMETERS/idle_timeout_secs
	same "$(<"$file")" 7 idle_timeout_secs
	echo 11 >"$file"
	same "$(<"$file")" 11 idle_timeout_secs
	must_fail bash -c "echo never >$file" 2>/dev/null
	must_fail bash -c "echo -1 >$file" 2>/dev/null
	must_fail bash -c "echo 99999999999999999999 >$file" 2>/dev/null
	same "$(<"$file")" 11 idle_timeout_secs
}

it "defaults and permissions" defaults
it "idle_timeout_secs: default and permissions" idle_timeout_default
it "max_loop" max_loop
it "hw_queue_depth" queue_depth
it "hw_queue_depth=0" refused hw_queue_depth=0
it "hw_queue_depth=-1" refused hw_queue_depth=-1
it "hw_queue_depth=many" refused hw_queue_depth=many
it "max_loop beyond the minor numbers" refused max_loop=2000000
it "idle_timeout_secs" idle_timeout

run
