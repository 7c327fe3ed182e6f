#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
#
# Devices are added and removed through the control device.

. "$(dirname "$0")/lib.sh"

control() {
	loopctl control "$CTL" "$@"
}

# udev makes and removes the node.
node_gone() {
	[[ ! -e $1 ]]
}

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer 'rm -f "$WORK/image"'
}

add_remove() {
	setup
	expect 30 control add 30
	wait_until 10 test -b "${DEV}30"
	expect EEXIST control add 30
	attach "${DEV}30" "$WORK/image"
	dd if="${DEV}30" of=/dev/null bs=4k count=4 iflag=direct status=none
	expect EBUSY control remove 30
	detach "${DEV}30"
	udevadm settle
	expect 0 control remove 30
	wait_until 10 node_gone "${DEV}30"
	expect ENODEV control remove 30
	[[ ! -d /sys/block/${PREFIX}30 ]] || fail "still in sysfs"
	[[ $DRIVER == loop || ! -d $DEBUGFS/rust_loop/${PREFIX}30 ]] || fail "still in debugfs"
}

beyond_max_loop() {
	setup
	expect 1000 control add 1000
	wait_until 10 test -b "${DEV}1000"
	udevadm settle
	expect 0 control remove 1000
}

open_handles() {
	setup
	expect 31 control add 31
	wait_until 10 test -b "${DEV}31"
	exec 7<"${DEV}31"
	expect EBUSY control remove 31
	exec 7<&-
	udevadm settle
	expect 0 control remove 31
}

get_free() {
	setup
	local free i
	free=$(control get-free)
	same "$free" 0 "first free device"
	attach "${DEV}0" "$WORK/image"
	expect 1 control get-free
	for ((i = 1; i < 8; i++)); do
		attach "${DEV}$i" "$WORK/image"
	done
	# All in use: a new one is made.
	free=$(control get-free)
	((free >= 8)) || fail "get-free gave $free"
	wait_until 10 test -b "${DEV}$free"
	expect "$free" control get-free
	udevadm settle
	expect 0 control remove "$free"
}

add_any() {
	setup
	local first second
	first=$(control add -1)
	second=$(control add -1)
	((first >= 0 && second >= 0 && first != second)) || fail "got $first and $second"
	udevadm settle
	expect 0 control remove "$first"
	expect 0 control remove "$second"
}

bad_requests() {
	setup
	expect EINVAL control remove -1
	expect ENODEV control remove 12345
	expect ENOSYS control 0x4C7F
	expect ENOSYS control 0x4C83
	expect ENOSYS control 0
}

# Adders, removers, openers and attachers of the same few devices at once.
race() {
	setup
	python3 - "$DEV" "$CTL" "$WORK/image" "$([[ $KERNEL == stock ]] && echo 6 || echo 12)" <<-'PYTHON'
		import fcntl, os, random, sys, threading, time
		dev, ctl, image, seconds = sys.argv[1:]
		end = time.monotonic() + int(seconds)
		done = [0] * 4

		def attempt(kind, action):
		    while time.monotonic() < end:
		        try:
		            action(random.randrange(40, 44))
		            done[kind] += 1
		        except OSError:
		            pass

		def control(request):
		    def action(number):
		        fd = os.open(ctl, os.O_RDWR)
		        try:
		            fcntl.ioctl(fd, request, number)
		        finally:
		            os.close(fd)
		    return action

		def opener(number):
		    fd = os.open(f"{dev}{number}", os.O_RDONLY)
		    try:
		        os.read(fd, 512)
		    finally:
		        os.close(fd)

		def attacher(number):
		    fd = os.open(f"{dev}{number}", os.O_RDWR)
		    backing = os.open(image, os.O_RDWR)
		    try:
		        fcntl.ioctl(fd, 0x4C00, backing)
		        os.pread(fd, 4096, 0)
		        fcntl.ioctl(fd, 0x4C01, 0)
		    finally:
		        os.close(backing)
		        os.close(fd)

		actions = (control(0x4C80), control(0x4C81), opener, attacher)
		threads = [threading.Thread(target=attempt, args=(kind, action))
		           for kind, action in enumerate(actions) for _ in range(2)]
		for thread in threads:
		    thread.start()
		for thread in threads:
		    thread.join()
		print("added, removed, opened, attached:", done)
		if not all(done):
		    sys.exit("one of the four never succeeded")
	PYTHON
	local i
	udevadm settle
	for i in 40 41 42 43; do
		[[ ! -d /sys/block/${PREFIX}$i ]] || wait_until 10 removed "$i" ||
			fail "device $i cannot be removed"
	done
}

removed() {
	[[ $(control remove "$1") == 0 ]]
}

it "add, use, remove" add_remove
it "numbers beyond max_loop" beyond_max_loop
it "not removed under open handles" open_handles
it "get-free: the first free one, or a new one" get_free
it "add without a number" add_any
it "bad requests" bad_requests
it "add, remove, open and attach at once" race

run
