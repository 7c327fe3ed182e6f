#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
# leaks: no
#
# A backing file whose filesystem does not answer: only the ioctl waits that asks it.

. "$(dirname "$0")/lib.sh"

CONNECTIONS=/sys/fs/fuse/connections

setup() {
	ensure_driver
	need_module fuse
	mountpoint -q "$CONNECTIONS" || {
		mount -t fusectl fusectl "$CONNECTIONS"
		defer umount "$CONNECTIONS"
	}
	mkdir -p "$WORK/fuse"
	truncate -s 8M "$WORK/store" "$WORK/image"
	"$PROGRAMS/fusefs.py" --valid 0 "$WORK/fuse" "$WORK/store" &
	SERVER=$!
	defer wait "$SERVER"
	defer umount -l "$WORK/fuse"
	wait_until 10 test -e "$WORK/fuse/file" || fail "no file is served"
}

# others_go_on CASE [BACKING-FILE [losetup options]]
others_go_on() {
	setup
	local name=$1 backing=${2:-}
	shift
	if [[ -n $backing ]]; then
		shift
		attach "${DEV}0" "$@" "$WORK/$backing"
	else
		defer detach_quietly "${DEV}0"
	fi
	defer kill -CONT "$SERVER"
	udevadm settle
	# udev would open the devices, and wait with them open.
	udevadm control --stop-exec-queue
	defer udevadm control --start-exec-queue
	timeout 200 "$PROGRAMS/stuck.py" "$name" "${DEV}0" "${DEV}1" "${DEV}2" \
		"$SERVER" "$WORK/fuse/file" "$WORK/image"
	udevadm control --start-exec-queue
	udevadm settle
	[[ -n $backing ]] || detach "${DEV}0"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound"
}

test_case "attaching a file that does not answer keeps no other task waiting" others_go_on configure
test_case "LOOP_CHANGE_FD to such a file keeps no other task waiting" on_stock others_go_on change-fd image -r
test_case "LOOP_SET_CAPACITY of such a file keeps no other task waiting" others_go_on capacity fuse/file
test_case "LOOP_GET_STATUS64 of such a file keeps no other task waiting" on_stock others_go_on status fuse/file
test_case "LOOP_SET_DIRECT_IO of such a file keeps no other task waiting" others_go_on direct-io fuse/file
test_case "LOOP_SET_STATUS64 with another offset of such a file keeps no other task waiting" others_go_on offset fuse/file
test_case "LOOP_SET_BLOCK_SIZE of such a file keeps no other task waiting" on_stock others_go_on block-size fuse/file

run_cases
