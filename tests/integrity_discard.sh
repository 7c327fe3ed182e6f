#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 512M
# leaks: no
#
# Discard and write-zeroes, and what they do to the backing file.

. "$(dirname "$0")/lib.sh"

# A filesystem on the disk, with an image of 4 MiB of data in it.
image_on() {
	local type=$1
	shift
	ensure_driver
	need_command "mkfs.$type"
	need_module "$type"
	"mkfs.$type" -q "$@" /dev/vdb
	mkdir -p "$WORK/fs"
	mount /dev/vdb "$WORK/fs"
	defer 'umount "$WORK/fs"'
	image_in "$WORK/fs"
}

image_in() {
	image=$1/image
	random_file "$image" 4M
	sync "$image"
	cp "$image" "$WORK/model"
	defer 'rm -f "$WORK/model"'
	before=$(allocated_kib "$image")
}

zero_model() {
	dd if=/dev/zero of="$WORK/model" bs=64k seek="$1" count="$2" conv=notrunc status=none
}

matches_model() {
	device_checksum "${DEV}0" >"$WORK/sum"
	checksum "$WORK/model" | cmp - "$WORK/sum"
	cmp "$WORK/model" "$image"
}

freed_kib() {
	sync "$image"
	echo $((before - $(allocated_kib "$image")))
}

# discard FREED-KIB FILESYSTEM [mkfs options]
discard_on() {
	image_on "$@"
	discard_punches
}

discard_on_tmpfs() {
	ensure_driver
	image_in "$WORK"
	defer 'rm -f "$image"'
	discard_punches
}

discard_punches() {
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "no discard offered"
	blkdiscard -f -o 1M -l 2M "${DEV}0"
	zero_model 16 32
	matches_model
	same "$(freed_kib)" 2048 "KiB freed"
	detach "${DEV}0"
	same "$(stat -c %s "$image")" 4194304 "size of the image"
}

# fallocate on a block device: punch hole is write-zeroes that may unmap, zero
# range is one that may not.
zeroes_unmap() {
	image_on ext4
	attach "${DEV}0" "$image"
	fallocate --punch-hole --offset 1M --length 1M "${DEV}0"
	zero_model 16 16
	matches_model
	same "$(freed_kib)" 1024 "KiB freed"
	detach "${DEV}0"
}

zeroes_keep() {
	image_on ext4
	attach "${DEV}0" "$image"
	fallocate --zero-range --offset 1M --length 1M "${DEV}0"
	zero_model 16 16
	matches_model
	same "$(freed_kib)" 0 "KiB freed"
	detach "${DEV}0"
}

# A range that is no multiple of the filesystem's block, in a shifted window.
unaligned() {
	image_on ext4
	attach "${DEV}0" -o 1024 "$image"
	blkdiscard -f -o 65024 -l 131584 "${DEV}0"
	dd if=/dev/zero of="$WORK/model" bs=512 seek=$((127 + 2)) count=257 conv=notrunc status=none
	cmp "$WORK/model" "$image"
	fallocate --zero-range --offset 1000448 --length 66048 "${DEV}0"
	dd if=/dev/zero of="$WORK/model" bs=512 seek=$((1954 + 2)) count=129 conv=notrunc status=none
	cmp "$WORK/model" "$image"
	detach "${DEV}0"
}

# tmpfs punches holes but has no zero range: the caller must not notice.
zeroes_fall_back() {
	ensure_driver
	image_in "$WORK"
	defer 'rm -f "$image"'
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes) > 0)) ||
		fail "no write zeroes offered at first"
	blkdiscard -f -z -o 1M -l 1M "${DEV}0"
	zero_model 16 16
	matches_model
	same "$(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes)" 0 "write_zeroes_max_bytes"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) ||
		fail "discard was switched off as well"
	blkdiscard -f -z -o 2M -l 1M "${DEV}0"
	zero_model 32 16
	matches_model
	(($(log_count "dev ${PREFIX}0") <= 1)) || fail "errors logged more than once"
	detach "${DEV}0"

	# The next file is given its chance again.
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes) > 0)) ||
		fail "no write zeroes offered after a new attach"
	detach "${DEV}0"
}

# ramfs has no fallocate at all.
no_fallocate() {
	ensure_driver
	mkdir -p "$WORK/ram"
	mount -t ramfs none "$WORK/ram"
	defer 'umount "$WORK/ram"'
	image_in "$WORK/ram"
	attach "${DEV}0" "$image"
	same "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes"
	same "$(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes)" 0 "write_zeroes_max_bytes"
	must_fail blkdiscard -f "${DEV}0"
	blkdiscard -f -z -o 1M -l 1M "${DEV}0"
	zero_model 16 16
	matches_model
	detach "${DEV}0"
}

# vfat has a fallocate that refuses to punch: the limits go to zero with the
# first refusal, once, and nothing is lost.
cannot_punch() {
	need_module vfat
	ensure_driver
	python3 "$TESTS/mkfat.py" /dev/vdb
	mkdir -p "$WORK/fat"
	mount -t vfat /dev/vdb "$WORK/fat" || skip "vfat cannot be mounted here"
	defer 'umount "$WORK/fat"'
	image_in "$WORK/fat"
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "no discard offered at first"
	blkdiscard -f -o 1M -l 1M "${DEV}0" || note "refused, as the C driver may"
	matches_model
	same "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes"
	must_fail blkdiscard -f "${DEV}0"
	# Another limit is changed: what was cleared stays cleared.
	echo 64 >"/sys/block/${PREFIX}0/queue/max_sectors_kb"
	same "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes later"
	blkdiscard -f -z -o 2M -l 1M "${DEV}0"
	zero_model 32 16
	matches_model
	(($(log_count "dev ${PREFIX}0") <= 2)) || fail "errors logged more than once"
	detach "${DEV}0"
}

# Writes, discards and zeroes of all sizes, compared with a model.
mixed() {
	ensure_driver
	truncate -s 8M "$WORK/image"
	defer 'rm -f "$WORK/image"'
	attach "${DEV}0" "$WORK/image"
	python3 "$TESTS/vecio.py" --discard "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

# Backed by a disk, what the disk offers is offered.
plain_disk() {
	ensure_driver
	need_command dmsetup
	attach "${DEV}0" /dev/vdb
	same "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" \
		"$(cat /sys/block/vdb/queue/write_zeroes_max_bytes)" "discard_max_bytes"
	random_file "$WORK/data" 1M
	defer 'rm -f "$WORK/data"'
	dd if="$WORK/data" of="${DEV}0" bs=1M oflag=direct status=none
	blkdiscard -f -z -o 0 -l 512K "${DEV}0"
	dd if="${DEV}0" bs=512K count=1 iflag=direct status=none | cmp -n 524288 - /dev/zero
	dd if="${DEV}0" bs=512K skip=1 count=1 iflag=direct status=none |
		cmp - <(tail -c 512K "$WORK/data")
	detach "${DEV}0"
}

it "discard punches a hole, ext4" discard_on ext4
it "discard punches a hole, xfs" discard_on xfs -f
it "discard punches a hole, tmpfs" discard_on_tmpfs
it "write-zeroes that may unmap frees space" zeroes_unmap
it "write-zeroes that may not unmap keeps the allocation" zeroes_keep
it "ranges that are no multiple of a block" unaligned
it "zero range unsupported: written instead, limit cleared once" zeroes_fall_back
it "no fallocate: nothing offered, zeroes written" no_fallocate
it "punch hole unsupported: limits cleared once" cannot_punch
it "mixed with writes" mixed
it "backed by a disk" plain_disk

run
