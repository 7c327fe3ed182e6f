#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 3 --mem 1024
# timeout: 240 900
#
# All operations on devices at once, from several processes, with udev looking on.

. "$(dirname "$0")/lib.sh"

seconds() {
	if [[ -n ${RACE_SECONDS:-} ]]; then
		echo "$RACE_SECONDS"
	elif [[ $KERNEL == stock ]]; then
		echo 25
	else
		echo 60
	fi
}

race() {
	ensure_driver
	mkdir "$WORK/race"
	random_file "$WORK/race/raw0" 1M
	random_file "$WORK/race/raw1" 1M
	truncate -s 4M "$WORK/race/table" "$WORK/race/ext4"
	printf 'label: gpt\nsize=1M\nsize=1M\n' | sfdisk -q "$WORK/race/table"
	mkfs.ext4 -q "$WORK/race/ext4"
	"$PROGRAMS/race.py" "$PREFIX" "$WORK/race" "$(seconds)" >"$WORK/operations" || {
		cat "$WORK/operations"
		return 1
	}
	report_lines <"$WORK/operations"
}

afterwards() {
	udevadm settle
	load_driver max_loop=2
	random_file "$WORK/image" 1M
	attach "${DEV}0" "$WORK/image"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

test_case "after all operations at once every device can be unbound and removed" race
test_case "the module unloads after that" driver_unloads
test_case "the driver works when it is loaded again" afterwards

run_cases
