#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random has the same attaches refused
#
# Refused attaches give the right errno, and leave the device as it was.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	defer detach_quietly "${DEV}0"
}

# Unbound, silent, and fit for the next attach.
untouched() {
	is_unbound "${DEV}0" || fail "the refused attach left a loop directory in sysfs"
	expect_equal "$(sectors "${DEV}0")" 0 sectors
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 0 ro
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "logical block size"
	expect loopctl status "${DEV}0" = ENXIO
	uevents_work "${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" = ok
	cmp "$WORK/image" "${DEV}0"
	expect loopctl clr-fd "${DEV}0" = ok
	wait_until 10 is_unbound "${DEV}0"
}

# refused ERRNO FILE [loopctl options]
refused() {
	local want=$1 file=$2
	shift 2
	setup
	[[ $file != image ]] || file=$WORK/image
	expect loopctl configure "${DEV}0" "$file" "$@" = "$want"
	untouched
}

set_fd_refused() {
	setup
	expect loopctl set-fd "${DEV}0" "$2" --file-mode ro = "$1"
	untouched
}

# The C driver stops sending the device's uevents here.
bad_block_size() {
	local size
	[[ $DRIVER == rust_loop ]] || skip "the C driver leaves uevents suppressed"
	setup
	for size in 1 256 511 1234 131072 0x80000000; do
		expect loopctl configure "${DEV}0" "$WORK/image" --block-size "$size" = EINVAL
		uevents_work "${DEV}0"
	done
	untouched
}

bad_block_size_errno() {
	local size
	setup
	for size in 1 256 511 1234 131072 0x80000000; do
		expect loopctl configure "${DEV}0" "$WORK/image" --block-size "$size" = EINVAL
		expect loopctl status "${DEV}0" = ENXIO
		expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "logical block size"
	done
	# No reference to the file is left.
	losetup "${DEV}0" "$WORK/image"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

# A refused attach must not hold the file.
file_released() {
	setup
	mkdir "$WORK/fs"
	mount -t tmpfs none "$WORK/fs"
	truncate -s 1M "$WORK/fs/image"
	expect loopctl configure "${DEV}0" "$WORK/fs/image" --flags 0x40 = EINVAL
	expect loopctl configure "${DEV}0" "$WORK/fs/image" --block-size 1234 = EINVAL
	expect loopctl configure "${DEV}0" "$WORK/fs/image" --offset -1 = EOVERFLOW
	umount "$WORK/fs"
}

# Attached files are readable and writable whatever else they are.
accepted() {
	setup
	expect loopctl configure "${DEV}0" memfd = ok
	expect_equal "$(sectors "${DEV}0")" 2048 sectors
	detach "${DEV}0"
	expect loopctl set-fd "${DEV}0" "$WORK/image" = ok
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" --flags 5 = ok
	wait_until 10 is_unbound "${DEV}0" || fail "autoclear left it bound"
	uevents_work "${DEV}0"
}

# As in the C driver, the device reads through a write-only descriptor.
write_only() {
	setup
	expect loopctl configure "${DEV}0" "$WORK/image" --file-mode wo = ok
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

twice() {
	setup
	random_file "$WORK/other" 64K
	defer rm -f "$WORK/other"
	attach "${DEV}0" "$WORK/image"
	expect loopctl configure "${DEV}0" "$WORK/other" = EBUSY
	expect loopctl set-fd "${DEV}0" "$WORK/other" = EBUSY
	expect loopctl configure "${DEV}0" closed = EBADF
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" "$WORK/image" backing_file
	cmp "$WORK/image" "${DEV}0"
	uevents_work "${DEV}0"
	detach "${DEV}0"
}

# Another opener holds the device exclusively.
exclusive_owner() {
	setup
	"$PROGRAMS/exclusive_owner.py" "${DEV}0" "$WORK/image"
	wait_until 10 is_unbound "${DEV}0"
	untouched
}

# One image and one listener for all.
random_file "$WORK/image" 256K
uevents_begin

test_case "a directory is refused with EINVAL" refused EINVAL /tmp --file-mode ro
test_case "a socket is refused with EINVAL" refused EINVAL socket
test_case "a pipe is refused with EINVAL" refused EINVAL pipe
test_case "a closed file descriptor is refused with EBADF" refused EBADF closed
test_case "a negative file descriptor is refused with EBADF" refused EBADF negative
test_case "an O_PATH file descriptor is refused with EBADF" refused EBADF image --file-mode path
test_case "a character device is refused with EINVAL" refused EINVAL /dev/null
test_case "a file without read_iter is refused with EINVAL" refused EINVAL /proc/self/mem
test_case "a write-only file descriptor is accepted" write_only
test_case "LOOP_SET_FD refuses a directory with EINVAL" set_fd_refused EINVAL /tmp
test_case "LOOP_SET_FD refuses a closed file descriptor with EBADF" set_fd_refused EBADF closed
test_case "unknown flags are refused with EINVAL" refused EINVAL image --flags 0x20
test_case "a flag that cannot be set is refused with EINVAL" refused EINVAL image --flags 2
test_case "a negative offset is refused with EOVERFLOW" refused EOVERFLOW image --offset -1
test_case "an offset of 2^63 is refused with EOVERFLOW" refused EOVERFLOW image --offset 0x8000000000000000
test_case "a negative size limit is refused with EOVERFLOW" refused EOVERFLOW image --sizelimit -4096
test_case "encryption is refused with EINVAL" refused EINVAL image --encrypt-type 1
test_case "unknown encryption is refused with EINVAL" refused EINVAL image --encrypt-type 77
test_case "a key longer than its field is refused with EINVAL" refused EINVAL image --key-size 33
test_case "bad block sizes are refused and leave nothing behind" bad_block_size_errno
test_case "bad block sizes do not suppress uevents" bad_block_size
test_case "refused files are released" file_released
test_case "memfds, LOOP_SET_FD and flags that can be set are accepted" accepted
test_case "a second attach fails with EBUSY" twice
test_case "attaching under an exclusive owner fails with EBUSY" exclusive_owner

run_cases
