#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
#
# Mistakes that loop drivers have made before and that no other script is about.
# Documentation/testing.md says where the tests of the others are.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	[[ -e $WORK/image ]] || random_file "$WORK/image" 1M
}

# A reader that does not want to wait is not told to come back by a worker,
# which can wait.
nowait() {
	setup
	attach "${DEV}0" "$WORK/image"
	echo 3 >/proc/sys/vm/drop_caches
	"$PROGRAMS/nowait.py" "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

thaw() {
	fsfreeze -u "$1" 2>/dev/null
}

# Writes take part in freezing the filesystem below: they wait, are not lost, and
# leave nothing behind that would keep it from being frozen or unmounted again.
freeze() {
	setup
	mount_disk
	truncate -s 8M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	fsfreeze -f "$WORK/fs"
	defer thaw "$WORK/fs"
	dd if="$WORK/image" of="${DEV}0" bs=64K oflag=direct status=none &
	local writer=$!
	wait_until 10 has_inflight "${DEV}0" || fail "no write is under way"
	kill -0 "$writer" || fail "the write did not wait"
	fsfreeze -u "$WORK/fs"
	wait "$writer"
	cmp -n 1048576 "$WORK/image" "$WORK/fs/image"
	for _ in 1 2 3; do
		fsfreeze -f "$WORK/fs"
		fsfreeze -u "$WORK/fs"
	done
	detach "${DEV}0"
}

# So does what gives back space.
freeze_discard() {
	[[ $DRIVER == rust_loop ]] ||
		skip "the C driver punches the hole in the frozen filesystem, and ext4 warns"
	setup
	mount_disk
	random_file "$WORK/fs/image" 4M
	sync "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	fsfreeze -f "$WORK/fs"
	defer thaw "$WORK/fs"
	blkdiscard -o 1M -l 1M "${DEV}0" &
	local discard=$!
	wait_until 10 has_inflight "${DEV}0" || fail "no discard is under way"
	kill -0 "$discard" || fail "the discard did not wait"
	fsfreeze -u "$WORK/fs"
	wait "$discard"
	dd if="${DEV}0" bs=1M skip=1 count=1 iflag=direct status=none | cmp -n 1048576 - /dev/zero
	detach "${DEV}0"
}

# Direct I/O to a disk with large blocks needs as large ones.
direct_io_alignment() {
	setup
	local below=/dev/large
	null_disk large 16 blocksize=4096
	attach "${DEV}0" "$below"
	expect loopctl set-direct-io "${DEV}0" 1 = EINVAL
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 0 dio
	detach "${DEV}0"
	attach "${DEV}0" --direct-io=on "$below"
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 4096 "block size"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 dio
	dd if="$WORK/image" of="${DEV}0" bs=4K oflag=direct status=none
	expect loopctl set-block-size "${DEV}0" 512 = ok
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 0 "dio with small blocks"
	dd if="${DEV}0" bs=512 count=2048 iflag=direct status=none | cmp - "$WORK/image"
	detach "${DEV}0"
}

# What a disk wants of memory for direct I/O is not what the device does: a filesystem
# reads into buffers of a sector.
memory_alignment() {
	setup
	need_command dmsetup
	need_module dm-log-writes
	null_disk aligned 48 blocksize=4096
	# The log goes there.
	rm -f "$WORK/disk_made"
	dmsetup create strict --table "0 $(blockdev --getsz /dev/aligned) log-writes /dev/aligned /dev/vdb"
	udevadm settle
	defer remove_mapping strict
	expect_equal "$(sysfs_attr "$(readlink -f /dev/mapper/strict)" queue/dma_alignment)" 4095 \
		"alignment of the disk"
	mkfs.ext4 -q -F /dev/mapper/strict
	mkdir -p "$WORK/strict"
	mount /dev/mapper/strict "$WORK/strict"
	defer umount "$WORK/strict"
	truncate -s 16M "$WORK/strict/image"
	attach "${DEV}0" --direct-io=off "$WORK/strict/image"
	dd if="$WORK/image" of="${DEV}0" bs=512 count=64 oflag=direct status=none
	dd if="${DEV}0" bs=512 count=64 iflag=direct status=none | cmp -n 32768 - "$WORK/image"
	mkfs.ext4 -q -F "${DEV}0"
	mkdir -p "$WORK/inner"
	mount "${DEV}0" "$WORK/inner"
	umount "$WORK/inner"
	detach "${DEV}0"
}

direct_io_alignment_of_our_own() {
	need_rust_loop
	direct_io_alignment
}

# The file's own O_DIRECT is a wish and not an order.
direct_io_off() {
	setup
	mount_disk
	cp "$WORK/image" "$WORK/fs/image"
	# losetup opens the file with O_DIRECT when it is asked for direct I/O.
	attach "${DEV}0" --direct-io=on "$WORK/fs/image"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 dio
	losetup --direct-io=off "${DEV}0"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 0 "dio, off"
	cmp "$WORK/image" "${DEV}0"
	losetup --direct-io=on "${DEV}0"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "dio, on again"
	dd if="${DEV}0" bs=64K iflag=direct status=none | cmp - "$WORK/image"
	detach "${DEV}0"
}

test_case "a read or write that must not wait succeeds in the worker" nowait
test_case "writes wait while the filesystem below is frozen" freeze
test_case "discards wait while the filesystem below is frozen" freeze_discard
test_case "alignment that the disk below wants of memory is not passed on" memory_alignment
test_case "direct I/O to a disk with large blocks needs blocks as large" direct_io_alignment_of_our_own
test_case "direct I/O can be turned off on a file opened for it" direct_io_off

run_cases
