#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 1024 --disk 256M
# timeout: 600 900
# leaks: no
#
# Every ioctl in every state with every kind of argument: the same as the C
# driver.

TESTS=$(cd "$(dirname "$0")" && pwd)
. "$TESTS/loopdiff.bash"

# On the debug kernel only some: it is ten times slower.
if [[ $KERNEL == debug ]]; then
	it "bound" on_tmpfs systematic offset
else
	it "unbound" on_tmpfs systematic '*unbound'
	it "bound" on_tmpfs systematic 'bound*'
	it "going away" on_tmpfs systematic '@(autoclear|rundown)'
	it "stacked" on_tmpfs systematic 'stack*'
	it "held" on_tmpfs systematic 'exclusive-o*'
	it "partitions" on_tmpfs systematic '*part*'
	it "settings" on_tmpfs systematic '@(offset|direct|large-blocks)'
fi
it "the C driver unloads" c_driver_unloads

run
