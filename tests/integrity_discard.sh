#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 512M
# leaks: no
# debug: oracle_random discards and zeroes
#
# Discard and write-zeroes, and what they do to the backing file.

. "$(dirname "$0")/lib.sh"
need_loopctl

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
	defer umount "$WORK/fs"
	image_in "$WORK/fs"
}

image_in() {
	image=$1/image
	random_file "$image" 4M
	sync "$image"
	cp "$image" "$WORK/model"
	defer rm -f "$WORK/model"
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
	defer rm -f "$image"
	discard_punches
}

discard_punches() {
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "no discard offered"
	blkdiscard -f -o 1M -l 2M "${DEV}0"
	zero_model 16 32
	matches_model
	expect_equal "$(freed_kib)" 2048 "KiB freed"
	detach "${DEV}0"
	expect_equal "$(stat -c %s "$image")" 4194304 "size of the image"
}

# fallocate on a block device: punch hole is write-zeroes that may unmap, zero
# range is one that may not.
zeroes_unmap() {
	image_on ext4
	attach "${DEV}0" "$image"
	fallocate --punch-hole --offset 1M --length 1M "${DEV}0"
	zero_model 16 16
	matches_model
	expect_equal "$(freed_kib)" 1024 "KiB freed"
	detach "${DEV}0"
}

zeroes_keep() {
	image_on ext4
	attach "${DEV}0" "$image"
	fallocate --zero-range --offset 1M --length 1M "${DEV}0"
	zero_model 16 16
	matches_model
	expect_equal "$(freed_kib)" 0 "KiB freed"
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
	defer rm -f "$image"
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes) > 0)) ||
		fail "no write zeroes offered at first"
	blkdiscard -f -z -o 1M -l 1M "${DEV}0"
	zero_model 16 16
	matches_model
	expect_equal "$(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes)" 0 "write_zeroes_max_bytes"
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
	defer umount "$WORK/ram"
	image_in "$WORK/ram"
	attach "${DEV}0" "$image"
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes"
	expect_equal "$(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes)" 0 "write_zeroes_max_bytes"
	expect_failure blkdiscard -f "${DEV}0"
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
	"$PROGRAMS/mkfat.py" /dev/vdb
	mkdir -p "$WORK/fat"
	mount -t vfat /dev/vdb "$WORK/fat" || skip "vfat cannot be mounted here"
	defer umount "$WORK/fat"
	image_in "$WORK/fat"
	attach "${DEV}0" "$image"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "no discard offered at first"
	blkdiscard -f -o 1M -l 1M "${DEV}0" || echo "refused, as the C driver may"
	matches_model
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes"
	expect_failure blkdiscard -f "${DEV}0"
	# Another limit is changed: what was cleared stays cleared.
	echo 64 >"/sys/block/${PREFIX}0/queue/max_sectors_kb"
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" 0 "discard_max_bytes later"
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
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	"$PROGRAMS/vecio.py" --discard "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

# Backed by a disk, what the disk offers is offered.
plain_disk() {
	ensure_driver
	need_command dmsetup
	attach "${DEV}0" /dev/vdb
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_max_bytes)" \
		"$(sysfs_attr /dev/vdb queue/write_zeroes_max_bytes)" "discard_max_bytes"
	random_file "$WORK/data" 1M
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="${DEV}0" bs=1M oflag=direct status=none
	blkdiscard -f -z -o 0 -l 512K "${DEV}0"
	dd if="${DEV}0" bs=512K count=1 iflag=direct status=none | cmp -n 524288 - /dev/zero
	dd if="${DEV}0" bs=512K skip=1 count=1 iflag=direct status=none |
		cmp - <(tail -c 512K "$WORK/data")
	detach "${DEV}0"
}

# A user has turned discard off, to keep a preallocated image so.
turn_off_discard() {
	echo 0 >"/sys/block/${PREFIX}0/queue/discard_max_bytes"
}

# Metadata may have been added.
nothing_freed() {
	local freed
	freed=$(freed_kib)
	((freed <= 0)) || fail "$freed KiB freed"
}

keeps_allocation() {
	image_on "$@"
	fallocate -l 8M "$image"
	truncate -s 8M "$WORK/model"
	before=$(allocated_kib "$image")
	attach "${DEV}0" "$image"
	turn_off_discard
	expect_failure blkdiscard -f -o 1M -l 1M "${DEV}0"
	if [[ $DRIVER == rust_loop ]]; then
		fallocate --punch-hole --offset 1M --length 1M "${DEV}0"
	else
		# The C driver refuses. That keeps the allocation, too.
		expect_failure fallocate --punch-hole --offset 1M --length 1M "${DEV}0"
		blkdiscard -f -z -o 1M -l 1M "${DEV}0"
	fi
	zero_model 16 16
	matches_model
	nothing_freed
	detach "${DEV}0"
}

keeps_allocation_without_zero_range() {
	ensure_driver
	image_in "$WORK"
	defer rm -f "$image"
	attach "${DEV}0" "$image"
	turn_off_discard
	expect_failure fallocate --punch-hole --offset 1M --length 1M "${DEV}0"
	matches_model
	blkdiscard -f -z -o 1M -l 1M "${DEV}0"
	zero_model 16 16
	matches_model
	nothing_freed
	detach "${DEV}0"
}

# The thread of ext4 that zeroes tables after the mount.
mount_keeps_allocation() {
	ensure_driver
	mount_disk
	image=$WORK/fs/image
	fallocate -l 300M "$image"
	defer rm -f "$image"
	before=$(allocated_kib "$image")
	attach "${DEV}0" "$image"
	mkfs.ext4 -q -E nodiscard,lazy_itable_init=1 "${DEV}0"
	turn_off_discard
	mkdir -p "$WORK/mnt"
	mount -o init_itable=0 "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	wait_until 60 no_lazy_init || fail "ext4 still initialises"
	umount "$WORK/mnt"
	nothing_freed
	detach "${DEV}0"
}

no_lazy_init() {
	! pgrep -x ext4lazyinit >/dev/null
}

# ---- a store of blocks that are larger than those of the device ---------------

# store_KIND: STORE is a disk of 64 MiB with blocks of 4096 bytes.
store_loop() {
	mount_disk
	truncate -s 64M "$WORK/fs/store"
	defer rm -f "$WORK/fs/store"
	attach "${DEV}1" -b 4096 "$WORK/fs/store"
	STORE=${DEV}1
}

store_zram() {
	need_module zram
	local number
	number=$(</sys/class/zram-control/hot_add)
	defer wait_until 10 zram_remove "$number"
	echo 64M >"/sys/block/zram$number/disksize"
	STORE=/dev/zram$number
	wait_until 10 test -b "$STORE"
}

zram_remove() {
	echo "$1" >/sys/class/zram-control/hot_remove 2>/dev/null
}

store_scsi() {
	modprobe -q scsi_debug dev_size_mb=64 sector_size=4096 lbpws=1 ||
		skip "this kernel has no scsi_debug"
	defer wait_until 10 modprobe -q -r scsi_debug
	defer udevadm settle
	wait_until 10 scsi_disk
	udevadm settle
}

scsi_disk() {
	local disk
	for disk in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; do
		STORE=/dev/${disk##*/}
		[[ -b $STORE ]] && return
	done
	return 1
}

large_store() {
	ensure_driver
	"store_$1"
	expect_equal "$(sysfs_attr "$STORE" queue/logical_block_size)" 4096 "block size of the store"
}

# on_large_store KIND OFFSET: writes, discards and zeroes, none aligned for the store.
on_large_store() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver fails what is not aligned for the store"
	large_store "$1"
	attach "${DEV}0" -o "$2" "$STORE"
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "block size of the device"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "no discard offered"
	"$PROGRAMS/vecio.py" --discard "--offset=$2" "${DEV}0" "$STORE"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "discard has been switched off"
	no_errors
	detach "${DEV}0"
}

no_errors() {
	expect_equal "$(log_count "error, dev ${PREFIX}0")" 0 "errors in the log"
	expect_equal "$(log_count "rust_loop")" 0 "lines of the driver in the log"
}

# filesystem_on_large_store KIND OFFSET
filesystem_on_large_store() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver fails what is not aligned for the store"
	large_store "$1"
	attach "${DEV}0" -o "$2" "$STORE"
	mkfs.ext4 -q -b 1024 "${DEV}0"
	mkdir -p "$WORK/mnt"
	mount -o discard,init_itable=0 "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	wait_until 60 no_lazy_init || fail "ext4 still initialises"
	random_file "$WORK/mnt/a" 1M
	random_file "$WORK/mnt/b" 1300K
	cp "$WORK/mnt/b" "$WORK/model"
	defer rm -f "$WORK/model"
	sync -f "$WORK/mnt"
	rm "$WORK/mnt/a"
	sync -f "$WORK/mnt"
	fstrim -v "$WORK/mnt" >"$WORK/trimmed"
	cat "$WORK/trimmed"
	! grep -q ': 0 B' "$WORK/trimmed" || fail "nothing trimmed"
	cmp "$WORK/model" "$WORK/mnt/b"
	umount "$WORK/mnt"
	e2fsck -fn "${DEV}0"
	no_errors
	expect_equal "$(log_count 'discard request in group')" 0 "complaints of ext4"
	detach "${DEV}0"
}

# announced GRANULARITY ALIGNMENT. The attribute of a disk shows something else, that of a
# partition does not.
announced() {
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_granularity)" "$1" discard_granularity
	expect loopctl partition "${DEV}0" add 1 0 65536 = ok
	expect_equal "$(sysfs_attr "${DEV}0" "${PREFIX}0p1/discard_alignment")" "$2" discard_alignment
	udevadm settle
	expect loopctl partition "${DEV}0" del 1 = ok
}

# The offset at which discards should begin.
alignment_is_announced() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver announces none"
	large_store loop
	attach "${DEV}0" "$STORE"
	announced 4096 0
	detach "${DEV}0"
	attach "${DEV}0" -o 512 "$STORE"
	announced 4096 3584
	expect loopctl set-status "${DEV}0" --offset 3072 = ok
	announced 4096 1024
	expect loopctl set-status "${DEV}0" --offset 8192 = ok
	announced 4096 0
	expect loopctl set-status "${DEV}0" --offset 1536 = ok
	expect loopctl set-block-size "${DEV}0" 1024 = ok
	announced 4096 2560
	if [[ -d /sys/kernel/mm/transparent_hugepage ]]; then
		expect loopctl set-block-size "${DEV}0" 8192 = ok
		announced 8192 6656
	fi
	expect loopctl set-block-size "${DEV}0" 512 = ok
	announced 4096 2560
	detach "${DEV}0"
	image_in "$WORK/fs"
	attach "${DEV}0" -o 1024 "$image"
	announced 4096 3072
	detach "${DEV}0"
}

# Another opener holds the store exclusively, and has dirty pages of it.
store_in_use() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver fails then"
	large_store loop
	random_file "$WORK/data" 1M
	defer rm -f "$WORK/data"
	attach "${DEV}0" "$STORE"
	expect loopctl hold "$STORE" --excl = ok
	defer loopctl release
	exec 7<>"$STORE"
	defer close_fd 7
	dd if="$WORK/data" of=/dev/fd/7 bs=1M conv=notrunc status=none
	blkdiscard -f -z -o 64K -l 128K "${DEV}0"
	dd if=/dev/zero of="$WORK/data" bs=64K seek=1 count=2 conv=notrunc status=none
	dd if="${DEV}0" bs=1M count=1 iflag=direct status=none | cmp - "$WORK/data"
	# That a discard is not done is none of the user's business.
	dd if="$WORK/data" of=/dev/fd/7 bs=1M conv=notrunc status=none
	blkdiscard -f -o 64K -l 128K "${DEV}0" || echo "refused"
	dd if="${DEV}0" bs=1M count=1 iflag=direct status=none | cmp - "$WORK/data"
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "discard has been switched off"
	no_errors
	expect loopctl release = ok
	exec 7>&-
	detach "${DEV}0"
}

# A filesystem that changes whole blocks only, or nothing at all for now.
# fuse_refuses ALIGNMENT [ERROR]
fuse_refuses() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver fails then"
	ensure_driver
	truncate -s 8M "$WORK/store"
	defer rm -f "$WORK/store"
	echo "${2:-}" >"$WORK/refusals"
	fuse_new fuse "$WORK/store" --align "$1" --errors "$WORK/refusals"
	attach "${DEV}0" "$WORK/fuse/file"
	if [[ -z ${2:-} ]]; then
		"$PROGRAMS/vecio.py" --discard "${DEV}0" "$WORK/store"
	else
		random_file "$WORK/data" 1M
		defer rm -f "$WORK/data"
		dd if="$WORK/data" of="${DEV}0" bs=1M oflag=direct status=none
		blkdiscard -f -z -o 64K -l 300K "${DEV}0"
		fallocate --punch-hole --offset 500K --length 100K "${DEV}0"
		dd if=/dev/zero of="$WORK/data" bs=1K seek=64 count=300 conv=notrunc status=none
		dd if=/dev/zero of="$WORK/data" bs=1K seek=500 count=100 conv=notrunc status=none
		dd if="${DEV}0" bs=1M count=1 iflag=direct status=none | cmp - "$WORK/data"
		cmp -n 1048576 "$WORK/store" "$WORK/data"
	fi
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "discard has been switched off"
	(($(sysfs_attr "${DEV}0" queue/write_zeroes_max_bytes) > 0)) || fail "write zeroes has been switched off"
	no_errors
	detach "${DEV}0"
}

test_case "discard punches a hole, ext4" discard_on ext4
test_case "discard punches a hole, xfs" on_stock discard_on xfs -f
test_case "discard punches a hole, tmpfs" discard_on_tmpfs
test_case "write-zeroes that may unmap frees space" zeroes_unmap
test_case "write-zeroes that may not unmap keeps the allocation" zeroes_keep
test_case "ranges that are no multiple of a block are zeroed exactly" unaligned
test_case "without zero range zeroes are written, and the limit is cleared once" zeroes_fall_back
test_case "without fallocate nothing is offered, and zeroes are written" no_fallocate
test_case "without punch hole the limits are cleared once" cannot_punch
test_case "data are right with discards and zeroes between writes" mixed
test_case "a device on a disk offers the discards of the disk" plain_disk
test_case "with discard turned off write-zeroes keeps the allocation, ext4" keeps_allocation ext4
test_case "with discard turned off write-zeroes keeps the allocation, xfs" when_whole keeps_allocation xfs -f
test_case "with discard turned off write-zeroes keeps the allocation, tmpfs" on_stock keeps_allocation_without_zero_range
test_case "with discard turned off a mount keeps the allocation" on_stock mount_keeps_allocation
test_case "zeroes not aligned for a loop device below are written" when_whole on_large_store loop 0
test_case "zeroes not aligned for a loop device below are written, at an odd offset" on_stock on_large_store loop 512
test_case "zeroes not aligned for a zram disk below are written" when_whole on_large_store zram 0
test_case "zeroes not aligned for a SCSI disk below are written, at an odd offset" on_large_store scsi 2560
test_case "a filesystem that discards works on larger blocks" when_whole filesystem_on_large_store loop 0
test_case "a filesystem that discards works on larger blocks, at an odd offset" on_stock filesystem_on_large_store scsi 512
test_case "the alignment of discards follows offset and block size" on_stock alignment_is_announced
test_case "zeroing works on a store that another task holds exclusively" store_in_use
test_case "zeroing works if the filesystem changes whole blocks only" on_stock fuse_refuses 4096
test_case "zeroing works if the filesystem refuses all ranges" fuse_refuses 1 "fallocate EINVAL"
test_case "zeroing works if the filesystem is busy" on_stock fuse_refuses 1 "fallocate EBUSY"

run_cases
