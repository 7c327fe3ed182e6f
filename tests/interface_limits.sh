#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 256M
# leaks: no
# debug: only values differ
#
# Limits of the queue come from the backing file of now, and from its user.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer rm -f "$WORK/image"
	QUEUE=/sys/block/${PREFIX}0/queue
}

limits() {
	local name
	for name in "$QUEUE"/*; do
		[[ ! -f $name ]] || echo "${name##*/}=$(cat "$name" 2>/dev/null)"
	done
}

# ---- what a user sets ----------------------------------------------------------

# set_by_user: all that can be set and is a limit.
set_by_user() {
	echo 0 >"$QUEUE/discard_max_bytes"
	echo 64 >"$QUEUE/max_sectors_kb"
	echo 1 >"$QUEUE/rotational"
	echo 1 >"$QUEUE/add_random"
	echo 0 >"$QUEUE/iostats"
	echo 1 >"$QUEUE/stable_writes"
	echo 'write through' >"$QUEUE/write_cache"
	[[ ! -e $QUEUE/iostats_passthrough ]] || echo 1 >"$QUEUE/iostats_passthrough"
	expect_equal "$(<"$QUEUE/write_cache")" "write through" write_cache
	expect_equal "$(<"$QUEUE/max_sectors_kb")" 64 max_sectors_kb
}

forgotten() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver keeps them"
	setup
	attach "${DEV}0" "$WORK/image"
	limits >"$WORK/before"
	set_by_user
	detach "${DEV}0"
	attach "${DEV}0" "$WORK/image"
	limits >"$WORK/after"
	diff "$WORK/before" "$WORK/after"
	detach "${DEV}0"
}

# But not as long as the file is the same.
kept() {
	setup
	attach "${DEV}0" "$WORK/image"
	echo 0 >"$QUEUE/discard_max_bytes"
	echo 64 >"$QUEUE/max_sectors_kb"
	echo 0 >"$QUEUE/iostats"
	expect loopctl set-status "${DEV}0" --offset 512 = ok
	expect loopctl set-block-size "${DEV}0" 1024 = ok
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(<"$QUEUE/discard_max_bytes")" 0 discard_max_bytes
	expect_equal "$(<"$QUEUE/max_sectors_kb")" 64 max_sectors_kb
	expect_equal "$(<"$QUEUE/iostats")" 0 iostats
	detach "${DEV}0"
}

# ---- pages that must not change while they are written ---------------------------

# below: STORE is a disk in memory that has checksums of what is written, as it says.
below() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver does not ask for that"
	setup
	null_disk nullb_stable 64
	STORE=/dev/nullb_stable
	echo 1 >/sys/block/nullb_stable/queue/stable_writes
}

# stable WANT
stable() {
	expect_equal "$(<"$QUEUE/stable_writes")" "$1" stable_writes
}

stable_device() {
	below
	attach "${DEV}0" "$STORE"
	stable 1
	detach "${DEV}0"
	attach "${DEV}0" --direct-io=on "$STORE"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	stable 1
	expect loopctl set-direct-io "${DEV}0" 0 = ok
	stable 1
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	stable 1
	detach "${DEV}0"
	# Not for ever.
	echo 0 >/sys/block/nullb_stable/queue/stable_writes
	attach "${DEV}0" "$STORE"
	stable 0
	detach "${DEV}0"
}

# stable_file TYPE
stable_file() {
	below
	need_command "mkfs.$1"
	need_module "$1"
	# XFS is only made this small for tests.
	TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 "mkfs.$1" -q "$STORE"
	mkdir -p "$WORK/fs"
	mount "$STORE" "$WORK/fs"
	defer unmount_quietly "$WORK/fs"
	truncate -s 16M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	stable 1
	detach "${DEV}0"
	attach "${DEV}0" --direct-io=on "$WORK/fs/image"
	stable 1
	# On top as well.
	attach "${DEV}1" "${DEV}0"
	QUEUE=/sys/block/${PREFIX}1/queue stable 1
	detach "${DEV}1"
	detach "${DEV}0"
}

stable_integrity() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver does not ask for that"
	setup
	need_command dmsetup
	need_module dm-integrity
	# It formats a disk that begins with zeroes.
	dd if=/dev/zero of=/dev/vdb bs=1M count=1 oflag=direct status=none
	dmsetup create whole --table "0 1 integrity /dev/vdb 0 - D 1 internal_hash:crc32c" ||
		skip "dm-integrity has no crc32c here"
	dmsetup remove whole
	dmsetup create whole --table "0 65536 integrity /dev/vdb 0 - D 1 internal_hash:crc32c"
	defer remove_mapping whole
	udevadm settle
	# Blocks that were never written have no checksum.
	dd if=/dev/zero of=/dev/mapper/whole bs=1M count=32 oflag=direct status=none
	attach "${DEV}0" --direct-io=on /dev/mapper/whole
	stable 1
	changes_while_written "${DEV}0"
	detach "${DEV}0"
	# All that was written has the right checksum.
	dd if=/dev/mapper/whole of=/dev/null bs=64K iflag=direct status=none
}

# changes_while_written DEVICE: through a filesystem and a mapping.
changes_while_written() {
	mkfs.ext4 -q -O ^has_journal "$1"
	mkdir -p "$WORK/mnt"
	mount "$1" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	"$PROGRAMS/change_while_written.py" "$WORK/mnt/file"
	umount "$WORK/mnt"
}

test_case "what a user has set is gone with the file" forgotten
test_case "what a user has set stays as long as the file does" kept
test_case "stable pages are asked for if the disk below does" stable_device
test_case "stable pages are asked for if the disk below ext4 does" stable_file ext4
test_case "stable pages are asked for if the disk below xfs does" stable_file xfs
test_case "stable pages keep checksums right, direct I/O on dm-integrity" stable_integrity

run_cases
