#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
#
# What cannot be attached is refused with the right errno, and leaves the
# device as it was.

. "$(dirname "$0")/lib.sh"

setup() {
	ensure_driver
	defer 'detach_quietly "${DEV}0"'
}

# Unbound, silent, and fit for the next attach.
untouched() {
	is_unbound "${DEV}0" || fail "the refused attach left a loop directory in sysfs"
	same "$(sectors "${DEV}0")" 0 sectors
	same "$(sysfs_attr "${DEV}0" ro)" 0 ro
	same "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "logical block size"
	expect ENXIO loopctl status "${DEV}0"
	uevents_work "${DEV}0"
	expect ok loopctl configure "${DEV}0" "$WORK/image"
	cmp "$WORK/image" "${DEV}0"
	expect ok loopctl clr-fd "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
}

# refused ERRNO FILE [loopctl options]
refused() {
	local want=$1 file=$2
	shift 2
	setup
	[[ $file != image ]] || file=$WORK/image
	expect "$want" loopctl configure "${DEV}0" "$file" "$@"
	untouched
}

set_fd_refused() {
	setup
	expect "$1" loopctl set-fd "${DEV}0" "$2" --file-mode ro
	untouched
}

# The C driver stops sending the device's uevents here.
bad_block_size() {
	local size
	[[ $DRIVER == rust_loop ]] || skip "the C driver leaves uevents suppressed"
	setup
	for size in 1 256 511 1234 131072 0x80000000; do
		expect EINVAL loopctl configure "${DEV}0" "$WORK/image" --block-size "$size"
		uevents_work "${DEV}0"
	done
	untouched
}

bad_block_size_errno() {
	local size
	setup
	for size in 1 256 511 1234 131072 0x80000000; do
		expect EINVAL loopctl configure "${DEV}0" "$WORK/image" --block-size "$size"
		expect ENXIO loopctl status "${DEV}0"
		same "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "logical block size"
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
	expect EINVAL loopctl configure "${DEV}0" "$WORK/fs/image" --flags 0x40
	expect EINVAL loopctl configure "${DEV}0" "$WORK/fs/image" --block-size 1234
	expect EOVERFLOW loopctl configure "${DEV}0" "$WORK/fs/image" --offset -1
	umount "$WORK/fs"
}

# Attached files are readable and writable whatever else they are.
accepted() {
	setup
	expect ok loopctl configure "${DEV}0" memfd
	same "$(sectors "${DEV}0")" 2048 sectors
	detach "${DEV}0"
	expect ok loopctl set-fd "${DEV}0" "$WORK/image"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
	expect ok loopctl configure "${DEV}0" "$WORK/image" --flags 5
	wait_until 10 is_unbound "${DEV}0" || fail "autoclear left it bound"
	uevents_work "${DEV}0"
}

# As the C driver has it, a write-only descriptor is one it reads through.
write_only() {
	setup
	expect ok loopctl configure "${DEV}0" "$WORK/image" --file-mode wo
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

twice() {
	setup
	random_file "$WORK/other" 64K
	defer 'rm -f "$WORK/other"'
	attach "${DEV}0" "$WORK/image"
	expect EBUSY loopctl configure "${DEV}0" "$WORK/other"
	expect EBUSY loopctl set-fd "${DEV}0" "$WORK/other"
	expect EBADF loopctl configure "${DEV}0" closed
	same "$(sysfs_attr "${DEV}0" loop/backing_file)" "$WORK/image" backing_file
	cmp "$WORK/image" "${DEV}0"
	uevents_work "${DEV}0"
	detach "${DEV}0"
}

# Somebody holds the device exclusively.
exclusive_owner() {
	setup
	python3 - "${DEV}0" "$WORK/image" <<-'PYTHON'
		import errno, fcntl, os, sys
		owner = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
		other = os.open(sys.argv[1], os.O_RDWR)
		backing = os.open(sys.argv[2], os.O_RDWR)
		try:
		    fcntl.ioctl(other, 0x4C00, backing)
		except OSError as error:
		    assert error.errno == errno.EBUSY, error
		else:
		    sys.exit("configured under an exclusive owner")
		fcntl.ioctl(owner, 0x4C00, backing)
		fcntl.ioctl(owner, 0x4C01, 0)
	PYTHON
	wait_until 10 is_unbound "${DEV}0"
	untouched
}

# One image and one listener for all.
random_file "$WORK/image" 256K
uevents_begin

it "directory" refused EINVAL /tmp --file-mode ro
it "socket" refused EINVAL socket
it "pipe" refused EINVAL pipe
it "closed file descriptor" refused EBADF closed
it "negative file descriptor" refused EBADF negative
it "O_PATH file descriptor" refused EBADF image --file-mode path
it "character device" refused EINVAL /dev/null
it "file without read_iter" refused EINVAL /proc/self/mem
it "write-only file descriptor" write_only
it "LOOP_SET_FD: directory" set_fd_refused EINVAL /tmp
it "LOOP_SET_FD: closed file descriptor" set_fd_refused EBADF closed
it "unknown flags" refused EINVAL image --flags 0x20
it "a flag that cannot be set" refused EINVAL image --flags 2
it "negative offset" refused EOVERFLOW image --offset -1
it "offset of 2^63" refused EOVERFLOW image --offset 0x8000000000000000
it "negative size limit" refused EOVERFLOW image --sizelimit -4096
it "encryption" refused EINVAL image --encrypt-type 1
it "unknown encryption" refused EINVAL image --encrypt-type 77
it "key longer than its field" refused EINVAL image --key-size 33
it "bad block sizes: errno and state" bad_block_size_errno
it "bad block sizes: uevents go on" bad_block_size
it "refused files are released" file_released
it "what is accepted" accepted
it "attached twice" twice
it "held exclusively by another" exclusive_owner

run
