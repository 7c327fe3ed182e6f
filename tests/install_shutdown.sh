#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --disk 256M
# kernels: stock
#
# The hook of system-shutdown: at power-off the filesystem with the backing files
# becomes read-only, with a clean journal.

. "$(dirname "$0")/lib.sh"

need_rust_loop_here() {
	[[ $DRIVER == rust_loop ]] || skip_all "systemd detaches loopN itself"
}

# The disk as a root directory, with this system's programs.
make_root() {
	local dir
	mount_disk
	for dir in usr dev sys proc; do
		mkdir "$WORK/fs/$dir"
		mount --bind "/$dir" "$WORK/fs/$dir"
		defer umount "$WORK/fs/$dir"
	done
	ln -s usr/bin usr/lib usr/lib64 usr/sbin "$WORK/fs/"
}

is_read_only() {
	[[ $(findmnt -no FS-OPTIONS /dev/vdb) =~ ^ro(,|$) ]]
}

root_becomes_read_only() {
	ensure_driver
	make_root
	cp "$TESTS/../packaging/rust-loop.shutdown" "$WORK/fs/hook"
	truncate -s 32M "$WORK/fs/lower.img"
	attach "${DEV}0" "$WORK/fs/lower.img"
	attach "${DEV}1" "${DEV}0"
	attach "${DEV}2" "$WORK/fs/lower.img"
	udevadm settle
	expect_failure mount -o remount,ro "$WORK/fs"
	chroot "$WORK/fs" /hook poweroff
	is_unbound "${DEV}0" || fail "${DEV}0 is still attached"
	is_unbound "${DEV}1" || fail "${DEV}1 is still attached"
	is_read_only || fail "the filesystem is still writable"
	! dumpe2fs -h /dev/vdb 2>/dev/null | grep needs_recovery ||
		fail "the journal needs recovery"
}

need_rust_loop_here
test_case "devices in a stack are detached, and the root is clean" root_becomes_read_only
run_cases
