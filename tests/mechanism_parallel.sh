#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
# leaks: no
# debug: it counts what other scripts do
#
# One worker has many reads of a slow disk under way at once, in both modes.

. "$(dirname "$0")/lib.sh"

READS=16 DELAY_MS=200

# slow MS create|reload: how long a read of the disk takes.
slow() {
	dmsetup "$2" slow --table "0 $(blockdev --getsz /dev/vdb) delay /dev/vdb 0 $1 /dev/vdb 0 0"
}

many_reads() {
	local took
	need_rust_loop
	ensure_driver
	mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/vdb
	slow 0 create
	defer dmsetup remove slow
	mkdir -p "$WORK/fs"
	mount /dev/mapper/slow "$WORK/fs"
	defer umount "$WORK/fs"
	random_file "$WORK/fs/image" "${READS}M"
	sync "$WORK/fs/image"
	attach "${DEV}0" "$@" "$WORK/fs/image"
	udevadm settle
	dd of="$WORK/fs/image" oflag=nocache conv=notrunc count=0 status=none
	slow "$DELAY_MS" reload
	dmsetup suspend --nolockfs slow
	dmsetup resume slow
	fio --name=reads --filename="${DEV}0" --direct=1 --ioengine=libaio --iodepth="$READS" \
		--rw=randread --bs=4k --number_ios="$READS" --size="${READS}M" --thread \
		--output-format=json --output="$WORK/reads"
	took=$("$PROGRAMS/fio_field.py" "$WORK/reads" jobs.0.read.runtime)
	report "$READS reads of $DELAY_MS ms each took $took ms"
	((took >= DELAY_MS)) || fail "they were not read from the disk"
	((took < READS * DELAY_MS / 2)) || fail "they were done one after the other"
	slow 0 reload
	dmsetup suspend --nolockfs slow
	dmsetup resume slow
	detach "${DEV}0"
}

test_case "one worker has many reads in flight, buffered" many_reads
test_case "one worker has many reads in flight, direct" on_stock many_reads --direct-io=on

run_cases
