#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 1024 --disk 256M
# leaks: no
# debug: badinput_recursion stacks devices
#
# On a single processor the block layer ends a request where it is told that it is done,
# and not in a softirq.

. "$(dirname "$0")/lib.sh"
. "$TESTS/deep.bash"

test_case "$LEVELS devices on each other keep data, direct" deep

run_cases
