#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 512M --disk 192M
# leaks: no
# timeout: 600 1800
#
# A device is where memory goes when there is none: swap, and a filesystem that is
# written to meanwhile, in a guest that has far less memory than it uses.

. "$(dirname "$0")/lib.sh"

# Memory of the guest, in MiB, while a hog uses HOG of it and the swap. The debug kernel
# itself takes more.
HOG=128 FILE=12M
[[ $KERNEL == stock ]] || HOG=72 FILE=4M

setup() {
	ensure_driver
	mount_disk
	# Written, not only allocated: at the end of each direct write to what is not, ext4
	# changes metadata and allocates memory for that, which may be what swap is for.
	[[ $1 != */swap || -e $1 ]] || dd if=/dev/zero of="$1" bs=1M count=192 conv=fsync status=none
	[[ -e $WORK/fs/image ]] || fallocate -l 128M "$WORK/fs/image"
}

# lock_up: take memory away until little is left, in a file of ramfs.
lock_up() {
	local free
	mkdir -p "$WORK/ramfs"
	mount -t ramfs ramfs "$WORK/ramfs"
	defer umount "$WORK/ramfs"
	echo 3 >/proc/sys/vm/drop_caches
	free=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
	((free > HOG / 2)) || fail "$free MiB are available"
	head -c "$((free - HOG / 2))M" /dev/zero >"$WORK/ramfs/lock"
}

# swap_to_cache: swap out and in, with memory to spare. The page cache of the file is dirty then.
swap_to_cache() {
	cat "$WORK/fs/swap" >/dev/null
	make_cgroup swapped
	echo 16M >"$CGROUP/swapped/memory.max"
	in_cgroup swapped "$PROGRAMS/hog.py" 32 2 >/dev/null
	remove_cgroup swapped
}

# squeezed MODE SWAP [BEFORE]: BEFORE is called before memory is taken away.
squeezed() {
	setup "$2"
	attach "${DEV}0" --direct-io="$1" "$2"
	attach "${DEV}1" --direct-io="$1" "$WORK/fs/image"
	mkswap -q "${DEV}0" 2>/dev/null || mkswap "${DEV}0" >/dev/null
	mkfs.ext4 -q -F "${DEV}1"
	mkdir -p "$WORK/inner"
	mount "${DEV}1" "$WORK/inner"
	defer unmount_quietly "$WORK/inner"
	if [[ ${3:-} ]]; then
		swapon "${DEV}0"
		"$3"
	fi
	lock_up
	[[ ${3:-} ]] || swapon "${DEV}0"
	defer swapoff_quietly "${DEV}0"
	local before hog reader
	before=$(vmstat_counter pswpout)
	"$PROGRAMS/hog.py" "$HOG" 2 >"$WORK/hog" 2>&1 &
	hog=$!
	# Its reads take memory in buffered mode, and must not keep swap from making some.
	"$PROGRAMS/read_forever.py" "${DEV}0" &
	reader=$!
	defer stop_process "$reader"
	random_file "$WORK/inner/a" "$FILE"
	local sum
	sum=$(checksum "$WORK/inner/a")
	for name in b c d; do
		cp "$WORK/inner/a" "$WORK/inner/$name"
		sync "$WORK/inner/$name"
	done
	kill "$reader"
	wait "$hog" || fail "the hog: $(tail -n 1 "$WORK/hog")"
	(($(vmstat_counter pswpout) > before + 2048)) || fail "hardly anything was swapped out"
	echo "pages out $(($(vmstat_counter pswpout) - before)), in $(vmstat_counter pswpin)"
	swapoff "${DEV}0"
	umount "$WORK/inner"
	mount "${DEV}1" "$WORK/inner"
	for name in a b c d; do
		expect_equal "$(checksum "$WORK/inner/$name")" "$sum" "$name"
	done
	umount "$WORK/inner"
	if [[ $DRIVER == rust_loop ]]; then
		# No memory was to spare for the page cache.
		(($(summary_field "${DEV}0" reserve) > 0)) || fail "no swap bypassed the page cache"
		expect_equal "$(summary_field "${DEV}0" errors)" 0 "errors of the swap device"
		expect_equal "$(summary_field "${DEV}1" errors)" 0 "errors of the other device"
	fi
	detach "${DEV}0"
	detach "${DEV}1"
}

all_is_written() {
	(($(vmstat_counter nr_writeback) == 0))
}

# nothing_old delay|loop|file: pages of the store that are read through its page cache while
# swap is written to it must not come back instead of the swapped ones.
#
# The store is slow to write. All swap bypasses the page cache of the first kind, as that cannot
# be read without waiting. Swap of the others goes both ways: each round begins without cached
# pages, and a reader fills the page cache.
nothing_old() {
	local store=/dev/mapper/slow
	need_rust_loop
	need_command dmsetup
	need_module dm-delay
	! is_loaded || unload_driver
	load_driver max_loop=8
	dmsetup create slow --table "0 65536 delay /dev/vdc 0 0 /dev/vdc 0 150"
	udevadm settle
	defer remove_mapping slow
	case $1 in
	loop)
		need_module loop
		store=$(losetup --find --show --direct-io=on --sizelimit 4M /dev/mapper/slow)
		defer losetup -d "$store"
		;;
	file)
		mkfs.ext4 -q -F /dev/mapper/slow
		mkdir -p "$WORK/slow"
		mount /dev/mapper/slow "$WORK/slow"
		defer umount "$WORK/slow"
		store=$WORK/slow/swap
		dd if=/dev/zero of="$store" bs=1M count=4 conv=fsync status=none
		;;
	esac
	attach "${DEV}0" --direct-io=off --sizelimit 4M "$store"
	mkswap -q "${DEV}0"
	swapon "${DEV}0"
	defer swapoff_quietly "${DEV}0"
	make_cgroup swapped
	in_cgroup swapped "$PROGRAMS/pageout.py" "${DEV}0" "$CGROUP/swapped" 256 3 "$store"
	wait_until 20 all_is_written || fail "swap is still written"
	# Nor must it stay for later readers of the device.
	dd if="${DEV}0" of="$WORK/seen" bs=64k iflag=direct status=none
	defer rm -f "$WORK/seen"
	dd if="$store" bs=64k count=64 iflag=direct status=none | cmp - "$WORK/seen"
	(($(summary_field "${DEV}0" reserve) > 0)) || fail "no swap bypassed the page cache"
	swapoff "${DEV}0"
	detach "${DEV}0"
}

# Swap in a file that is also written through its page cache, in a filesystem which does
# not let the memory management write that back.
beside_data() {
	need_module xfs
	local writer
	ensure_driver
	TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 mkfs.xfs -q -f /dev/vdc
	mkdir -p "$WORK/xfs"
	mount /dev/vdc "$WORK/xfs"
	defer umount "$WORK/xfs"
	dd if=/dev/zero of="$WORK/xfs/image" bs=1M count=16 conv=fsync status=none
	sfdisk -q "$WORK/xfs/image" <<-'TABLE'
		start=2048, size=8192
		start=10240, size=8192
	TABLE
	attach -P "${DEV}0" --direct-io=off "$WORK/xfs/image"
	udevadm settle
	mkswap -q "${DEV}0p1"
	swapon "${DEV}0p1"
	defer swapoff_quietly "${DEV}0p1"
	make_cgroup swapped
	while dd if=/dev/zero of="${DEV}0p2" bs=64k count=64 oflag=direct status=none; do :; done &
	writer=$!
	defer stop_process "$writer"
	in_cgroup swapped "$PROGRAMS/pageout.py" "${DEV}0p1" "$CGROUP/swapped" 256 3
	kill "$writer"
	wait "$writer" 2>/dev/null || true
	swapoff "${DEV}0p1"
	detach "${DEV}0"
}

TRACE=/sys/kernel/tracing
DIRTY=$TRACE/events/ext4/ext4_mark_inode_dirty

stop_tracing() {
	echo 0 >"$DIRTY/enable"
	echo nostacktrace >"$TRACE/trace_options"
}

# A transaction of ext4 makes allocations that must not fail, of which the kernel warns if the task
# has the memory reserves. The time of the file changes with each write here.
no_transaction() {
	need_rust_loop
	setup "$WORK/fs/swap"
	mountpoint -q "$TRACE" || mount -t tracefs none "$TRACE"
	[[ -d $DIRTY ]] || skip "this kernel has no events of ext4"
	attach "${DEV}0" --direct-io=on "$WORK/fs/swap"
	mkswap -q "${DEV}0"
	swapon "${DEV}0"
	defer swapoff_quietly "${DEV}0"
	make_cgroup swapped
	"$PROGRAMS/stat_forever.py" "$WORK/fs/swap" &
	defer stop_process "$!"
	echo stacktrace >"$TRACE/trace_options"
	echo 1 >"$DIRTY/enable"
	defer stop_tracing
	in_cgroup swapped "$PROGRAMS/pageout.py" "${DEV}0" "$CGROUP/swapped" 256 3
	stop_tracing
	(($(summary_field "${DEV}0" reserve) > 0)) || fail "no swap used the memory reserves"
	# The inner functions of a stack come first.
	awk '/ext4_mark_inode_dirty: / { all++; writes = 0 }
		/=> ext4_file_write_iter/ { writes = 1 }
		/=> .*submit_direct/ && writes { writes = 0; bad++ }
		END { print all + 0, bad + 0 }' "$TRACE/trace" >"$WORK/transactions"
	local all bad
	read -r all bad <"$WORK/transactions"
	report "times updated: $all, by a write with the reserves: $bad"
	((all > 0)) || fail "no time was updated"
	((bad == 0)) || fail "$bad of $all transactions were begun by a write with the memory reserves"
	swapoff "${DEV}0"
	detach "${DEV}0"
}

# Removing privileges takes a transaction, so ext4 refuses to write without waiting to a file whose
# mode has some, although the write of the driver keeps them.
with_privileges() {
	need_rust_loop
	setup "$WORK/fs/swap"
	chmod u+s "$WORK/fs/swap"
	defer chmod u-s "$WORK/fs/swap"
	swapped_out --direct-io=on "$WORK/fs/swap"
	((BYPASSED > 0)) || fail "no swap used the memory reserves"
}

# The first and the last page of the swap are in pages of the page cache that have other data, too,
# which its writers write back with them.
within_pages() {
	need_rust_loop
	ensure_driver
	swapped_out --direct-io=off --offset 32256 --sizelimit 8M /dev/vdc
	expect_equal "$BYPASSED" 0 "swap that bypassed the page cache"
}

# swapped_out [LOSETUP-OPTION...] STORE: pages go out to the first device, and come back. BYPASSED is
# how many of the writes used the memory reserves, as only direct ones do.
swapped_out() {
	local before
	before=$(summary_field "${DEV}0" reserve)
	attach "${DEV}0" "$@"
	mkswap -q "${DEV}0"
	swapon "${DEV}0"
	defer swapoff_quietly "${DEV}0"
	make_cgroup swapped
	in_cgroup swapped "$PROGRAMS/pageout.py" "${DEV}0" "$CGROUP/swapped" 256 3 "${!#}"
	swapoff "${DEV}0"
	BYPASSED=$(($(summary_field "${DEV}0" reserve) - before))
	detach "${DEV}0"
}

test_case "swapped pages come back as they were written, disk" nothing_old delay
test_case "swapped pages come back as they were written, disk that is read without waiting" \
	nothing_old loop
test_case "swapped pages come back as they were written, file" nothing_old file
test_case "swapped pages come back beside data in the page cache, xfs" beside_data
test_case "a write with the memory reserves begins no transaction" no_transaction
test_case "swap in a file with set-user-ID uses the memory reserves" with_privileges
test_case "swap that shares pages with other data goes through the page cache" within_pages
test_case "swap and a filesystem work without memory, buffered, on a disk" when_whole squeezed off /dev/vdc
test_case "swap and a filesystem work without memory, buffered, in a file with dirty page cache" \
	on_stock squeezed off "$WORK/fs/swap" swap_to_cache
test_case "swap and a filesystem work without memory, direct, in a file" on_stock squeezed on "$WORK/fs/swap"

run_cases
