#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
# leaks: no
# debug: badstorage_failing takes the same ways
#
# The disk below fails under direct I/O with much in flight: each request that has to
# fail does so once and with the right error, and no other does.

. "$(dirname "$0")/lib.sh"

BLOCKS=2048
BAD_FROM=700 BAD_TO=900

# over TARGET: the device on a disk of 8 MiB, in part of which that is.
over() {
	need_command dmsetup
	need_module dm-mod
	[[ $1 != flakey* ]] || need_module dm-flakey
	ensure_driver
	dmsetup create bad --table "$(table "linear /dev/vdb $((BAD_FROM * 8))")"
	udevadm settle
	defer remove_mapping bad
	attach "${DEV}0" --direct-io=on /dev/mapper/bad
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	udevadm settle
	become "$1"
}

table() {
	cat <<-TABLE
		0 $((BAD_FROM * 8)) linear /dev/vdb 0
		$((BAD_FROM * 8)) $(((BAD_TO - BAD_FROM) * 8)) $1
		$((BAD_TO * 8)) $(((BLOCKS - BAD_TO) * 8)) linear /dev/vdb $((BAD_TO * 8))
	TABLE
}

become() {
	dmsetup suspend --nolockfs bad
	dmsetup load bad --table "$(table "$1")"
	dmsetup resume bad
}

heal() {
	become "linear /dev/vdb $((BAD_FROM * 8))"
}

# each KIND BAD-FROM BAD-TO SEED: fails for these, as often as the driver has counted.
each() {
	local before=0
	[[ $DRIVER == loop ]] || before=$(summary_field "${DEV}0" errors)
	expect "$PROGRAMS/eachblock.py" "$1" "${DEV}0" "$BLOCKS" "$2" "$3" "$4" = \
		"failed $(($3 - $2))"
	[[ $DRIVER == loop ]] || expect_equal "$(($(summary_field "${DEV}0" errors) - before))" "$(($3 - $2))" "errors counted"
}

error() {
	over error
	each write "$BAD_FROM" "$BAD_TO" 1
	each read "$BAD_FROM" "$BAD_TO" 1
	heal
	each write 0 0 2
	each read 0 0 2
	detach "${DEV}0"
}

# Only writes fail, and what was there before stays.
flakey_writes() {
	over "linear /dev/vdb $((BAD_FROM * 8))"
	each write 0 0 1
	become "flakey /dev/vdb $((BAD_FROM * 8)) 0 3600 1 error_writes"
	each write "$BAD_FROM" "$BAD_TO" 1
	each read 0 0 1
	heal
	detach "${DEV}0"
}

# By turns for a second each.
now_and_then() {
	over "flakey /dev/vdb $((BAD_FROM * 8)) 1 1 1 error_writes"
	"$PROGRAMS/eachblock.py" sometimes "${DEV}0" "$BLOCKS" "$WORK/good"
	heal
	expect "$PROGRAMS/eachblock.py" check "${DEV}0" "$WORK/good" = "failed 0"
	detach "${DEV}0"
}

test_case "just the requests to the failing part of the disk fail" error
test_case "just the writes to the failing part fail, and old data stay" on_stock flakey_writes
test_case "data of requests that succeed on an unreliable disk are right" when_whole now_and_then

run_cases
