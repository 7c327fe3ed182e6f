#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 320M
# leaks: no
# timeout: 600 1500
# debug: memory_swap swaps the same ways
#
# The cost of swap below the device: the disk reads no more than the memory management asks
# for, and next to nothing if the file is cached. The memory reserves are used only where that
# is harmless.
#
# tests/memory_swap_speed.sh measures the time that it takes.

. "$(dirname "$0")/lib.sh"

# MiB of memory that a task uses in a cgroup that has LIMIT, and how often it goes through it.
HOG=40 LIMIT=20 ROUNDS=3
[[ $KERNEL == stock ]] || HOG=24 LIMIT=16 ROUNDS=2

# swap_on MODE CACHE SWAPON-OPTION...: in $WORK/fs/swap, whose page cache is "kept" or
# "dropped" before.
swap_on() {
	attach "${DEV}0" --direct-io="$1" "$WORK/fs/swap"
	mkswap -q "${DEV}0"
	sync "${DEV}0"
	if [[ $2 == dropped ]]; then
		sync "$WORK/fs/swap"
		echo 1 >/proc/sys/vm/drop_caches
	fi
	swapon "${@:3}" "${DEV}0"
	defer swapoff_quietly "${DEV}0"
}

swap_off() {
	swapoff "${DEV}0"
	detach "${DEV}0"
}

# sectors_below FIELD: 3 is what was read, 7 what was written.
sectors_below() {
	awk -v field="$1" '{ print $field }' "/sys/block/$(kernel_name /dev/vdb)/stat"
}

# hog: uses more memory than the cgroup has; prints nothing. An OOM kill says nothing about the
# device: reclaim of a cgroup does not wait for swap that is being written, so a store that stands
# still for a moment is enough. With a compiler on both processors of the host, 8 of 17 tasks were
# killed on the C driver, and one of 17 on this one. tests/memory_swap_speed.sh compares them.
hog() {
	local killed status=0
	killed=$(memory_event swapped oom_kill)
	in_cgroup swapped "$PROGRAMS/hog.py" "$HOG" "$ROUNDS" >/dev/null || status=$?
	((status != 0)) || return 0
	# 137 is SIGKILL; anything else, wrong data among it, is a fault.
	((status == 137 && $(memory_event swapped oom_kill) > killed)) || fail "the task ended with $status"
	report "killed for lack of memory"
	return 1
}

# reads_at_most PERCENT MODE CACHE [SYNC]: what the disk reads, compared with what is swapped
# in. SYNC is an option of dd. Of three tasks one must not be killed.
reads_at_most() {
	local out in read try
	need_rust_loop
	ensure_driver
	mount_disk
	make_cgroup swapped
	echo "${LIMIT}M" >"$CGROUP/swapped/memory.max"
	dd if=/dev/zero of="$WORK/fs/swap" bs=1M count=96 status=none ${4:+"$4"}
	defer rm -f "$WORK/fs/swap"
	swap_on "$2" "$3"
	for try in 1 2 3 none; do
		[[ $try != none ]] || fail "each of three tasks was killed"
		out=$(vmstat_counter pswpout) in=$(vmstat_counter pswpin)
		read=$(sectors_below 3)
		! hog || break
	done
	out=$(($(vmstat_counter pswpout) - out)) in=$(($(vmstat_counter pswpin) - in))
	read=$((($(sectors_below 3) - read) / 8))
	report "pages out $out, in $in; the disk read $read"
	((in > 1024)) || fail "hardly anything came back from swap"
	((100 * read <= $1 * in)) || fail "the disk read $read pages for $in"
	swap_off
}

# The files for swap, of 96 MiB.
written_file() {
	dd if=/dev/zero of="$1" bs=1M count=96 status=none
}

allocated_file() {
	fallocate -l 96M "$1"
}

sparse_file() {
	truncate -s 96M "$1"
}

# uses_reserve yes|no KIND [SWAPON-OPTION...]: KIND of file.
uses_reserve() {
	local before mode out used
	need_rust_loop
	ensure_driver
	mount_disk
	for mode in on off; do
		rm -f "$WORK/fs/swap"
		"$2" "$WORK/fs/swap"
		swap_on "$mode" dropped "${@:3}"
		before=$(summary_field "${DEV}0" reserve) used=no
		out=$(vmstat_counter pswpout)
		"$PROGRAMS/swap_out.py" 1024
		out=$(($(vmstat_counter pswpout) - out))
		((out >= 512)) || fail "hardly anything was swapped out: $out pages"
		(($(summary_field "${DEV}0" reserve) == before)) || used=yes
		expect_equal "$used" "$1" "use of the reserves, direct I/O $mode"
		swap_off
	done
	rm "$WORK/fs/swap"
}

test_case "the disk reads next to nothing, buffered, file just written" \
	when_whole reads_at_most 10 off kept
test_case "the disk reads next to nothing, buffered, file synced" \
	when_whole reads_at_most 10 off kept conv=fsync
test_case "the disk reads the swapped-in pages and no more, buffered, file not cached" \
	on_stock reads_at_most 110 off dropped
test_case "the disk reads the swapped-in pages and no more, direct, file synced" \
	when_whole reads_at_most 110 on kept conv=fsync
test_case "swap in a written file uses the memory reserves" uses_reserve yes written_file
test_case "swap in a file that was only allocated does not use the reserves" \
	uses_reserve no allocated_file
test_case "swap in a file with holes does not use the reserves" uses_reserve no sparse_file
test_case "swap in a discarded file does not use the reserves" \
	uses_reserve no written_file --discard=once

run_cases
