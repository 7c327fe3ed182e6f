#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
#
# The system is suspended, as far as tasks and workqueues go, with I/O in flight: it
# goes on afterwards, and nothing is lost. (Devices are not: what the guest gets this
# script from, 9p, does not come back from that.)

. "$(dirname "$0")/lib.sh"

TIMES=2

suspended() {
	local i fio
	[[ -w /sys/power/pm_test ]] || skip "this kernel cannot test suspending"
	ensure_driver
	attach "${DEV}0" --direct-io="$1" /dev/vdb
	udevadm settle
	echo freezer >/sys/power/pm_test
	defer write_file /sys/power/pm_test none
	fio --name=s --filename="${DEV}0" --ioengine=libaio --direct=1 --iodepth=16 --rw=randwrite \
		--bs=4k --size=24M --time_based --runtime=3600 --verify=crc32c --verify_backlog=64 \
		--verify_fatal=1 --verify_state_save=0 --output="$WORK/fio" &
	fio=$!
	defer stop_process "$fio"
	for ((i = 0; i < TIMES; i++)); do
		wait_until 20 does_more || fail "no I/O before time $i"
		echo freeze >/sys/power/state
	done
	wait_until 20 does_more || fail "no I/O afterwards"
	kill -INT "$fio"
	# Its status says that it was interrupted.
	wait "$fio" || true
	grep -q 'err= 0' "$WORK/fio" || {
		cat "$WORK/fio"
		fail "fio found a difference"
	}
	detach "${DEV}0"
}

# The device has done something since this was called the last time.
does_more() {
	local before=${DONE:-0}
	DONE=$(awk '{ print $1 + $5 }' "/sys/block/${PREFIX}0/stat")
	((DONE > before + 100))
}

test_case "I/O goes on after tasks were frozen, direct" suspended on
test_case "I/O goes on after tasks were frozen, buffered" suspended off

run_cases
