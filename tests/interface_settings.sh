#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random changes the same settings
#
# Changes while a device has a backing file: the block size, direct
# I/O, the old status, the size. For the file itself see interface_change_fd.

. "$(dirname "$0")/lib.sh"
need_loopctl

READ_ONLY=1
DIRECT_IO=16
A=$WORK/a
B=$WORK/b

random_file "$A" 1M
random_file "$B" 1M

setup() {
	ensure_driver
	DIR=/sys/block/${PREFIX}0
}

# configure DEVICE FILE [options]: attach without starting a program.
configure() {
	defer detach_by_ioctl_quietly "$1"
	expect loopctl configure "$@" = ok
}

# filesystem NAME TYPE: an empty one in memory. It can be unmounted only if no file of
# it is in use.
filesystem() {
	mkdir -p "$WORK/$1"
	mount -t "$2" "$2" "$WORK/$1"
	defer unmount_quietly "$WORK/$1"
}

block_size() {
	sysfs_attr "${DEV}0" queue/logical_block_size
}

is_direct() {
	local flags
	flags=$(status_field "${DEV}0" flags)
	expect_equal "$(((flags & DIRECT_IO) != 0))" "$(<"$DIR/loop/dio")" "flag and attribute of direct I/O"
	echo "$((flags & DIRECT_IO))"
}

# ---- LOOP_SET_BLOCK_SIZE --------------------------------------------------

# Blocks larger than a page need large folios.
largest_block() {
	if [[ -d /sys/kernel/mm/transparent_hugepage ]]; then
		echo 65536
	else
		echo 4096
	fi
}

block_sizes() {
	setup
	local size largest
	largest=$(largest_block)
	configure "${DEV}0" "$A"
	for ((size = 512; size <= largest; size *= 2)); do
		expect loopctl set-block-size "${DEV}0" "$size" = ok
		expect_equal "$(block_size)" "$size" logical_block_size
		expect_equal "$(<"$DIR/queue/physical_block_size")" "$size" physical_block_size
		expect_equal "$(<"$DIR/queue/minimum_io_size")" "$size" minimum_io_size
		((size != 4096 && size != largest)) || cmp "$A" "${DEV}0"
	done
	# None is the default; and of the argument only half is looked at.
	expect loopctl set-block-size "${DEV}0" 0 = ok
	expect_equal "$(block_size)" 512 logical_block_size
	expect loopctl set-block-size "${DEV}0" 1024 = ok
	expect loopctl set-block-size "${DEV}0" 0x100000200 = ok
	expect_equal "$(block_size)" 512 logical_block_size
	detach_by_ioctl "${DEV}0"
}

block_size_refused() {
	setup
	local size
	expect loopctl set-block-size "${DEV}0" 1024 = ENXIO
	configure "${DEV}0" "$A"
	expect loopctl set-block-size "${DEV}0" 1024 = ok
	for size in 1 256 511 513 1000 1536 131072 0xffffffff 0x80000000 0xffffffffffffffff; do
		expect loopctl set-block-size "${DEV}0" "$size" = EINVAL
		expect_equal "$(block_size)" 1024 "logical_block_size after $size"
	done
	cmp "$A" "${DEV}0"
	detach_by_ioctl "${DEV}0"
	expect_equal "$(block_size)" 512 "logical_block_size after detach"
}

# No other opener may hold the device exclusively.
block_size_exclusive() {
	setup
	configure "${DEV}0" "$A"
	udevadm settle
	expect loopctl hold "${DEV}0" --excl = ok
	defer loopctl release
	expect loopctl set-block-size "${DEV}0" 1024 = EBUSY
	# Not even for what it has.
	expect loopctl set-block-size "${DEV}0" 512 = EBUSY
	expect loopctl release = ok
	expect loopctl set-block-size "${DEV}0" 1024 --excl = ok
	# Other openers do not matter.
	expect loopctl hold "${DEV}0" = ok
	expect loopctl set-block-size "${DEV}0" 2048 = ok
	expect_equal "$(block_size)" 2048 logical_block_size
	expect loopctl release = ok
	detach_by_ioctl "${DEV}0"
}

# Dirty pages of the device are written to the file, and pages are read from there
# again.
block_size_writes_back() {
	setup
	cp "$A" "$WORK/target"
	defer rm -f "$WORK/target"
	configure "${DEV}0" "$WORK/target"
	# The last close would write it back, too. And udev, which reads a device that
	# was written to, leaves a locked one alone.
	exec 7<"${DEV}0"
	flock 7
	dd if="$B" of="${DEV}0" bs=64K status=none
	! cmp -s "$B" "$WORK/target" || fail "written back too early"
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	cmp "$B" "$WORK/target"
	cp "$A" "$WORK/target"
	cmp "$A" "${DEV}0"
	exec 7<&-
	detach_by_ioctl "${DEV}0"
}

# ---- LOOP_SET_STATUS64 ----------------------------------------------------

# Pages that have just been written back are dropped from the page cache, too.
cache_follows_offset() {
	[[ $DRIVER == rust_loop ]] ||
		skip "the C driver leaves old pages behind, some of a hundred times"
	setup
	cp "$A" "$WORK/target"
	defer rm -f "$WORK/target"
	configure "${DEV}0" "$WORK/target"
	# udev reads a device that was written to; it leaves a locked one alone.
	exec 7<"${DEV}0"
	flock 7
	expect_equal "$("$PROGRAMS/offsets.py" "${DEV}0" "$WORK/target" 400)" 0 "old contents"
	exec 7<&-
	detach_by_ioctl "${DEV}0"
}

# The page cache of a partition is written where the partition was.
partition_cache_follows_offset() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver writes it to where the partition is then"
	setup
	truncate -s 8M "$WORK/target"
	defer rm -f "$WORK/target"
	sfdisk -q "$WORK/target" <<<"start=2048, size=8192, type=83"
	configure "${DEV}0" "$WORK/target" --flags 8
	# udev reads a disk that has been written to; it leaves a locked one alone.
	exec 7<"${DEV}0"
	flock 7
	wait_until 10 test -b "${DEV}0p1" || fail "no partition"
	exec 6<>"${DEV}0p1"
	dd if="$B" bs=64K count=4 status=none >&6
	! cmp -s -n 262144 -i 0:1048576 "$B" "$WORK/target" || fail "written back before it had to be"
	expect loopctl set-status "${DEV}0" --offset 65536 = ok
	cmp -n 262144 -i 0:1048576 "$B" "$WORK/target"
	# Nor is it read from where it was.
	cp "$WORK/target" "$WORK/before"
	defer rm -f "$WORK/before"
	cmp -n 65536 -i 0:1114112 "${DEV}0p1" "$WORK/target"
	exec 6<&-
	cmp "$WORK/before" "$WORK/target"
	exec 7<&-
	detach_by_ioctl "${DEV}0"
}

# ---- LOOP_SET_DIRECT_IO ---------------------------------------------------

direct_io() {
	setup
	expect loopctl set-direct-io "${DEV}0" 1 = ENXIO
	configure "${DEV}0" "$A"
	expect_equal "$(is_direct)" 0 "direct I/O"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O, on"
	expect loopctl set-direct-io "${DEV}0" 7 = ok
	expect_content "${DEV}0" "$A"
	expect loopctl set-direct-io "${DEV}0" 0 = ok
	expect_equal "$(is_direct)" 0 "direct I/O, off"
	expect loopctl set-direct-io "${DEV}0" 0 = ok
	expect_content "${DEV}0" "$A"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "$A" --flags "$DIRECT_IO"
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O at attach"
	expect_content "${DEV}0" "$A"
	# It is no flag of LOOP_SET_STATUS64.
	expect loopctl set-status "${DEV}0" = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O after a new status"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "$A"
	expect_equal "$(is_direct)" 0 "direct I/O at the next attach"
	expect loopctl set-status "${DEV}0" --flags "$DIRECT_IO" = ok
	expect_equal "$(is_direct)" 0 "direct I/O by a new status"
	detach_by_ioctl "${DEV}0"
}

# A descriptor that is open for direct I/O is a wish, too, and it can be taken
# back.
direct_descriptor() {
	setup
	configure "${DEV}0" "$A" --direct
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O"
	expect loopctl set-direct-io "${DEV}0" 0 = ok
	expect_equal "$(is_direct)" 0 "direct I/O, off"
	expect_content "${DEV}0" "$A"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O, on again"
	detach_by_ioctl "${DEV}0"
}

direct_unsupported() {
	setup
	filesystem ram ramfs
	cp "$A" "$WORK/ram/a"
	configure "${DEV}0" "$WORK/ram/a" --flags "$DIRECT_IO"
	expect_equal "$(is_direct)" 0 "direct I/O on ramfs"
	expect loopctl set-direct-io "${DEV}0" 1 = EINVAL
	expect_equal "$(is_direct)" 0 "direct I/O on ramfs"
	expect loopctl set-direct-io "${DEV}0" 0 = ok
	expect_content "${DEV}0" "$WORK/ram/a"
	detach_by_ioctl "${DEV}0"
}

# Below is a disk of 4096-byte blocks.
direct_alignment() {
	setup
	configure "${DEV}1" "$A" --block-size 4096
	configure "${DEV}0" "${DEV}1"
	expect_equal "$(block_size)" 512 "logical_block_size"
	expect loopctl set-direct-io "${DEV}0" 1 = EINVAL
	expect_equal "$(is_direct)" 0 "with blocks too small"
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	expect_equal "$(is_direct)" 0 "with large blocks, unasked"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "with large blocks"
	expect_content "${DEV}0" "$A"
	# Blocks that are too small, or a bad offset, turn it off for good.
	expect loopctl set-block-size "${DEV}0" 512 = ok
	expect_equal "$(is_direct)" 0 "with small blocks again"
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	expect_equal "$(is_direct)" 0 "with large blocks again"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect loopctl set-status "${DEV}0" --offset 512 = ok
	expect_equal "$(is_direct)" 0 "at a bad offset"
	expect loopctl set-direct-io "${DEV}0" 1 = EINVAL
	expect loopctl set-status "${DEV}0" --offset 8192 = ok
	expect_equal "$(is_direct)" 0 "at a good offset again"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "at a good offset"
	dd if="${DEV}0" bs=64K iflag=direct status=none | cmp - <(tail -c +8193 "$A")
	detach_by_ioctl "${DEV}0"
	# Asked for at attach, blocks are as large as it takes.
	configure "${DEV}0" "${DEV}1" --flags "$DIRECT_IO"
	expect_equal "$(block_size)" 4096 "logical_block_size for direct I/O"
	expect_equal "$(is_direct)" "$DIRECT_IO" "asked for at attach"
	# Also if they are left to the driver.
	expect loopctl set-block-size "${DEV}0" 0 = ok
	expect_equal "$(block_size)" 4096 "logical_block_size by default"
	expect_content "${DEV}0" "$A"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "${DEV}1" --flags "$DIRECT_IO" --block-size 512
	expect_equal "$(block_size) $(is_direct)" "512 0" "blocks too small at attach"
	expect_content "${DEV}0" "$A"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "${DEV}1" --flags "$DIRECT_IO" --offset 512
	expect_equal "$(block_size) $(is_direct)" "4096 0" "bad offset at attach"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "${DEV}1" --direct --offset 4096
	expect_equal "$(block_size) $(is_direct)" "4096 $DIRECT_IO" "good offset at attach"
	detach_by_ioctl "${DEV}0"
	detach_by_ioctl "${DEV}1"
}

direct_under_io() {
	setup
	truncate -s 1M "$WORK/target"
	defer rm -f "$WORK/target"
	configure "${DEV}0" "$WORK/target"
	fio --name=switch --filename="${DEV}0" --ioengine=libaio --iodepth=8 --thread \
		--direct=1 --rw=randwrite --bs=4k --size=1M --loops=3 --verify=crc32c \
		--verify_state_save=0 --output="$WORK/fio" &
	local pid=$! i
	for ((i = 0; ; i++)); do
		expect loopctl set-direct-io "${DEV}0" $((i % 2)) = ok
		nap
		kill -0 "$pid" 2>/dev/null || break
	done
	wait "$pid" || fail "$(<"$WORK/fio")"
	((i > 3)) || fail "switched $i times only"
	# Neither way leaves something behind.
	expect_content "${DEV}0" "$WORK/target"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	expect_content "${DEV}0" "$WORK/target"
	detach_by_ioctl "${DEV}0"
}

# ---- who may --------------------------------------------------------------

# A reader without CAP_SYS_ADMIN changes nothing of this.
not_admin() {
	need_command setpriv
	setup
	configure "${DEV}0" "$A"
	local dev="${DEV}0" answers
	answers=$(setpriv --bounding-set -all --inh-caps -all --ambient-caps -all \
		"$PROGRAMS/loopctl.py" serve <<-END | grep -vx '\.' | tr '\n' ' '
			set-block-size $dev 1024 --dev-mode ro
			set-direct-io $dev 1 --dev-mode ro
			set-capacity $dev --dev-mode ro
			set-old-status $dev --offset 512 --dev-mode ro
			set-status $dev --offset 512 --dev-mode ro
			set-block-size $dev 1024
			set-direct-io $dev 1
			set-capacity $dev
			set-old-status $dev --offset 4096
		END
	)
	expect_equal "$answers" "EPERM EPERM EPERM EPERM EPERM ok ok ok ok " answers
	expect_equal "$(block_size) $(status_field "${DEV}0" offset)" "1024 4096" settings
	# With the capability the reader may.
	expect loopctl set-block-size "${DEV}0" 512 --dev-mode ro = ok
	expect loopctl set-direct-io "${DEV}0" 0 --dev-mode ro = ok
	expect loopctl set-old-status "${DEV}0" --dev-mode ro = ok
	expect_equal "$(block_size) $(status_field "${DEV}0" offset)" "512 0" settings
	detach_by_ioctl "${DEV}0"
}

# ---- the old LOOP_SET_STATUS and LOOP_GET_STATUS --------------------------

old_status() {
	setup
	expect loopctl old-status "${DEV}0" = ENXIO
	expect loopctl set-old-status "${DEV}0" = ENXIO
	expect loopctl raw "${DEV}0" LOOP_SET_STATUS 8 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_GET_STATUS 0 = EINVAL
	configure "${DEV}0" "$A" --flags "$READ_ONLY" --offset 512 --sizelimit 65536 --name before
	expect loopctl raw "${DEV}0" LOOP_GET_STATUS 8 = EFAULT
	expect_equal "$(status_field "${DEV}0" offset old-status)" 512 offset
	expect_equal "$(status_field "${DEV}0" number old-status)" 0 number
	expect_equal "$(status_field "${DEV}0" flags old-status)" "$READ_ONLY" flags
	expect_equal "$(status_field "${DEV}0" name old-status)" before name
	expect_equal "$(status_field "${DEV}0" inode old-status)" "$(stat -c %i "$A")" inode
	expect_equal "$(status_field "${DEV}0" device old-status)" "$(status_field "${DEV}0" device)" device
	# The old one has no size limit.
	expect loopctl set-old-status "${DEV}0" --offset 8192 --name after = ok
	expect_equal "$(status_field "${DEV}0" offset) $(status_field "${DEV}0" sizelimit) $(status_field "${DEV}0" name)" "8192 0 after" settings
	expect_equal "$(sectors "${DEV}0")" 2032 sectors
	cmp "${DEV}0" <(tail -c +8193 "$A")
	# While it is open, nothing comes of autoclear.
	exec 7<"${DEV}0"
	expect loopctl set-old-status "${DEV}0" --flags 4 = ok
	expect_equal "$(status_field "${DEV}0" flags)" 5 flags
	expect loopctl set-old-status "${DEV}0" = ok
	expect_equal "$(status_field "${DEV}0" flags)" "$READ_ONLY" flags
	exec 7<&-
	detach_by_ioctl "${DEV}0"
}

# Its offset is an int.
old_offset() {
	setup
	configure "${DEV}0" "$A" --offset 512
	expect loopctl set-old-status "${DEV}0" --offset -512 = EOVERFLOW
	expect_equal "$(status_field "${DEV}0" offset)" 512 "offset after a negative one"
	expect_equal "$(sectors "${DEV}0")" 2047 sectors
	expect loopctl set-status "${DEV}0" --offset 0x7ffffe00 = ok
	expect_equal "$(status_field "${DEV}0" offset old-status)" $((0x7ffffe00)) offset
	expect loopctl set-status "${DEV}0" --offset 0x80000000 = ok
	expect loopctl old-status "${DEV}0" = EOVERFLOW
	expect_equal "$(status_field "${DEV}0" offset)" $((0x80000000)) offset
	expect loopctl set-status "${DEV}0" --offset 0x100000200 = ok
	expect loopctl old-status "${DEV}0" = EOVERFLOW
	detach_by_ioctl "${DEV}0"
}

# ---- size, sequence numbers -----------------------------------------------

resize_events() {
	local line count=0
	while IFS= read -r line; do
		[[ $line != RESIZE=1 ]] || count=$((count + 1))
	done <"$WORK/uevents"
	((count >= $1))
}

capacity() {
	setup
	truncate -s 4M "$WORK/fs"
	defer rm -f "$WORK/fs"
	mkfs.ext4 -q -b 1024 "$WORK/fs"
	mkdir -p "$WORK/mnt"
	udevadm settle
	udevadm monitor --kernel --property --subsystem-match=block >"$WORK/uevents" 2>&1 &
	defer stop_process "$!"
	wait_until 10 grep -q 'kernel uevent' "$WORK/uevents"
	expect loopctl set-capacity "${DEV}0" = ENXIO
	configure "${DEV}0" "$WORK/fs"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	expect loopctl set-block-size "${DEV}0" 4096 = EBUSY
	expect_equal "$(block_size)" 512 "logical_block_size of a mounted device"
	cp "$A" "$WORK/mnt/a"
	truncate -s 12M "$WORK/fs"
	expect_equal "$(sectors "${DEV}0")" 8192 "sectors before"
	losetup -c "${DEV}0"
	expect_equal "$(sectors "${DEV}0")" 24576 "sectors after"
	wait_until 5 resize_events 1 || fail "no uevent with RESIZE=1"
	resize2fs "${DEV}0" 2>/dev/null
	(($(stat -f -c %b "$WORK/mnt") > 10000)) || fail "the filesystem is as small as before"
	head -c 6M /dev/urandom >"$WORK/mnt/more"
	checksum "$WORK/mnt/more" >"$WORK/sum"
	umount "$WORK/mnt"
	e2fsck -fn "$WORK/fs" >"$WORK/fsck" 2>&1 || fail "$(<"$WORK/fsck")"
	mount "${DEV}0" "$WORK/mnt"
	checksum "$WORK/mnt/more" | cmp - "$WORK/sum"
	cmp "$A" "$WORK/mnt/a"
	umount "$WORK/mnt"
	detach_by_ioctl "${DEV}0"
}

shrinking() {
	setup
	cp "$A" "$WORK/target"
	defer rm -f "$WORK/target"
	configure "${DEV}0" "$WORK/target" --offset 4096
	truncate -s 512K "$WORK/target"
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 1016 sectors
	cmp "${DEV}0" <(tail -c +4097 "$WORK/target")
	truncate -s 1K "$WORK/target"
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 0 "sectors of a file that ends before its offset"
	truncate -s 1M "$WORK/target"
	expect loopctl set-status "${DEV}0" --offset 4096 --sizelimit 8192 = ok
	expect_equal "$(sectors "${DEV}0")" 16 "sectors under a limit"
	truncate -s 2M "$WORK/target"
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 16 "sectors under a limit"
	detach_by_ioctl "${DEV}0"
	expect_equal "$(sectors "${DEV}0")" 0 "sectors after detach"
}

# The sequence number tells whether a disk is still the same.
disk_sequence() {
	setup
	local last now i
	last=$(<"$DIR/diskseq")
	for ((i = 0; i < 2; i++)); do
		configure "${DEV}0" "$A"
		now=$(<"$DIR/diskseq")
		((now > last)) || fail "diskseq $last, $now after attach"
		last=$now
		expect loopctl set-status "${DEV}0" --name other = ok
		expect_equal "$(<"$DIR/diskseq")" "$last" "diskseq after a new name"
		udevadm settle
		detach_by_ioctl "${DEV}0"
		now=$(<"$DIR/diskseq")
		((now > last)) || fail "diskseq $last, $now after detach"
		last=$now
	done
	# A refused attach is no new disk.
	expect loopctl configure "${DEV}0" "$A" --flags 2 = EINVAL
	expect_equal "$(<"$DIR/diskseq")" "$last" "diskseq after a refused attach"
}

# The file is shared; detaching one device leaves it to the other.
one_file_twice() {
	setup
	cp "$A" "$WORK/target"
	defer rm -f "$WORK/target"
	configure "${DEV}0" "$WORK/target"
	configure "${DEV}1" "$WORK/target"
	dd if="$B" of="${DEV}0" bs=64K oflag=direct status=none
	dd if="${DEV}1" bs=64K iflag=direct status=none | cmp - "$B"
	udevadm settle
	detach_by_ioctl "${DEV}0"
	is_bound "${DEV}1" || fail "the second went with the first"
	dd if="$A" of="${DEV}1" bs=64K oflag=direct status=none
	cmp "$A" "$WORK/target"
	configure "${DEV}0" "$WORK/target"
	udevadm settle
	detach_by_ioctl "${DEV}1"
	dd if="$B" of="${DEV}0" bs=64K oflag=direct status=none
	cmp "$B" "$WORK/target"
	detach_by_ioctl "${DEV}0"
}

test_case "LOOP_SET_BLOCK_SIZE sets all valid block sizes" block_sizes
test_case "LOOP_SET_BLOCK_SIZE refuses others, and changes nothing" block_size_refused
test_case "LOOP_SET_BLOCK_SIZE under an exclusive owner fails with EBUSY" block_size_exclusive
test_case "LOOP_SET_BLOCK_SIZE writes back the page cache" block_size_writes_back
test_case "the page cache follows the offset of LOOP_SET_STATUS64" cache_follows_offset
test_case "LOOP_SET_STATUS64 with an offset writes back and drops the page cache of partitions" \
	partition_cache_follows_offset
test_case "LOOP_SET_DIRECT_IO switches the mode" direct_io
test_case "a file open for direct I/O switches it on, and it can be switched off" direct_descriptor
test_case "LOOP_SET_DIRECT_IO fails for a file without direct I/O" direct_unsupported
test_case "direct I/O needs blocks and an offset that the disk below takes" direct_alignment
test_case "LOOP_SET_DIRECT_IO works under I/O" direct_under_io
test_case "a reader without CAP_SYS_ADMIN changes nothing" not_admin
test_case "LOOP_GET_STATUS and LOOP_SET_STATUS show and change the settings" old_status
test_case "offsets beyond an int fail with EOVERFLOW in the old status" old_offset
test_case "a mounted device takes the size of a larger file" capacity
test_case "LOOP_SET_CAPACITY takes the size of a smaller file" shrinking
test_case "each attach and detach gives the disk a new sequence number" disk_sequence
test_case "two devices on one file are independent" one_file_twice

run_cases
