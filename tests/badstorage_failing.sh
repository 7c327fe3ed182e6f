#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
#
# The disk below fails: right errno, told to the writer, and no more than that.

. "$(dirname "$0")/lib.sh"
need_loopctl

# A disk whose second of four 8 MiB quarters fails, by the target given.
failing() {
	need_command dmsetup
	ensure_driver
	[[ $1 != flakey* ]] || need_module dm-flakey
	dmsetup create bad --table "$(table "linear /dev/vdb 16384")"
	udevadm settle
	defer remove_mapping bad
	# One for all tests of this script.
	[[ -e $WORK/data ]] || random_file "$WORK/data" 32M
	dd if="$WORK/data" of=/dev/mapper/bad bs=1M oflag=direct status=none
	blockdev --flushbufs /dev/mapper/bad
	attach "${DEV}0" /dev/mapper/bad
	udevadm settle
	become "$1"
}

table() {
	cat <<-TABLE
		0 16384 linear /dev/vdb 0
		16384 16384 $1
		32768 32768 linear /dev/vdb 32768
	TABLE
}

become() {
	dmsetup suspend --nolockfs bad
	dmsetup load bad --table "$(table "$1")"
	dmsetup resume bad
	blockdev --flushbufs /dev/mapper/bad || true
	blockdev --flushbufs "${DEV}0" || true
}

healthy() {
	become "linear /dev/vdb 16384"
	random_file "$WORK/new" 4M
	defer rm -f "$WORK/new"
	dd if="$WORK/new" of="${DEV}0" bs=1M seek=10 oflag=direct conv=fsync status=none
	dd if="${DEV}0" bs=1M skip=10 count=4 iflag=direct status=none | cmp - "$WORK/new"
	detach "${DEV}0"
	dd if=/dev/vdb bs=1M skip=10 count=4 iflag=direct status=none | cmp - "$WORK/new"
}

fails_with_eio() {
	expect_failure "$@" 2>"$WORK/error"
	grep -q 'Input/output error' "$WORK/error" || fail "not EIO: $(<"$WORK/error")"
}

reads() {
	failing error
	dd if="${DEV}0" bs=64K count=128 iflag=direct status=none |
		cmp -n 8388608 - "$WORK/data"
	fails_with_eio dd if="${DEV}0" of=/dev/null bs=4k skip=3000 count=1 iflag=direct status=none
	fails_with_eio dd if="${DEV}0" of=/dev/null bs=1M skip=9 count=1 iflag=direct status=none
	fails_with_eio dd if="${DEV}0" of=/dev/null bs=4k skip=3000 count=1 status=none
	dd if="${DEV}0" bs=1M skip=16 count=16 iflag=direct status=none |
		cmp - <(tail -c 16M "$WORK/data")
	healthy
}

# Part of the request is readable; its end is not.
read_across() {
	failing error
	fails_with_eio dd if="${DEV}0" of=/dev/null bs=48K skip=170 count=1 iflag=direct status=none
	healthy
}

writes() {
	failing error
	fails_with_eio dd if="$WORK/data" of="${DEV}0" bs=64K seek=140 count=4 \
		conv=fsync,notrunc status=none
	fails_with_eio dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=4 \
		oflag=direct conv=fsync,notrunc status=none
	# Told once, and not to those who write elsewhere.
	dd if="$WORK/data" of="${DEV}0" bs=64K seek=300 count=4 conv=fsync,notrunc status=none
	healthy
}

sync_writes() {
	failing error
	fails_with_eio dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=1 \
		oflag=direct,dsync conv=notrunc status=none
	healthy
}

# Turning on direct I/O writes the file's page cache back, and cannot do anything about
# what is lost; who flushes the device can.
mode_changes() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver does not report it"
	failing "linear /dev/vdb 16384"
	dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=4 oflag=direct conv=notrunc status=none
	dmsetup suspend --nolockfs bad
	dmsetup load bad --table "$(table error)"
	dmsetup resume bad
	losetup --direct-io=on "${DEV}0"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	become "linear /dev/vdb 16384"
	fails_with_eio dd if=/dev/null of="${DEV}0" conv=fsync,notrunc status=none
	dd if=/dev/null of="${DEV}0" conv=fsync,notrunc status=none
	healthy
}

# worn_out MODE: a block that cannot be read until it is written, as on a disk that assigns
# another one then.
worn_out() {
	local block=20480
	need_command dmsetup
	need_module dm-dust
	ensure_driver
	dmsetup create bad --table "0 65536 dust /dev/vdb 0 4096"
	udevadm settle
	defer remove_mapping bad
	[[ -e $WORK/data ]] || random_file "$WORK/data" 32M
	dd if="$WORK/data" of=/dev/mapper/bad bs=1M oflag=direct status=none
	attach "${DEV}0" --direct-io="$1" /dev/mapper/bad
	udevadm settle
	dmsetup message bad 0 addbadblock "$((block / 8))"
	dmsetup message bad 0 enable
	blockdev --flushbufs /dev/mapper/bad
	blockdev --flushbufs "${DEV}0"
	fails_with_eio dd if="${DEV}0" of=/dev/null bs=4K skip="$((block / 8))" count=1 iflag=direct status=none
	dd if="${DEV}0" bs=4K skip="$((block / 8 + 1))" count=4 iflag=direct status=none |
		cmp - <(dd if="$WORK/data" bs=4K skip="$((block / 8 + 1))" count=4 status=none)
	dd if="$WORK/data" of="${DEV}0" bs=4K seek="$((block / 8))" skip="$((block / 8))" count=1 \
		oflag=direct conv=fsync,notrunc status=none
	blockdev --flushbufs "${DEV}0"
	dd if="${DEV}0" bs=1M iflag=direct count=32 status=none | cmp - "$WORK/data"
	detach "${DEV}0"
}

# Dirty pages that cannot be written back would be written elsewhere after the change.
offset_changes() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver changes the offset all the same"
	failing "linear /dev/vdb 16384"
	# With the device open nothing is written back by closing it.
	exec 7<>"${DEV}0"
	losetup --direct-io=on "${DEV}0"
	dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=4 conv=notrunc status=none
	dmsetup suspend --nolockfs bad
	dmsetup load bad --table "$(table error)"
	dmsetup resume bad
	expect loopctl set-status "${DEV}0" --offset 4096 = EIO
	expect_equal "$(sysfs_attr "${DEV}0" loop/offset)" 0 offset
	dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=4 conv=notrunc status=none
	expect loopctl set-block-size "${DEV}0" 4096 = EIO
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "block size"
	exec 7<&-
	become "linear /dev/vdb 16384"
	# Callers of fsync() are told as well.
	fails_with_eio dd if=/dev/null of="${DEV}0" conv=fsync,notrunc status=none
	healthy
}

flakey() {
	failing "flakey /dev/vdb 16384 0 3600 1 error_writes"
	dd if="${DEV}0" bs=1M skip=8 count=8 iflag=direct status=none |
		cmp - <(tail -c +8388609 "$WORK/data" | head -c 8388608)
	fails_with_eio dd if="$WORK/data" of="${DEV}0" bs=64K seek=150 count=4 \
		conv=fsync,notrunc status=none
	healthy
}

discards() {
	failing error
	rc=0
	blkdiscard -f -z -o 9M -l 1M "${DEV}0" 2>"$WORK/error" || rc=$?
	# The zeroes may sit in the disk's cache; then the flush tells.
	((rc != 0)) || fails_with_eio dd if=/dev/zero of="${DEV}0" bs=64K seek=150 count=1 \
		oflag=direct conv=fsync,notrunc status=none
	healthy
}

# A file on a filesystem on the failing disk.
file_on_failing_disk() {
	failing "linear /dev/vdb 16384"
	detach "${DEV}0"
	mkfs.ext4 -q /dev/mapper/bad
	mkdir -p "$WORK/fs"
	mount -o errors=continue /dev/mapper/bad "$WORK/fs"
	defer unmount_quietly "$WORK/fs"
	dd if="$WORK/data" of="$WORK/fs/image" bs=1M count=20 conv=fsync status=none
	attach "${DEV}0" "$WORK/fs/image"
	udevadm settle
	echo 3 >/proc/sys/vm/drop_caches
	become error
	local failed=0 i
	for ((i = 0; i < 10; i++)); do
		if dd if="${DEV}0" bs=1M skip=$((i * 2)) count=1 iflag=direct status=none \
			2>"$WORK/error" >"$WORK/back"; then
			cmp -n 1048576 -i $((i * 2097152)):0 "$WORK/data" "$WORK/back"
		else
			grep -q 'Input/output error' "$WORK/error"
			failed=$((failed + 1))
		fi
	done
	((failed > 0 && failed < 10)) || fail "$failed of 10 reads failed"
	become "linear /dev/vdb 16384"
	dd if="${DEV}0" bs=1M count=20 iflag=direct status=none | cmp -n 20971520 - "$WORK/data"
	detach "${DEV}0"
	umount "$WORK/fs"
}

test_case "reads of the failing part fail with EIO, others succeed" reads
test_case "a read half of which can be read fails" on_stock read_across
test_case "fsync reports writes to the failing part, once" writes
test_case "synchronous writes to the failing part fail with EIO" on_stock sync_writes
test_case "writes that are lost while the mode changes are reported" on_stock mode_changes
test_case "offset and block size stay if the page cache cannot be written back" offset_changes
test_case "a block that cannot be read can be written, and read again, buffered" worn_out off
test_case "a block that cannot be read can be written, and read again, direct" on_stock worn_out on
test_case "if only writes fail, reads succeed" on_stock flakey
test_case "zeroing the failing part fails" on_stock discards
test_case "errors of a file on a failing disk are reported" on_stock file_on_failing_disk

run_cases
