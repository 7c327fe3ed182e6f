#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
# leaks: no
# debug: integrity_direct and integrity_vectors send the same requests
#
# fio reads the data that it wrote, for each legal request size and order.

. "$(dirname "$0")/lib.sh"

# The debug kernel is several times slower; the behaviours are the same.
amount=12
[[ -z ${WHOLE:-} ]] || amount=24
[[ $KERNEL == stock ]] || amount=4

verify() {
	ensure_driver
	truncate -s 64M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	fio --name=verify --filename="${DEV}0" --ioengine=libaio --iodepth=16 \
		--direct=1 --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--size="${amount}M" --output-format=terse --output="$WORK/fio" "$@" || {
		cat "$WORK/fio"
		fail "fio found a difference"
	}
	detach "${DEV}0"
}

verify_4k() {
	ensure_driver
	truncate -s 16M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" --sector-size 4096 "$WORK/image"
	expect blockdev --getss "${DEV}0" = 4096
	expect_failure dd if="${DEV}0" of=/dev/null bs=512 count=1 iflag=direct status=none
	fio --name=verify --filename="${DEV}0" --ioengine=libaio --iodepth=8 \
		--direct=1 --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--rw=randwrite --bs=4k --size=2M --output="$WORK/fio"
	detach "${DEV}0"
}

for order in write randwrite; do
	test_case "data are right, $order, 512 bytes" verify --rw=$order --bs=512 --size=$((amount * 64))k
	test_case "data are right, $order, 4 KiB" verify --rw=$order --bs=4k --size=$((amount / 2))M
	test_case "data are right, $order, 64 KiB" verify --rw=$order --bs=64k
	test_case "data are right, $order, 1 MiB" verify --rw=$order --bs=1M
done
test_case "data are right, mixed sizes 512 bytes to 1 MiB" verify --rw=randwrite --bsrange=512-1M --blockalign=512
test_case "data are right with trims between writes" verify --rw=randtrimwrite --bs=4k --size=$((amount / 2))M
test_case "data are right through the page cache with fsync" verify --rw=randwrite --bs=4k \
	--direct=0 --ioengine=psync --iodepth=1 --fsync=64 --size=$((amount / 2))M
test_case "data are right with four writers at once" verify --rw=randwrite --bs=16k --numjobs=4 \
	--size=$((amount / 4))M --offset_increment=16M
test_case "data are right with logical blocks of 4 KiB" verify_4k

run_cases
