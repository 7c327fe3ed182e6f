# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A guest that has busybox only, for kernels for which no userland is prepared. Its first process
# is scripts/guest/small, which prints TAP on the console.

# small_initramfs FILE BUSYBOX PROGRAM...: with the modules and programs in /programs.
small_initramfs() {
	local file=$1 busybox=$2 work

	shift 2
	work=$(mktemp -d "$CACHE/tmp/small.XXXXXX")
	mkdir -p "$work"/{bin,programs}
	cp "$busybox" "$work/bin/"
	cp "$@" "$work/programs/"
	cp "$TOP/scripts/guest/small" "$work/init"
	(cd "$work" && find . | cpio --quiet -o -H newc -R 0:0) >"$file"
	rm -rf "$work"
}

# small_boot CONSOLE APPEND QEMU...: boot, and print the results. The status is 1 if the guest
# did not end.
small_boot() {
	local console=$1 append=$2

	shift 2
	timeout -k 5 900 "$@" -nodefaults -no-user-config -display none -no-reboot \
		-append "$append ignore_loglevel panic=-1 oops=panic cryptomgr.notests=1 rdinit=/init" \
		-serial "file:$console" </dev/null || say "the emulator exited with $?"
	tr -d '\r' <"$console" | grep -E '^(ok|not ok|guest:)' || :
	grep -q '^guest: done' "$console"
}

# small_count PATTERN CONSOLE...
small_count() {
	cat -- "${@:2}" | grep -c "$1" || :
}
