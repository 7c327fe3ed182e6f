#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1536
# leaks: no
# debug: memory_swap and lifetime_detach have filesystems on devices
#
# Filesystems on the device keep what was stored in them.

. "$(dirname "$0")/lib.sh"

files=200
[[ $KERNEL == stock ]] || files=60

populate() {
	"$PROGRAMS/populate.py" "$1" "$files"
	random_file "$1/large" 6M
	ln -s large "$1/link"
	ln "$1/large" "$1/hard"
	truncate -s 5M "$1/sparse"
	echo end >>"$1/sparse"
}

sums() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

filesystem() {
	local type=$1 fsck=$2
	need_command "mkfs.$type"
	need_module "$type"
	ensure_driver
	truncate -s 320M "$WORK/image"
	mkdir -p "$WORK/mnt"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	"mkfs.$type" -q "${DEV}0"
	defer unmount_quietly "$WORK/mnt"
	mount "${DEV}0" "$WORK/mnt"
	populate "$WORK/mnt"
	sums "$WORK/mnt" >"$WORK/sums"
	fstrim "$WORK/mnt"
	umount "$WORK/mnt"
	$fsck "${DEV}0"

	# Again from another device: nothing may have stayed behind in the first.
	detach "${DEV}0"
	attach "${DEV}1" "$WORK/image"
	$fsck "${DEV}1"
	mount -o ro "${DEV}1" "$WORK/mnt"
	sums "$WORK/mnt" | cmp - "$WORK/sums"
	umount "$WORK/mnt"
	detach "${DEV}1"
}

test_case "ext4 is clean and has its files after a new attach" on_stock filesystem ext4 "fsck.ext4 -fn"
test_case "xfs is clean and has its files after a new attach" filesystem xfs "xfs_repair -n"

run_cases
