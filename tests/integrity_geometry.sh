#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# The device shows exactly the part of the file it was asked to show.

. "$(dirname "$0")/lib.sh"

image() {
	random_file "$WORK/image" "$1"
	defer 'rm -f "$WORK/image"'
}

# window FILE-SIZE OFFSET SIZELIMIT SECTORS
window() {
	local size=$1 offset=$2 limit=$3 want=$4
	ensure_driver
	image "$size"
	attach "${DEV}0" -o "$offset" --sizelimit "$limit" "$WORK/image"
	same "$(sectors "${DEV}0")" "$want" "sectors"
	same "$(sysfs_attr "${DEV}0" loop/offset)" "$offset" "loop/offset"
	same "$(sysfs_attr "${DEV}0" loop/sizelimit)" "$limit" "loop/sizelimit"
	tail -c +$((offset + 1)) "$WORK/image" | head -c $((want * 512)) >"$WORK/part"
	defer 'rm -f "$WORK/part"'
	cmp "$WORK/part" "${DEV}0"
	detach "${DEV}0"
}

write_window() {
	ensure_driver
	image 1M
	cp "$WORK/image" "$WORK/model"
	random_file "$WORK/data" 64K
	defer 'rm -f "$WORK/model" "$WORK/data"'
	attach "${DEV}0" -o 1536 --sizelimit 65536 "$WORK/image"
	dd if="$WORK/data" of="${DEV}0" bs=64K oflag=direct conv=fsync status=none
	must_fail dd if=/dev/zero of="${DEV}0" bs=512 seek=128 count=1 oflag=direct status=none
	detach "${DEV}0"
	dd if="$WORK/data" of="$WORK/model" bs=512 seek=3 conv=notrunc status=none
	cmp "$WORK/model" "$WORK/image"
}

empty() {
	ensure_driver
	: >"$WORK/image"
	defer 'rm -f "$WORK/image"'
	attach "${DEV}0" "$WORK/image"
	same "$(sectors "${DEV}0")" 0 "sectors"
	same "$(wc -c <"${DEV}0")" 0 "bytes read"
	detach "${DEV}0"
}

read_only() {
	ensure_driver
	image 1M
	local before
	before=$(checksum "$WORK/image")
	attach "${DEV}0" -r "$WORK/image"
	same "$(sysfs_attr "${DEV}0" ro)" 1 "ro"
	must_fail dd if=/dev/zero of="${DEV}0" bs=4k count=1 oflag=direct status=none
	must_fail blkdiscard -f "${DEV}0"
	must_fail blkdiscard -fz "${DEV}0"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
	same "$(checksum "$WORK/image")" "$before" "checksum of the image"
	attach "${DEV}0" "$WORK/image"
	same "$(sysfs_attr "${DEV}0" ro)" 0 "ro of a later attach"
	detach "${DEV}0"
}

# A read-only file descriptor makes the device read-only without being asked.
read_only_file() {
	ensure_driver
	image 1M
	defer 'detach_quietly "${DEV}0"'
	expect ok loopctl configure "${DEV}0" "$WORK/image" --file-mode ro
	same "$(sysfs_attr "${DEV}0" ro)" 1 "ro"
	must_fail dd if=/dev/zero of="${DEV}0" bs=4k count=1 oflag=direct status=none
	detach "${DEV}0"
}

# The file is cut while attached: what is left reads well, the rest is an
# error and no stale memory.
truncated() {
	ensure_driver
	image 1M
	cp "$WORK/image" "$WORK/model"
	defer 'rm -f "$WORK/model"'
	attach "${DEV}0" "$WORK/image"
	truncate -s 522752 "$WORK/image"
	dd if="${DEV}0" bs=512 count=1021 iflag=direct status=none |
		cmp -n 522752 - "$WORK/model"
	must_fail dd if="${DEV}0" of=/dev/null bs=4k skip=200 count=1 iflag=direct status=none
	must_fail dd if="${DEV}0" of=/dev/null bs=64k skip=7 count=1 iflag=direct status=none
	detach "${DEV}0"
}

it "whole file" window 1M 0 0 2048
it "file of an odd size" window 1000001 0 0 1953
it "file smaller than a sector" window 300 0 0 0
it "empty file" empty
it "offset" window 1M 4096 0 2040
it "offset not a multiple of the sector" window 1M 1000 0 2046
it "size limit" window 1M 0 100000 195
it "offset and size limit" window 1M 512 8192 16
it "size limit beyond the end" window 1M 4096 99999999 2040
it "offset beyond the end" window 64K 1048576 0 0
it "writes stay inside the window" write_window
it "read-only attach" read_only
it "read-only backing file descriptor" read_only_file
it "file truncated while attached" truncated

run
