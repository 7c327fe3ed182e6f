#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 1024 --disk 256M
# timeout: 600 900
# leaks: no
# debug: oracle_random calls the same ioctls
#
# Every ioctl in every state with every kind of argument: the same as the C
# driver. Without WHOLE=1 a quarter of the cases of each state, in each state another one.

TESTS=$(cd "$(dirname "$0")" && pwd)
. "$TESTS/loopdiff.bash"

[[ -n ${WHOLE:-} ]] || export SAMPLE=${SAMPLE:-4}

# On the debug kernel fewer states: it is ten times slower.
if [[ $KERNEL == debug ]]; then
	test_case "every ioctl is as in C, with an offset" on_tmpfs systematic offset
else
	test_case "every ioctl is as in C, unbound" on_tmpfs systematic '*unbound'
	test_case "every ioctl is as in C, bound" on_tmpfs systematic 'bound*'
	test_case "every ioctl is as in C, while the device goes away" on_tmpfs systematic '@(autoclear|rundown)'
	test_case "every ioctl is as in C, stacked" on_tmpfs systematic 'stack*'
	test_case "every ioctl is as in C, held exclusively" on_tmpfs systematic 'exclusive-o*'
	test_case "every ioctl is as in C, with partitions" on_tmpfs systematic '*part*'
	test_case "every ioctl is as in C, offset, direct I/O, large blocks" on_tmpfs systematic '@(offset|direct|large-blocks)'
fi
test_case "the C driver unloads" c_driver_unloads

run_cases
