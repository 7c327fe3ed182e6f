#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 256M
# leaks: no
# debug: it counts requests of the disk below
#
# Durable writes and flushes: their cost on the disk below.

. "$(dirname "$0")/lib.sh"

TRACE=/sys/kernel/tracing
WRITES=32

setup() {
	ensure_driver
	mount_disk
	# Written, so that no write to it changes the filesystem.
	[[ -e $WORK/fs/image ]] || dd if=/dev/zero of="$WORK/fs/image" bs=1M count=64 \
		conv=fsync status=none
	DISK=/dev/vdb
}

memory_disk() {
	null_disk nullb9 64 cache_size=16 fua=1
	DISK=/dev/nullb9
	expect_equal "$(sysfs_attr "$DISK" queue/fua)" 1 "FUA of the disk"
}

# trace_disk COMMAND...: set FLUSHES, FUA_WRITES and SECTORS to what the disk below is
# asked for meanwhile.
trace_disk() {
	local dev
	IFS=: read -ra dev <<<"$(sysfs_attr "$DISK" dev)"
	mountpoint -q "$TRACE" || mount -t tracefs none "$TRACE"
	echo "dev == $(((dev[0] << 20) | dev[1]))" >"$TRACE/events/block/block_bio_queue/filter"
	# Events of several CPUs are shown by time, and two of them may have the same.
	echo counter >"$TRACE/trace_clock"
	echo >"$TRACE/trace"
	echo 1 >"$TRACE/events/block/block_bio_queue/enable"
	"$@"
	echo 0 >"$TRACE/events/block/block_bio_queue/enable"
	grep block_bio_queue "$TRACE/trace" >"$WORK/trace" || true
	# ... block_bio_queue: 254,16 WFS 1234 + 8 [fio]
	read -r FLUSHES FUA_WRITES SECTORS < <(awk '
		{
			for (i = 1; i <= NF; i++)
				if ($i == "block_bio_queue:")
					break
			flags = $(i + 2)
			flushes += flags ~ /^F/
			sub(/^F/, "", flags)
			if (flags ~ /^W/) {
				fua += flags ~ /^WF/
				sectors += $(i + 5)
			}
		}
		END { print flushes + 0, fua + 0, sectors + 0 }' "$WORK/trace")
	echo "flushes $FLUSHES, FUA writes $FUA_WRITES, sectors written $SECTORS"
}

# Asynchronous, for a synchronous write to a block device is followed by a flush.
durable_writes() {
	fio --name=w --filename="$1" --rw=write --bs=4k --size=$((WRITES * 4))k --ioengine=libaio \
		--direct=1 --sync=dsync --overwrite=1 --allow_file_create=0 --output="$WORK/fio"
}

shown() {
	setup
	attach "${DEV}0" "$WORK/fs/image"
	expect_equal "$(sysfs_attr "${DEV}0" queue/fua)" 1 "FUA"
	expect_equal "$(sysfs_attr "${DEV}0" queue/write_cache)" "write back" "write cache"
	detach "${DEV}0"
	attach "${DEV}0" -r "$WORK/fs/image"
	expect_equal "$(sysfs_attr "${DEV}0" queue/fua)" 0 "FUA of a device that is read-only"
	detach "${DEV}0"
}

# Not every filesystem makes durable what is written to be so: where that is not known, the
# block layer has to flush.
not_everywhere() {
	ensure_driver
	truncate -s 8M "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(sysfs_attr "${DEV}0" queue/fua)" 0 "FUA on $(stat -f -c %T "$WORK/image")"
	expect_equal "$(sysfs_attr "${DEV}0" queue/write_cache)" "write back" "write cache"
	detach "${DEV}0"
}

# A disk that can do it is asked to, and for nothing else.
one_write() {
	ensure_driver
	memory_disk
	attach "${DEV}0" --direct-io=on "$DISK"
	udevadm settle
	trace_disk durable_writes "${DEV}0"
	expect_equal "$FUA_WRITES $FLUSHES" "$WRITES 0" "FUA writes and flushes"
	detach "${DEV}0"
}

# MODE: the device's writes take what the file's own take.
like_the_file() {
	setup
	local wanted image=$WORK/fs/image
	[[ $1 == on ]] || echo "through the page cache"
	trace_disk durable_writes "$image"
	wanted="$FLUSHES $SECTORS"
	attach "${DEV}0" --direct-io="$1" "$image"
	udevadm settle
	trace_disk durable_writes "${DEV}0"
	expect_equal "$FLUSHES $SECTORS" "$wanted" "flushes and sectors"
	detach "${DEV}0"
}

# MODE: what else there is to write in the file stays where it is.
only_its_own() {
	setup
	attach "${DEV}0" --direct-io="$1" "$WORK/fs/image"
	udevadm settle
	set_for_test /proc/sys/vm/dirty_writeback_centisecs 0
	dd if=/dev/urandom of="$WORK/fs/image" bs=1M seek=32 count=8 conv=notrunc status=none
	trace_disk durable_writes "${DEV}0"
	((SECTORS < 8 * 2048)) || fail "$SECTORS sectors written"
	trace_disk blockdev --flushbufs "${DEV}0"
	trace_disk sync -f "$WORK/fs/image"
	((SECTORS >= 8 * 2048)) || fail "the rest had been written"
	detach "${DEV}0"
}

# MODE: what a program syncs in a filesystem on the device is on the disk below.
synced() {
	setup
	attach "${DEV}0" --direct-io="$1" "$WORK/fs/image"
	mkfs.ext4 -q -F "${DEV}0"
	mkdir -p "$WORK/inner"
	mount "${DEV}0" "$WORK/inner"
	defer unmount_quietly "$WORK/inner"
	random_file "$WORK/data" 256K
	defer rm -f "$WORK/data"
	trace_disk dd if="$WORK/data" of="$WORK/inner/file" bs=64K conv=fdatasync status=none
	((FLUSHES + FUA_WRITES > 0)) || fail "the disk was not told to keep anything"
	((SECTORS >= 512)) || fail "$SECTORS sectors written"
	# The last thing that the disk is told is that.
	awk '
		{
			for (i = 1; i <= NF; i++)
				if ($i == "block_bio_queue:")
					break
			if ($(i + 2) ~ /^F|^WF/)
				kept = NR
			else if ($(i + 2) ~ /^W/ && $(i + 2) !~ /M/)
				data = NR
		}
		END { exit !(kept > data) }' "$WORK/trace" || fail "data was written after the last flush"
	umount "$WORK/inner"
	detach "${DEV}0"
}

[[ $DRIVER == rust_loop ]] || skip_all "the C driver flushes the whole file"

test_case "queue/fua is 1 for a writable device" shown
test_case "queue/fua is 0 if the filesystem is on no device" not_everywhere
test_case "a FUA write is one on the disk below, direct" one_write
for mode in on off; do
	test_case "a FUA write costs as much as O_DSYNC on the file, direct I/O $mode" like_the_file $mode
	test_case "a FUA write does not write the rest of the file, direct I/O $mode" only_its_own $mode
	test_case "fdatasync in a filesystem on the device reaches the disk, direct I/O $mode" synced $mode
done

run_cases
