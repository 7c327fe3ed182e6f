#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 1024 --disk 256M
# timeout: 600 900
# leaks: no
#
# Random sequences of what a user may do: the same as with the C driver.
#
# By hand: scripts/vm --disk 256M -- env SEED=1000 STEPS=1000000 bash /mnt/src/tests/oracle_random.sh

TESTS=$(cd "$(dirname "$0")" && pwd)
. "$TESTS/loopdiff.bash"

export SEED=${SEED:-1}
steps=4000
[[ -z ${WHOLE:-} ]] || steps=10000
[[ $KERNEL != debug ]] || steps=1500
export STEPS=${STEPS:-$steps}

# Other sequences than on tmpfs.
elsewhere() {
	SEED=$((SEED + 100000)) on_ext4 random
}

test_case "random sequences are as in C, files on tmpfs" on_tmpfs random
test_case "random sequences are as in C, files on ext4" elsewhere
test_case "the C driver unloads" c_driver_unloads

run_cases
