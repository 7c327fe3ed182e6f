#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
#
# A device is never below itself.

. "$(dirname "$0")/lib.sh"

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer 'rm -f "$WORK/image"'
}

itself() {
	setup
	expect EBADF loopctl configure "${DEV}0" "${DEV}0"
	expect EBADF loopctl set-fd "${DEV}0" "${DEV}0"
	expect ENXIO loopctl status "${DEV}0"
	attach "${DEV}0" "$WORK/image"
	expect EBUSY loopctl configure "${DEV}0" "${DEV}0"
	detach "${DEV}0"
}

by_another_node() {
	setup
	local numbers
	read -ra numbers <<<"$(stat -c '0x%t 0x%T' "${DEV}0")"
	mknod "$WORK/node" b "$((numbers[0]))" "$((numbers[1]))"
	defer 'rm "$WORK/node"'
	expect EBADF loopctl configure "${DEV}0" "$WORK/node"
}

unbound_device() {
	setup
	expect EINVAL loopctl configure "${DEV}0" "${DEV}1"
	expect ENXIO loopctl status "${DEV}0"
}

# Each on the other: neither is bound yet, so neither can be the first.
mutual() {
	setup
	attach "${DEV}0" "$WORK/image"
	attach "${DEV}1" "${DEV}0"
	attach "${DEV}2" "${DEV}1"
	expect EBUSY loopctl configure "${DEV}0" "${DEV}1"
	expect EBUSY loopctl configure "${DEV}0" "${DEV}2"
	expect EBUSY loopctl configure "${DEV}1" "${DEV}2"
	dd if="${DEV}2" of=/dev/null bs=64K iflag=direct status=none
	detach "${DEV}2"
	detach "${DEV}1"
	detach "${DEV}0"
}

# A device on its way out is nothing to build on.
detaching_device() {
	setup
	attach "${DEV}0" "$WORK/image"
	udevadm settle
	python3 - "${DEV}0" "${DEV}1" <<-'PYTHON'
		import errno, fcntl, os, sys
		below = os.open(sys.argv[1], os.O_RDWR)
		above = os.open(sys.argv[2], os.O_RDWR)
		fcntl.ioctl(below, 0x4C01, 0)
		try:
		    fcntl.ioctl(above, 0x4C00, below)
		except OSError as error:
		    assert error.errno == errno.EINVAL, error
		else:
		    fcntl.ioctl(above, 0x4C01, 0)
		    sys.exit("attached to a device on its way out")
	PYTHON
	wait_until 10 is_unbound "${DEV}0" || fail "still bound"
}

# The walk down a stack while its devices come and go.
race() {
	setup
	python3 - "$DEV" "$WORK/image" "$([[ $KERNEL == stock ]] && echo 5 || echo 12)" <<-'PYTHON'
		import fcntl, os, sys, threading, time
		dev, image, seconds = sys.argv[1:]
		end = time.monotonic() + int(seconds)
		bound = {}

		def churn(number, below):
		    bound[number] = 0
		    while time.monotonic() < end:
		        fds = []
		        try:
		            fds.append(os.open(f"{dev}{number}", os.O_RDWR))
		            fds.append(os.open(below, os.O_RDWR))
		            fcntl.ioctl(fds[0], 0x4C00, fds[1])
		            bound[number] += 1
		            os.pread(fds[0], 4096, 0)
		            fcntl.ioctl(fds[0], 0x4C01, 0)
		        except OSError:
		            pass
		        finally:
		            for fd in fds:
		                os.close(fd)

		stack = [(0, image), (1, f"{dev}0"), (2, f"{dev}1"), (0, f"{dev}2"), (1, f"{dev}1")]
		threads = [threading.Thread(target=churn, args=one) for one in stack]
		for thread in threads:
		    thread.start()
		for thread in threads:
		    thread.join()
		print(bound)
	PYTHON
	udevadm settle
	local i
	for i in 2 1 0; do
		wait_until 10 is_unbound "${DEV}$i" || fail "${DEV}$i still bound"
	done
	attach "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

it "on itself" itself
it "on itself by another node" by_another_node
it "on an unbound device" unbound_device
it "on a device being detached" detaching_device
it "on a device above it" mutual
it "stacks that come and go" race

run
