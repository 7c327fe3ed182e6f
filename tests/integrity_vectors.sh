#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024
# leaks: no
#
# Requests of several bios, of bios that begin in the middle of a vector, and
# of vectors smaller than a page.

. "$(dirname "$0")/lib.sh"

scattered() {
	ensure_driver
	truncate -s 8M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	echo "$1" >"/sys/block/${PREFIX}0/queue/max_sectors_kb"
	"$PROGRAMS/vecio.py" "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

# Neighbouring writes submitted together are merged by the plug into requests
# of many bios.
merged() {
	ensure_driver
	local stat before after
	truncate -s 8M "$WORK/image"
	random_file "$WORK/data" 8M
	defer rm -f "$WORK/image" "$WORK/data"
	attach "${DEV}0" "$WORK/image"
	stat=/sys/block/${PREFIX}0/stat
	before=$(awk '{ print $6 }' "$stat")
	dd if="$WORK/data" of="${DEV}0" bs=1M conv=fsync status=none
	after=$(awk '{ print $6 }' "$stat")
	((after > before)) || fail "no write was merged"
	cmp "$WORK/data" "$WORK/image"
	blockdev --flushbufs "${DEV}0"
	cmp "$WORK/data" "${DEV}0"
	detach "${DEV}0"
}

test_case "data are right with scattered vectors, requests of 1280 KiB" scattered 1280
test_case "data are right with scattered vectors, split at 28 KiB" scattered 28
test_case "data are right in requests merged from many bios" merged

run_cases
