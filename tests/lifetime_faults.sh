#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
#
# Loading, adding and attaching, with each of their allocations failing once.

. "$(dirname "$0")/lib.sh"

FAILSLAB=$DEBUGFS/failslab

faults() {
	[[ -d $FAILSLAB && -e /proc/self/fail-nth ]] || skip "this kernel has no fault injection"
	echo N >"$FAILSLAB/ignore-gfp-wait"
	defer write_file "$FAILSLAB/ignore-gfp-wait" Y
	echo 0 >"$FAILSLAB/verbose"
}

loading() {
	faults
	! is_loaded || unload_driver
	"$PROGRAMS/failnth.py" load "$(modinfo -n "$DRIVER")" max_loop=1
	! is_loaded || unload_driver
	[[ ! -e $CTL ]] || wait_until 10 test ! -e "$CTL" || fail "$CTL left behind"
	[[ ! -e $DEBUGFS/$DRIVER ]] || fail "debugfs directory left behind"
	load_driver max_loop=3
	test -b "${DEV}2"
}

adding() {
	faults
	ensure_driver
	"$PROGRAMS/failnth.py" add "$CTL" 20
	udevadm settle
	[[ ! -d /sys/block/${PREFIX}20 ]] || fail "device left behind"
}

attaching() {
	faults
	ensure_driver
	truncate -s 1M "$WORK/image"
	"$PROGRAMS/failnth.py" attach "${DEV}0" "$WORK/image"
	is_unbound "${DEV}0" || fail "still bound"
	attach "${DEV}0" "$WORK/image"
	dd if="${DEV}0" of=/dev/null bs=64K iflag=direct status=none
	detach "${DEV}0"
}

test_case "loading the module survives each failed allocation" loading
test_case "adding a device survives each failed allocation" adding
test_case "attaching survives each failed allocation" attaching

run_cases
