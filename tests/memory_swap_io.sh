#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 320M
# leaks: no
# timeout: 600 1500
#
# What swap costs below the device: the disk reads and writes what the memory management
# asks for, and the memory reserves are used only where that is harmless.
#
# tests/memory_swap_speed.sh measures the time that it takes.

. "$(dirname "$0")/lib.sh"

# MiB of memory that a task uses in a cgroup that has LIMIT.
HOG=40 LIMIT=20
[[ $KERNEL == stock ]] || HOG=24 LIMIT=16

# swap_on MODE SWAPON-OPTION...: in $WORK/fs/swap.
swap_on() {
	attach "${DEV}0" --direct-io="$1" "$WORK/fs/swap"
	mkswap -q "${DEV}0"
	sync "${DEV}0" "$WORK/fs/swap"
	swapon "${@:2}" "${DEV}0"
	defer "! grep -q ${DEV}0 /proc/swaps || swapoff ${DEV}0"
}

swap_off() {
	swapoff "${DEV}0"
	detach "${DEV}0"
}

counter() {
	awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat
}

# sectors_below FIELD: 3 is what was read, 7 what was written.
sectors_below() {
	awk -v field="$1" '{ print $field }' /sys/block/vdb/stat
}

reserve() {
	awk '$1 == "reserve" { print $2 }' "$DEBUGFS/rust_loop/${PREFIX}0/summary"
}

# page_out PAGES: to blocks of swap that were not used before, as none is given back.
page_out() {
	python3 -IS -c 'import mmap, os, sys
size = int(sys.argv[1]) * mmap.PAGESIZE
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, size, mmap.PAGESIZE):
    memory[page : page + 8] = page.to_bytes(8, "little", signed=False)
    memory[page + 8] = 1
memory.madvise(21)  # MADV_PAGEOUT
def writeback():
    with open("/proc/vmstat") as lines:
        return any(line.split() != ["nr_writeback", "0"] and line.startswith("nr_writeback ") for line in lines)
while writeback():
    pass' "$1"
}

# nothing_more MODE SYNC: SYNC is an option of dd.
nothing_more() {
	local out in read
	need_rust_loop
	ensure_driver
	mount_disk
	make_cgroup swapped
	echo "${LIMIT}M" >"$CGROUP/swapped/memory.max"
	dd if=/dev/zero of="$WORK/fs/swap" bs=1M count=96 status=none ${2:+"$2"}
	defer 'rm -f "$WORK/fs/swap"'
	swap_on "$1"
	out=$(counter pswpout) in=$(counter pswpin)
	read=$(sectors_below 3)
	in_cgroup swapped "$PROGRAMS/hog.py" "$HOG" 3 >/dev/null
	out=$(($(counter pswpout) - out)) in=$(($(counter pswpin) - in))
	read=$((($(sectors_below 3) - read) / 8))
	tell "pages out $out, in $in; the disk read $read"
	((in > 1024)) || fail "hardly anything came back from swap"
	((100 * read <= 110 * in)) || fail "the disk read $read pages for $in"
	same "$(awk '$1 == "oom_kill" { print $2 }' "$CGROUP/swapped/memory.events")" 0 "OOM kills"
	swap_off
}

# uses_reserve yes|no FILE-COMMAND [SWAPON-OPTION...]
uses_reserve() {
	local before mode out used
	need_rust_loop
	ensure_driver
	mount_disk
	for mode in on off; do
		rm -f "$WORK/fs/swap"
		eval "$2"
		sync "$WORK/fs/swap"
		swap_on "$mode" "${@:3}"
		before=$(reserve) used=no
		out=$(counter pswpout)
		page_out 1024
		out=$(($(counter pswpout) - out))
		((out >= 512)) || fail "hardly anything was swapped out: $out pages"
		(($(reserve) == before)) || used=yes
		same "$used" "$1" "use of the reserves, direct I/O $mode"
		swap_off
	done
	rm "$WORK/fs/swap"
}

it "the disk reads what is swapped in and no more, buffered, file just written" nothing_more off
it "the disk reads what is swapped in and no more, buffered, file synced" nothing_more off conv=fsync
it "the disk reads what is swapped in and no more, direct, file synced" nothing_more on conv=fsync
# shellcheck disable=SC2016 # they expand later
{
	it "a written file takes swap with the memory reserves" uses_reserve yes \
		'dd if=/dev/zero of=$WORK/fs/swap bs=1M count=96 status=none'
	it "an allocated file takes swap without them where it was never written" uses_reserve no \
		'fallocate -l 96M "$WORK/fs/swap"'
	it "a file with holes takes swap without them" uses_reserve no \
		'truncate -s 96M "$WORK/fs/swap"'
	it "a file that was discarded takes swap without them" uses_reserve no \
		'dd if=/dev/zero of=$WORK/fs/swap bs=1M count=96 status=none' --discard=once
}

run
