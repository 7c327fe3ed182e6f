#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
# leaks: no
# debug: badstorage_failing takes the same ways
#
# The filesystem under a sparse image is full: the writer learns of it.

. "$(dirname "$0")/lib.sh"

# small TYPE: a filesystem with about 4 MiB free and a sparse image of 32 MiB.
small() {
	ensure_driver
	mkdir -p "$WORK/fs"
	case $1 in
	tmpfs)
		mount -t tmpfs -o size=4M none "$WORK/fs"
		;;
	ext4)
		mkfs.ext4 -q -F -m 0 -O ^has_journal /dev/vdb 6M
		mount /dev/vdb "$WORK/fs"
		;;
	ext4-discard)
		mkfs.ext4 -q -F -m 0 /dev/vdb 8M
		mount -o discard /dev/vdb "$WORK/fs"
		;;
	xfs)
		# It is only made this small for tests.
		TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 mkfs.xfs -q -f /dev/vdb
		mount /dev/vdb "$WORK/fs"
		fallocate -l "$(($(df --output=avail "$WORK/fs" | tail -n 1) - 6144))K" "$WORK/fs/filler"
		;;
	esac
	defer umount "$WORK/fs"
	image=$WORK/fs/image
	truncate -s 32M "$image"
	[[ -e $WORK/data ]] || random_file "$WORK/data" 16M
	attach "${DEV}0" "$image"
}

# fills TYPE [dd options]
fills() {
	local type=$1 done_bytes
	shift
	small "$type"
	expect_failure dd if="$WORK/data" of="${DEV}0" "$@" status=none 2>"$WORK/error"
	cat "$WORK/error"
	grep -q 'No space left on device' "$WORK/error" || fail "not ENOSPC"
	done_bytes=$(($(allocated_kib "$image") * 1024))
	((done_bytes > 1048576)) || fail "full after $done_bytes bytes"
	# Data that were reported as written are there.
	cmp -n 1048576 "$WORK/data" "$image"
	usable
}

usable() {
	blockdev --flushbufs "${DEV}0" || true
	dd if="${DEV}0" of=/dev/null bs=64K count=16 iflag=direct status=none
	# Space again: punched by the device's own discard.
	blkdiscard -f "${DEV}0"
	sync -f "$WORK/fs"
	dd if="$WORK/data" of="${DEV}0" bs=64K count=16 seek=64 oflag=direct conv=fsync,notrunc status=none
	dd if="${DEV}0" bs=64K count=16 skip=64 iflag=direct status=none |
		cmp -n 1048576 - "$WORK/data"
	detach "${DEV}0"
}

through_cache() {
	small "$1"
	expect_failure dd if="$WORK/data" of="${DEV}0" bs=1M conv=fsync status=none 2>"$WORK/error"
	cat "$WORK/error"
	grep -q -e 'No space left on device' -e 'Input/output error' "$WORK/error" ||
		fail "neither ENOSPC nor EIO"
	usable
}

# One request of which only a part fits, and no larger than the queue takes.
partial() {
	[[ $DRIVER == rust_loop ]] ||
		skip "the C driver reports a write that was cut short as done"
	small tmpfs
	dd if=/dev/zero of="$WORK/fs/filler" bs=1M status=none 2>/dev/null || true
	truncate -s -200K "$WORK/fs/filler"
	expect_failure dd if="$WORK/data" of="${DEV}0" bs=384K count=1 oflag=direct status=none 2>"$WORK/error"
	cat "$WORK/error"
	grep -q 'No space left on device' "$WORK/error" || fail "not ENOSPC"
	rm "$WORK/fs/filler"
	usable
}

filesystem_on_top() {
	small tmpfs
	mkfs.ext4 -q -N 16 -O ^has_journal -E nodiscard "${DEV}0"
	mkdir -p "$WORK/mnt"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	expect_failure dd if="$WORK/data" of="$WORK/mnt/file" bs=1M conv=fsync status=none 2>"$WORK/error"
	cat "$WORK/error"
	umount "$WORK/mnt"
	detach "${DEV}0"
}

test_case "a full tmpfs is reported as ENOSPC, 4 KiB requests" fills tmpfs bs=4k oflag=direct
test_case "a full tmpfs is reported as ENOSPC, 64 KiB requests" fills tmpfs bs=64k oflag=direct
test_case "a full ext4 is reported as ENOSPC, 4 KiB requests" fills ext4 bs=4k oflag=direct
test_case "a full ext4 is reported as ENOSPC, 64 KiB requests" fills ext4 bs=64k oflag=direct
test_case "fsync reports what the page cache could not write, tmpfs" through_cache tmpfs
# These make sure, in other threads, that there is nothing left to be given back.
test_case "fsync reports what the page cache could not write, ext4 that discards" through_cache ext4-discard
test_case "fsync reports what the page cache could not write, xfs" on_stock through_cache xfs
test_case "a request that fits in part fails" partial
test_case "a filesystem on the device is told that the disk is full" filesystem_on_top

run_cases
