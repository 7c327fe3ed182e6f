#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 512M
# leaks: no
# debug: badstorage_failing takes the same ways
#
# The user of a device is told why the file below has failed, in the words that block
# devices have, and nothing that means something else there.

. "$(dirname "$0")/lib.sh"
need_loopctl

# Words of block devices, or as good as one.
PASSED=(ENOSPC ETIMEDOUT ENOLINK EREMOTEIO EBADE ENODATA EILSEQ ENODEV ETIME)
# All else that filesystems are known to say, and what the block layer would take for one
# of its own states.
OTHERS=(
	EIO EROFS EPERM EACCES EFBIG ENXIO ESTALE EUCLEAN EBADMSG ENOTCONN ECONNABORTED
	ECONNRESET EHOSTDOWN ESHUTDOWN ETXTBSY EINTR EBADF EFAULT ELOOP ENOENT ENOTTY
	EREMCHG ETOOMANYREFS EOVERFLOW
)

on_fuse() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver passes on what it gets, or says EIO"
	ensure_driver
	truncate -s 1M "$WORK/store"
	: >"$WORK/errors"
	fuse_new fuse "$WORK/store" --direct --errors "$WORK/errors"
	attach "${DEV}0" "$WORK/fuse/file"
	udevadm settle
}

# told OPERATION, with lines "ERRNO RESULT" at stdin
told() {
	cat >"$WORK/want"
	local names
	mapfile -t names < <(cut -d' ' -f1 "$WORK/want")
	"$PROGRAMS/errnos.py" "${DEV}0" "$WORK/errors" "$1" "${names[@]}" >"$WORK/got"
	diff "$WORK/want" "$WORK/got"
}

table() {
	local name
	for name in "${PASSED[@]}"; do
		echo "$name $name"
	done
	echo "EDQUOT ENOSPC"
	for name in "${OTHERS[@]}"; do
		echo "$name EIO"
	done
}

transfer() {
	on_fuse
	[[ $2 != direct ]] || expect loopctl set-direct-io "${DEV}0" 1 = ok
	{ table; printf '%s EIO\n' EINVAL EBUSY EOPNOTSUPP; } | told "$1"
	[[ $2 != direct ]] || expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	detach "${DEV}0"
}

# Nothing that keeps a flush from being done is a success.
flush() {
	on_fuse
	{ table; printf '%s EIO\n' EINVAL EBUSY EOPNOTSUPP; } | told fsync
	detach "${DEV}0"
}

# EINVAL and EBUSY are no errors: zeroes are written instead, a discard is not done.
zeroing() {
	on_fuse
	{ table; printf '%s ok\n' EINVAL EBUSY; } | told zero
	detach "${DEV}0"
}

discarding() {
	on_fuse
	{ table; printf '%s ok\n' EINVAL EBUSY; } | told punch
	(($(sysfs_attr "${DEV}0" queue/discard_max_bytes) > 0)) || fail "discard has been switched off"
	detach "${DEV}0"
}

# Turning on direct I/O has found that something is lost; the next flush tells what.
lost_at_mode_change() {
	on_fuse
	echo "fsync EDQUOT" >"$WORK/errors"
	expect loopctl set-direct-io "${DEV}0" 1 = ok
	: >"$WORK/errors"
	expect_failure dd if=/dev/null of="${DEV}0" conv=fsync,notrunc status=none 2>"$WORK/error"
	grep 'No space left on device' "$WORK/error"
	dd if=/dev/null of="${DEV}0" conv=fsync,notrunc status=none
	detach "${DEV}0"
}

# ---- quotas ------------------------------------------------------------------

# over_quota: the file below may take 8 MiB.
over_quota() {
	image=$WORK/fs/image
	attach "${DEV}0" "$image"
	random_file "$WORK/data" 16M
	defer rm -f "$WORK/data"
	expect_failure dd if="$WORK/data" of="${DEV}0" bs=64K "$@" status=none 2>"$WORK/error"
	cat "$WORK/error"
	grep -q 'No space left on device' "$WORK/error" || fail "not ENOSPC"
	cmp -n 1048576 "$WORK/data" "$image"
	detach "${DEV}0"
}

quota_xfs() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver says EDQUOT"
	ensure_driver
	need_command xfs_quota
	need_module xfs
	mkfs.xfs -q -f /dev/vdb
	rm -f "$WORK/disk_made"
	mkdir -p "$WORK/fs"
	mount -o uquota /dev/vdb "$WORK/fs"
	defer umount "$WORK/fs"
	xfs_quota -x -c 'limit -u bhard=8m 1000' "$WORK/fs"
	truncate -s 32M "$WORK/fs/image"
	chown 1000 "$WORK/fs/image"
	over_quota "$@"
}

quota_btrfs() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver says EDQUOT"
	ensure_driver
	need_command mkfs.btrfs
	need_module btrfs
	mkfs.btrfs -q -f /dev/vdb
	rm -f "$WORK/disk_made"
	mkdir -p "$WORK/fs"
	mount /dev/vdb "$WORK/fs"
	defer umount "$WORK/fs"
	btrfs -q quota enable "$WORK/fs"
	btrfs -q qgroup limit 8M "$WORK/fs"
	truncate -s 32M "$WORK/fs/image"
	over_quota "$@"
}

# ---- a file that cannot be written any more -----------------------------------

# ext4 has found an error and refuses all writes since.
read_only_since() {
	ensure_driver
	mkfs.ext4 -q -F /dev/vdb 64M
	rm -f "$WORK/disk_made"
	mkdir -p "$WORK/fs"
	mount -o errors=remount-ro /dev/vdb "$WORK/fs"
	defer umount "$WORK/fs"
	[[ -w /sys/fs/ext4/vdb/trigger_fs_error ]] || skip "no trigger_fs_error"
	random_file "$WORK/fs/image" 1M
	sync -f "$WORK/fs"
	attach "${DEV}0" "$WORK/fs/image"
	echo test >/sys/fs/ext4/vdb/trigger_fs_error
	expect_failure dd if=/dev/zero of="${DEV}0" bs=64K count=1 oflag=direct status=none 2>"$WORK/error"
	cat "$WORK/error"
	grep -q 'Input/output error' "$WORK/error" || fail "not EIO"
	dd if="${DEV}0" bs=64K iflag=direct status=none | cmp - "$WORK/fs/image"
	detach "${DEV}0"
}

test_case "reads fail with an errno of block devices, buffered" transfer read buffered
test_case "reads fail with an errno of block devices, direct" transfer read direct
test_case "writes fail with an errno of block devices, buffered" transfer write buffered
test_case "writes fail with an errno of block devices, direct" transfer write direct
test_case "a flush fails with an errno of block devices" flush
test_case "zeroing fails with an errno of block devices, or writes zeroes" zeroing
test_case "a discard fails with an errno of block devices, or is not done" discarding
test_case "the next flush reports what was lost at a change of the mode" lost_at_mode_change
test_case "a file over its quota is reported as ENOSPC, xfs" on_stock quota_xfs oflag=direct
test_case "a file over its quota is reported as ENOSPC, btrfs" on_stock quota_btrfs oflag=direct
test_case "writes to a file on ext4 that has become read-only fail with EIO" read_only_since

run_cases
