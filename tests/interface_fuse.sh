#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: lifetime_stuck has devices on the same filesystem
#
# Files of a FUSE filesystem that belongs to another user. Root may have such a file open,
# and that is all: the kernel refuses to tell it of the file.

. "$(dirname "$0")/lib.sh"
need_loopctl

USER_ID=1000
STORE=$WORK/store
READ_ONLY=1

# foreign SIZE [option of fusefs.py...]
foreign() {
	ensure_driver
	random_file "$STORE" "$1"
	: >"$WORK/errors"
	fuse_new fuse "$STORE" --user "$USER_ID" --errors "$WORK/errors" "${@:2}"
	FILE=$WORK/fuse/file
	expect_failure stat "$FILE" 2>/dev/null
	defer detach_by_ioctl_quietly "${DEV}0"
}

configure() {
	expect loopctl configure "${DEV}0" "$FILE" --user "$USER_ID" "${@:2}" = "$1"
}

size_is_known() {
	foreign 1M
	configure ok
	expect_equal "$(sectors "${DEV}0")" 2048 sectors
	dd if="${DEV}0" bs=64K status=none | cmp - "$STORE"
	random_file "$WORK/data" 64K
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="${DEV}0" bs=64K seek=3 oflag=direct conv=fsync,notrunc status=none
	cmp -i 196608:0 -n 65536 "$STORE" "$WORK/data"
	detach_by_ioctl "${DEV}0"
}

status_is_known() {
	foreign 1M
	configure ok --name mine
	expect_equal "$(status_field "${DEV}0" inode)" 2 "inode"
	expect_equal "$(status_field "${DEV}0" name)" mine "name"
	[[ $(status_field "${DEV}0" device) != 0 ]] || fail "no number of the filesystem"
	losetup "${DEV}0" >"$WORK/listed"
	detach_by_ioctl "${DEV}0"
}

size_is_asked_again() {
	foreign 1M
	configure ok
	expect loopctl set-status "${DEV}0" --offset 4096 = ok
	expect_equal "$(sectors "${DEV}0")" 2040 "sectors at an offset"
	expect loopctl set-capacity "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 2040 "sectors, asked again"
	expect loopctl set-block-size "${DEV}0" 4096 = ok
	expect_equal "$(sectors "${DEV}0")" 2040 "sectors of whole blocks"
	detach_by_ioctl "${DEV}0"
}

changed() {
	foreign 1M
	configure ok --flags "$READ_ONLY"
	expect loopctl change-fd "${DEV}0" "$FILE" --user "$USER_ID" = ok
	random_file "$WORK/other" 2M
	defer rm -f "$WORK/other"
	expect loopctl change-fd "${DEV}0" "$WORK/other" = EINVAL
	dd if="${DEV}0" bs=64K status=none | cmp - "$STORE"
	detach_by_ioctl "${DEV}0"
}

granularity_is_known() {
	foreign 1M
	configure ok
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_granularity)" 4096 discard_granularity
	blkdiscard -o 64K -l 64K "${DEV}0"
	cmp -i 65536:0 -n 65536 "$STORE" /dev/zero
	detach_by_ioctl "${DEV}0"
}

# A server may say that blocks have any size.
odd_granularity() {
	ensure_driver
	random_file "$STORE" 1M
	fuse_new fuse "$STORE" --block-size 3000
	FILE=$WORK/fuse/file
	defer detach_by_ioctl_quietly "${DEV}0"
	expect loopctl configure "${DEV}0" "$FILE" = ok
	expect_equal "$(sysfs_attr "${DEV}0" queue/discard_granularity)" 4096 discard_granularity
	detach_by_ioctl "${DEV}0"
}

# All else but a refusal is an error, and nothing has changed.
size_is_an_error() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver takes 0 for the size"
	ensure_driver
	random_file "$STORE" 1M
	: >"$WORK/errors"
	fuse_new fuse "$STORE" --valid 0 --errors "$WORK/errors"
	FILE=$WORK/fuse/file
	defer detach_by_ioctl_quietly "${DEV}0"
	exec 8<>"$FILE"
	defer close_fd 8
	echo "getattr EIO" >"$WORK/errors"
	expect loopctl configure "${DEV}0" "/proc/$BASHPID/fd/8" = EIO
	is_unbound "${DEV}0" || fail "bound"
	expect_equal "$(sectors "${DEV}0")" 0 "sectors, unbound"
	: >"$WORK/errors"
	expect loopctl configure "${DEV}0" "$FILE" = ok
	expect_equal "$(sectors "${DEV}0")" 2048 sectors
	echo "getattr EIO" >"$WORK/errors"
	expect loopctl set-capacity "${DEV}0" = EIO
	expect loopctl set-status "${DEV}0" --offset 4096 = EIO
	expect_equal "$(sectors "${DEV}0")" 2048 "sectors after errors"
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "logical_block_size after errors"
	expect_equal "$(sysfs_attr "${DEV}0" loop/offset)" 0 "offset after errors"
	: >"$WORK/errors"
	dd if="${DEV}0" bs=64K status=none | cmp - "$STORE"
	detach_by_ioctl "${DEV}0"
}

test_case "a file that root may not look at has its size" size_is_known
test_case "a file that root may not look at has a status" status_is_known
test_case "the size of such a file is asked again when settings change" size_is_asked_again
test_case "such a file can be exchanged for itself" changed
test_case "a device of such a file has a discard granularity" granularity_is_known
test_case "an odd block size of the server is no discard granularity" odd_granularity
test_case "an error of the server asked for the size is passed on, and nothing changes" size_is_an_error

run_cases
