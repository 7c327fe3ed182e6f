#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random sets the same geometries
#
# The device shows exactly the part of the file it was asked to show.

. "$(dirname "$0")/lib.sh"
need_loopctl

image() {
	random_file "$WORK/image" "$1"
	defer rm -f "$WORK/image"
}

# window FILE-SIZE OFFSET SIZELIMIT SECTORS
window() {
	local size=$1 offset=$2 limit=$3 want=$4
	ensure_driver
	image "$size"
	attach "${DEV}0" -o "$offset" --sizelimit "$limit" "$WORK/image"
	expect_equal "$(sectors "${DEV}0")" "$want" "sectors"
	expect_equal "$(sysfs_attr "${DEV}0" loop/offset)" "$offset" "loop/offset"
	expect_equal "$(sysfs_attr "${DEV}0" loop/sizelimit)" "$limit" "loop/sizelimit"
	tail -c +$((offset + 1)) "$WORK/image" | head -c $((want * 512)) >"$WORK/part"
	defer rm -f "$WORK/part"
	cmp "$WORK/part" "${DEV}0"
	detach "${DEV}0"
}

# block_window FILE-SIZE BLOCK-SIZE SECTORS [option...]: whole blocks are shown. losetup
# would look whether the whole of a window is shown, and give up.
block_window() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver shows the end of a block, too"
	local size=$1 block=$2 want=$3 offset
	shift 3
	ensure_driver
	image "$size"
	defer detach_by_ioctl_quietly "${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" --block-size "$block" "$@" = ok
	expect_equal "$(sectors "${DEV}0")" "$want" "sectors"
	offset=$(sysfs_attr "${DEV}0" loop/offset)
	tail -c +$((offset + 1)) "$WORK/image" | head -c $((want * 512)) >"$WORK/part"
	defer rm -f "$WORK/part"
	cmp "$WORK/part" "${DEV}0"
	# The last sector can be written, past the page cache and through it.
	dd if=/dev/zero of="${DEV}0" bs="$block" seek=$((want * 512 / block - 1)) count=1 \
		oflag=direct conv=notrunc,fsync status=none
	dd if=/dev/zero of="${DEV}0" bs=512 seek=$((want - 1)) count=1 conv=notrunc,fsync status=none
	blkid -p "${DEV}0" || true
	expect_equal "$(log_count "error on dev ${PREFIX}0")" 0 "errors in the log"
	detach "${DEV}0"
}

# After a change of the size or of the blocks, whole blocks are shown.
blocks_change() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver shows the end of a block, too"
	ensure_driver
	image 1050112
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(sectors "${DEV}0")" 2051 "sectors"
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	expect_equal "$(sectors "${DEV}0")" 2048 "sectors, 4096-byte blocks"
	expect loopctl set-status "${DEV}0" --offset 512 = ok
	expect_equal "$(sectors "${DEV}0")" 2048 "sectors at offset 512"
	expect loopctl set-status "${DEV}0" --offset 2048 = ok
	expect_equal "$(sectors "${DEV}0")" 2040 "sectors at offset 2048"
	expect loopctl set-status "${DEV}0" --sizelimit 100000 = ok
	expect_equal "$(sectors "${DEV}0")" 192 "sectors of 100000 bytes"
	expect loopctl set-status "${DEV}0" = ok
	truncate -s 1056767 "$WORK/image"
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 2056 "sectors of 1056767 bytes"
	expect loopctl set-block-size "${DEV}0" 1024 = ok
	expect_equal "$(sectors "${DEV}0")" 2062 "sectors, 1024-byte blocks"
	expect loopctl set-block-size "${DEV}0" 512 = ok
	expect_equal "$(sectors "${DEV}0")" 2063 "sectors, 512-byte blocks"
	detach "${DEV}0"
}

# Files are as large if they show as many blocks.
blocks_of_another_file() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver compares sectors"
	ensure_driver
	image 1050112
	random_file "$WORK/other" 1048576
	random_file "$WORK/small" 1048064
	defer rm -f "$WORK/other" "$WORK/small"
	attach "${DEV}0" -r -b 4096 "$WORK/image"
	expect loopctl change-fd "${DEV}0" "$WORK/small" = EINVAL
	expect loopctl change-fd "${DEV}0" "$WORK/other" = ok
	cmp "$WORK/other" "${DEV}0"
	detach "${DEV}0"
}

write_window() {
	ensure_driver
	image 1M
	cp "$WORK/image" "$WORK/model"
	random_file "$WORK/data" 64K
	defer rm -f "$WORK/model" "$WORK/data"
	attach "${DEV}0" -o 1536 --sizelimit 65536 "$WORK/image"
	dd if="$WORK/data" of="${DEV}0" bs=64K oflag=direct conv=fsync status=none
	expect_failure dd if=/dev/zero of="${DEV}0" bs=512 seek=128 count=1 oflag=direct status=none
	detach "${DEV}0"
	dd if="$WORK/data" of="$WORK/model" bs=512 seek=3 conv=notrunc status=none
	cmp "$WORK/model" "$WORK/image"
}

empty() {
	ensure_driver
	: >"$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(sectors "${DEV}0")" 0 "sectors"
	expect_equal "$(wc -c <"${DEV}0")" 0 "bytes read"
	detach "${DEV}0"
}

read_only() {
	ensure_driver
	image 1M
	local before
	before=$(checksum "$WORK/image")
	attach "${DEV}0" -r "$WORK/image"
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 1 "ro"
	expect_failure dd if=/dev/zero of="${DEV}0" bs=4k count=1 oflag=direct status=none
	expect_failure blkdiscard -f "${DEV}0"
	expect_failure blkdiscard -fz "${DEV}0"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
	expect_equal "$(checksum "$WORK/image")" "$before" "checksum of the image"
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 0 "ro of a later attach"
	detach "${DEV}0"
}

# A read-only file descriptor makes the device read-only without being asked.
read_only_file() {
	ensure_driver
	image 1M
	defer detach_quietly "${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" --file-mode ro = ok
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 1 "ro"
	expect_failure dd if=/dev/zero of="${DEV}0" bs=4k count=1 oflag=direct status=none
	detach "${DEV}0"
}

# The file is cut while attached: what is left reads well, the rest is an
# error and no stale memory.
truncated() {
	ensure_driver
	image 1M
	cp "$WORK/image" "$WORK/model"
	defer rm -f "$WORK/model"
	attach "${DEV}0" "$WORK/image"
	truncate -s 522752 "$WORK/image"
	dd if="${DEV}0" bs=512 count=1021 iflag=direct status=none |
		cmp -n 522752 - "$WORK/model"
	expect_failure dd if="${DEV}0" of=/dev/null bs=4k skip=200 count=1 iflag=direct status=none
	expect_failure dd if="${DEV}0" of=/dev/null bs=64k skip=7 count=1 iflag=direct status=none
	detach "${DEV}0"
}

test_case "the whole file is shown" window 1M 0 0 2048
test_case "whole sectors of a file of an odd size are shown" window 1000001 0 0 1953
test_case "a file smaller than a sector shows none" window 300 0 0 0
test_case "an empty file shows no sector" empty
test_case "the file is shown from an offset on" window 1M 4096 0 2040
test_case "the file is shown from an offset that is no multiple of a sector" window 1M 1000 0 2046
test_case "the file is shown up to a size limit" window 1M 0 100000 195
test_case "the file is shown between an offset and a size limit" window 1M 512 8192 16
test_case "a size limit beyond the end shows the file to its end" window 1M 4096 99999999 2040
test_case "an offset beyond the end shows no sector" window 64K 1048576 0 0
test_case "only whole blocks of 4096 bytes are shown" block_window 1050112 4096 2048
test_case "only whole blocks of 1024 bytes are shown, at an odd offset" block_window 1050112 1024 2048 --offset 1000
test_case "only whole blocks within a size limit are shown" block_window 1M 4096 192 --sizelimit 100000
test_case "only whole blocks are shown after a change of size or blocks" blocks_change
test_case "LOOP_CHANGE_FD compares whole blocks" blocks_of_another_file
test_case "writes stay inside the window" write_window
test_case "a device attached read-only refuses writes" read_only
test_case "a read-only file descriptor makes the device read-only" read_only_file
test_case "reads beyond the end of a truncated file fail" truncated

run_cases
