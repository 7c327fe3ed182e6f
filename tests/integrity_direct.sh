#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 320M --disk 320M --disk 64M
# leaks: no
#
# Direct I/O to the backing file: data that were written are read again, on each kind of
# file, at each depth, for requests of all kinds, and while the mode changes.

. "$(dirname "$0")/lib.sh"
need_loopctl

# MiB, of which a quarter must be some. The debug kernel is several times slower;
# the behaviours are the same.
amount=12
[[ $KERNEL == stock ]] || amount=4

# backing KIND: set FILE to a file or device of that kind, of 48 MiB.
backing() {
	FILE=$WORK/$1/image
	case $1 in
	ext4) filesystem "$1" /dev/vdb mkfs.ext4 -q -F ;;
	xfs) filesystem "$1" /dev/vdc mkfs.xfs -q -f ;;
	tmpfs) filesystem "$1" tmpfs true ;;
	device) FILE=/dev/vdd && return ;;
	esac
	truncate -s 48M "$FILE"
}

# filesystem KIND WHERE COMMAND...: made for the first test that wants it.
filesystem() {
	mkdir -p "$WORK/$1"
	[[ -e $WORK/$1.made ]] || "${@:3}" "$2" >/dev/null
	touch "$WORK/$1.made"
	mount -t "$1" "$2" "$WORK/$1"
	defer umount "$WORK/$1"
	defer rm -f "$WORK/$1/image"
}

# direct KIND [losetup options]: the device reads and writes such a file directly.
direct() {
	local kind=$1
	shift
	ensure_driver
	backing "$kind"
	attach "${DEV}0" --direct-io=on "$@" "$FILE"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
}

fio_verify() {
	fio --name=verify --filename="${DEV}0" --ioengine=io_uring --iodepth=16 \
		--direct=1 --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--size="${amount}M" --output-format=terse --output="$WORK/fio" "$@" || {
		cat "$WORK/fio"
		fail "fio found a difference"
	}
}

# verify KIND SECTOR-SIZE OFFSET [fio options]
verify() {
	direct "$1" --sector-size "$2" --offset "$3"
	fio_verify "${@:4}"
	detach "${DEV}0"
}

# ext4 says of such a file that it takes no direct I/O, and takes it.
journalled() {
	ensure_driver
	mkdir -p "$WORK/journalled"
	mkfs.ext4 -q -F /dev/vdd
	mount -o data=journal /dev/vdd "$WORK/journalled"
	defer umount "$WORK/journalled"
	truncate -s 16M "$WORK/journalled/image"
	attach "${DEV}0" --direct-io=on "$WORK/journalled/image"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" \
		"$(sysfs_attr /dev/vdd queue/logical_block_size)" "block size"
	fio_verify --rw=randwrite --bsrange=4k-64k --size="$((amount / 4))M"
	detach "${DEV}0"
}

# The device's data is in memory once, in the device's own cache.
not_cached() {
	direct ext4
	dd if=/dev/urandom of="${DEV}0" bs=1M count=8 oflag=direct status=none
	dd if="${DEV}0" of=/dev/null bs=1M count=8 iflag=direct status=none
	expect_equal "$("$PROGRAMS/pages_in_memory.py" "$FILE")" 0 "pages of the file in memory"
	losetup --direct-io=off "${DEV}0"
	dd if="${DEV}0" of=/dev/null bs=1M count=8 iflag=direct status=none
	(($("$PROGRAMS/pages_in_memory.py" "$FILE") >= 2048)) || fail "not read through the page cache"
	detach "${DEV}0"
}

vectors() {
	direct "$1"
	[[ -z ${2:-} ]] || echo "$2" >"/sys/block/${PREFIX}0/queue/max_sectors_kb"
	truncate -s 8M "$FILE"
	losetup -c "${DEV}0"
	"$PROGRAMS/vecio.py" --discard "${DEV}0" "$FILE"
	detach "${DEV}0"
}

# Neighbouring writes that a plug merges into requests of many bios.
merged() {
	direct ext4
	local before after stat=/sys/block/${PREFIX}0/stat
	random_file "$WORK/data" 8M
	defer rm -f "$WORK/data"
	before=$(awk '{ print $6 }' "$stat")
	dd if="$WORK/data" of="${DEV}0" bs=1M conv=fsync status=none
	after=$(awk '{ print $6 }' "$stat")
	((after > before)) || fail "no write was merged"
	cmp -n "$((8 << 20))" "$WORK/data" "$FILE"
	detach "${DEV}0"
}

# Back and forth, under load.
toggled() {
	direct "$1"
	fio_verify --rw=randwrite --bsrange=4k-64k --loops=2 --time_based=0 &
	local fio=$! mode=0 changes=0
	while kill -0 "$fio" 2>/dev/null; do
		expect loopctl set-direct-io "${DEV}0" "$mode" = ok
		mode=$((1 - mode)) changes=$((changes + 1))
		nap
	done
	wait "$fio"
	echo "$changes changes"
	((changes >= 4)) || fail "the mode was changed $changes times only"
	detach "${DEV}0"
}

# A file that ends within a request: what is there is transferred, once.
truncated() {
	need_rust_loop
	direct "$1"
	random_file "$WORK/data" 2M
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="${DEV}0" bs=1M seek=7 oflag=direct status=none
	truncate -s $(((8 << 20) - 4096 + 100)) "$FILE"
	expect_failure dd if="${DEV}0" of="$WORK/read" bs=512K skip=15 count=1 iflag=direct status=none
	(($(summary_field "${DEV}0" deferred) > 0)) ||
		fail "nothing was deferred"
	dd if="${DEV}0" of="$WORK/read" bs=4K skip=$(((7 << 20) / 4096)) count=255 iflag=direct status=none
	defer rm -f "$WORK/read"
	cmp -n $((255 * 4096)) "$WORK/data" "$WORK/read"
	# Writing makes it as long as it was.
	dd if="$WORK/data" of="${DEV}0" bs=1M seek=7 oflag=direct status=none
	dd if="${DEV}0" bs=1M skip=7 count=2 iflag=direct status=none | cmp - "$WORK/data"
	detach "${DEV}0"
}

# The blocks of the disk below become larger than those of the device: what it refuses
# then goes through its page cache.
refused() {
	need_rust_loop
	ensure_driver
	truncate -s 8M "$WORK/image"
	random_file "$WORK/data" 64K
	defer rm -f "$WORK/image" "$WORK/data"
	attach "${DEV}1" "$WORK/image"
	attach "${DEV}0" --direct-io=on "${DEV}1"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	expect loopctl set-block-size "${DEV}1" 4096 = ok
	expect_failure dd if="${DEV}1" of=/dev/null bs=512 count=1 iflag=direct status=none
	dd if="$WORK/data" of="${DEV}0" bs=512 seek=3 oflag=direct status=none
	dd if="${DEV}0" bs=512 skip=3 count=128 iflag=direct status=none | cmp - "$WORK/data"
	sync "${DEV}0"
	detach "${DEV}0"
	dd if="${DEV}1" bs=512 skip=3 count=128 status=none | cmp - "$WORK/data"
	detach "${DEV}1"
}

# slow_disk: /dev/mapper/slow, of 4 MiB, which takes half a second for a write.
slow_disk() {
	need_command dmsetup
	need_module dm-delay
	dmsetup create slow --table "0 8192 delay /dev/vdd 0 0 /dev/vdd 0 500"
	udevadm settle
	defer remove_mapping slow
}

# trace_slow: from now on slow_is_writing tells whether a write has been submitted to it.
trace_slow() {
	local dev trace=/sys/kernel/tracing
	dev=$(stat -Lc '((%Hr << 20) | %Lr)' /dev/mapper/slow)
	mountpoint -q "$trace" || mount -t tracefs none "$trace"
	echo "dev == $((dev))" >"$trace/events/block/block_bio_queue/filter"
	echo >"$trace/trace"
	defer write_file "$trace/events/block/block_bio_queue/enable" 0
	echo 1 >"$trace/events/block/block_bio_queue/enable"
}

slow_is_writing() {
	grep -q ': block_bio_queue: [0-9,]* W' /sys/kernel/tracing/trace
}

# make_stale STORE: the device has written $WORK/new, of 4 KiB, to the beginning of STORE,
# whose page cache has what was there before: it was read while that was being written.
make_stale() {
	local writer
	random_file "$WORK/old" 4K
	random_file "$WORK/new" 4K
	defer rm -f "$WORK/old" "$WORK/new"
	dd if="$WORK/old" of="$1" oflag=direct bs=4k status=none
	trace_slow
	dd if="$WORK/new" of="${DEV}0" oflag=direct bs=4k status=none &
	writer=$!
	wait_until 10 slow_is_writing || fail "no write reached the disk"
	dd if="$1" of=/dev/null bs=4k count=1 status=none
	wait "$writer"
	dd if="$1" iflag=direct bs=4k count=1 status=none | cmp - "$WORK/new"
	dd if="$1" bs=4k count=1 status=none | cmp -s - "$WORK/old" ||
		skip "the page cache of the store is up to date"
}

# With larger blocks than the device's, the store refuses what is smaller.
stale_store() {
	need_rust_loop
	ensure_driver
	slow_disk
	attach "${DEV}1" --direct-io=on /dev/mapper/slow
	attach "${DEV}0" --direct-io=on "${DEV}1"
	expect loopctl set-block-size "${DEV}1" 4096 = ok
	expect_equal "$(sysfs_attr "${DEV}0" queue/logical_block_size)" 512 "block size"
	make_stale "${DEV}1"
}

stale_refused_read() {
	stale_store
	dd if="${DEV}0" iflag=direct bs=512 count=1 status=none | cmp -n 512 - "$WORK/new"
	detach "${DEV}0"
	detach "${DEV}1"
}

stale_refused_write() {
	stale_store
	dd if=/dev/zero of="${DEV}0" oflag=direct bs=512 seek=3 count=1 status=none
	dd if=/dev/zero of="$WORK/new" bs=512 seek=3 count=1 conv=notrunc status=none
	dd if="${DEV}0" iflag=direct bs=4k count=1 status=none | cmp - "$WORK/new"
	detach "${DEV}0"
	sync "${DEV}1"
	dd if="${DEV}1" iflag=direct bs=4k count=1 status=none | cmp - "$WORK/new"
	detach "${DEV}1"
}

stale_mode_change() {
	need_rust_loop
	ensure_driver
	slow_disk
	attach "${DEV}0" --direct-io=on /dev/mapper/slow
	make_stale /dev/mapper/slow
	losetup --direct-io=off "${DEV}0"
	dd if="${DEV}0" iflag=direct bs=4k count=1 status=none | cmp - "$WORK/new"
	detach "${DEV}0"
}

# The disk below hears how urgent the issuer's I/O is.
priority() {
	direct device
	local dev trace=/sys/kernel/tracing
	IFS=: read -ra dev <<<"$(sysfs_attr /dev/vdd dev)"
	mountpoint -q "$trace" || mount -t tracefs none "$trace"
	echo "dev == $(((dev[0] << 20) | dev[1]))" >"$trace/events/block/block_rq_issue/filter"
	echo >"$trace/trace"
	defer write_file "$trace/events/block/block_rq_issue/enable" 0
	echo 1 >"$trace/events/block/block_rq_issue/enable"
	ionice -c realtime -n 3 dd if="${DEV}0" of=/dev/null bs=4k count=8 iflag=direct status=none
	grep block_rq_issue "$trace/trace" >"$WORK/trace"
	expect_equal "$(grep -c ' rt,[0-9]*,3 ' "$WORK/trace")" 8 "reads with the priority"
	detach "${DEV}0"
}

# Without direct I/O the flag is not set, and data go through the page cache.
impossible() {
	ensure_driver
	mkdir -p "$WORK/ramfs"
	mount -t ramfs ramfs "$WORK/ramfs"
	defer umount "$WORK/ramfs"
	truncate -s 48M "$WORK/ramfs/image"
	expect loopctl configure "${DEV}0" "$WORK/ramfs/image" --flags 16 = ok
	defer detach_by_ioctl_quietly "${DEV}0"
	expect_equal "$(sysfs_attr "${DEV}0" loop/dio)" 0 "direct I/O"
	fio_verify --rw=randwrite --bs=4k --size=$((amount / 2))M
	detach_by_ioctl "${DEV}0"
}

test_case "the backing file is not cached" not_cached
for kind in ext4 xfs device tmpfs; do
	once=
	[[ $kind != xfs ]] || once=on_stock
	[[ $kind != tmpfs ]] || once=when_whole
	test_case "data are right, $kind, 4 KiB at random, 16 at once" $once verify $kind 512 0 --rw=randwrite --bs=4k \
		--size=$((amount / 2))M
	test_case "data are right, $kind, mixed sizes to 2 MiB" $once verify $kind 512 0 --rw=randwrite --bsrange=512-2M \
		--blockalign=512
done
test_case "data are right with blocks of 4 KiB and an offset" verify ext4 4096 1M --rw=randwrite --bs=4k --size=$((amount / 4))M
test_case "data are right at an offset of one block" on_stock verify device 512 512 --rw=write --bsrange=512-64k --blockalign=512
for depth in 1 4 128; do
	once=on_stock
	[[ $depth == 128 ]] || once=when_whole
	test_case "data are right, $depth at once" $once verify ext4 512 0 --rw=randwrite --bs=8k --iodepth=$depth \
		--size=$((amount / 2))M
done
test_case "data are right with registered buffers" on_stock verify ext4 512 0 --rw=randwrite --bsrange=4k-512k --fixedbufs=1
test_case "data are right with buffers that begin within a page" on_stock verify xfs 512 0 --rw=randwrite --bsrange=4k-512k \
	--iomem_align=512
test_case "data are right with four writers at once" on_stock verify ext4 512 0 --rw=randwrite --bs=16k --numjobs=4 \
	--size=$((amount / 4))M --offset_increment=12M
# Each write follows a trim of the same block. Without serialize_overlap fio does not wait for the trim,
# and requests in flight have no order if they reach the device on different CPUs.
test_case "data are right with trims between writes" verify ext4 512 0 --rw=randtrimwrite --bs=4k \
	--serialize_overlap=1 --size=$((amount / 4))M
test_case "data are right with scattered vectors and discards" vectors ext4
test_case "data are right with scattered vectors, split at 28 KiB" vectors xfs 28
test_case "data are right in requests merged from many bios" merged
test_case "data are right while the mode changes under load, ext4" toggled ext4
test_case "data are right while the mode changes under load, device" when_whole toggled device
test_case "a truncated file is read up to its end, ext4" truncated ext4
test_case "a truncated file is read up to its end, xfs" on_stock truncated xfs
test_case "requests that the disk below refuses go through its page cache" refused
test_case "a read that the disk refuses finds newer data than its page cache has" stale_refused_read
test_case "a write that the disk refuses keeps newer data beside it than its page cache has" stale_refused_write
test_case "reads after turning direct I/O off find newer data than the page cache has" stale_mode_change
test_case "the I/O priority is passed on" priority
test_case "data are right in a file that ext4 journals" journalled
test_case "direct I/O is not switched on for a file on ramfs" impossible

run_cases
