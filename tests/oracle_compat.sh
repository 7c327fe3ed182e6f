#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 1024
# um: no processes of 32 bits
# timeout: 600 900
# leaks: no
# debug: oracle_random calls the same ioctls
#
# The same as the C driver to a 32-bit program. Without WHOLE=1 a third of the cases.

TESTS=$(cd "$(dirname "$0")" && pwd)
WORD_SIZE=32
. "$TESTS/loopdiff.bash"

export SEED=${SEED:-200000}
steps=1500
[[ -z ${WHOLE:-} ]] || steps=4000
[[ $KERNEL != debug ]] || steps=500
export STEPS=${STEPS:-$steps}
[[ -n ${WHOLE:-} ]] || export SAMPLE=${SAMPLE:-3}

if [[ $KERNEL == debug ]]; then
	test_case "every ioctl of 32 bits is as in C, unbound" on_tmpfs systematic exclusive-unbound
else
	test_case "every ioctl of 32 bits is as in C, unbound" on_tmpfs systematic 'unbound'
	test_case "every ioctl of 32 bits is as in C, bound" on_tmpfs systematic 'bound'
fi
test_case "random sequences of 32 bits are as in C" on_tmpfs random
test_case "the C driver unloads" c_driver_unloads

run_cases
