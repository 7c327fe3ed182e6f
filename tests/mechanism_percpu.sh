#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
# leaks: no
# debug: it counts what other scripts do
#
# A command that is alone and that a task waits for is executed on the CPU that it was
# issued on. Others are executed elsewhere, and so is one for which that CPU has no time.

. "$(dirname "$0")/lib.sh"

setup() {
	need_rust_loop
	ensure_driver
	random_file "$WORK/image" 16M
	dd if="$WORK/image" of=/dev/vdb bs=1M oflag=direct status=none
	attach "${DEV}0" --direct-io=on /dev/vdb
	udevadm settle
}

# reads NUMBER DEPTH: the number of these reads of 4 KiB executed on the CPU that issued them.
reads() {
	local before
	before=$(summary_field "${DEV}0" percpu)
	fio --name=reads --filename="${DEV}0" --direct=1 --ioengine=libaio --rw=randread --bs=4k \
		--number_ios="$1" --iodepth="$2" --io_size=1G --size=16M --thread >/dev/null
	echo $(($(summary_field "${DEV}0" percpu) - before))
}

one_at_a_time() {
	local on_cpu
	setup
	on_cpu=$(reads 2000 1)
	report "$on_cpu of 2000 reads one at a time were executed on their CPU"
	# After one that was late, as others ran there, some are executed elsewhere.
	((on_cpu > 500)) || fail "only $on_cpu"
	detach "${DEV}0"
}

many_at_a_time() {
	local on_cpu
	setup
	on_cpu=$(reads 8000 32)
	report "$on_cpu of 8000 reads 32 at a time were executed on their CPU"
	((on_cpu < 1000)) || fail "as many as $on_cpu"
	detach "${DEV}0"
}

was_moved() {
	dd if="${DEV}0" of="$WORK/read" bs=4k count=256 iflag=direct status=none
	cmp -n 1M "$WORK/image" "$WORK/read"
	(($(summary_field "${DEV}0" percpu_late) > moved))
}

# A realtime task takes CPU 1 from the worker that is about to run there, again and
# again for three times as long as a worker is watched.
no_time() {
	local moved hog
	setup
	moved=$(summary_field "${DEV}0" percpu_late)
	chrt --fifo 10 taskset -c 1 "$PROGRAMS/busy_task.py" &
	hog=$!
	defer stop_process "$hog"
	taskset -cp 1 "$BASHPID" >/dev/null
	wait_until 60 was_moved || fail "no worker was moved"
	detach "${DEV}0"
}

test_case "a single command is executed on the CPU that issued it" one_at_a_time
test_case "many commands at a time are executed elsewhere" many_at_a_time
test_case "a busy CPU does not hold up a command" no_time

run_cases
