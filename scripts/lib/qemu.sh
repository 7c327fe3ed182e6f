# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2054 # commas are qemu's
#
# The command line of the virtual machine.

# On a busy host the emulated timers are late. Therefore the kernel trusts its clocks, and the
# watchdogs have long timeouts. Messages of tests are not rate-limited. The log buffer is large,
# so that no message of a test is overwritten before it is read, which could hide a splat. KUnit runs
# the driver's tests only: one of the kernel crate expects interrupts to be off under a spinlock,
# which they are not with PREEMPT_RT.
QEMU_APPEND="ignore_loglevel printk.devkmsg=on log_buf_len=4M panic=-1 oops=panic
 no_timer_check cryptomgr.notests=1 tsc=reliable watchdog_thresh=60 workqueue.watchdog_thresh=120
 rcupdate.rcu_cpu_stall_timeout=120 kunit.filter_glob=rust_loop* rdinit=/init"
QEMU_APPEND=${QEMU_APPEND//$'\n'/}

# All features except five-level page tables. With these, one boot of the debug kernel in
# twenty reports a wild access by KASAN: an interrupt arrives while the boot CPU is identified.
# KASAN derives the size of the address space from feature bits that are being read again then.
QEMU_CPU=max,la57=off
# Without the feature bits for fast string instructions, the kernel and the C library copy by
# words. That is two to nine times as fast, because string instructions are emulated byte by
# byte. Counting instructions uses the bits, so that the counts do not depend on this.
QEMU_TCG_CPU=$QEMU_CPU,-erms,-fsrm

# qemu_share TAG DIRECTORY ACCESS: share a directory of the host by 9p. A kernel without that
# gets a copy.
qemu_share() {
	if [[ ! -e $BOOT/has-9p ]]; then
		qemu_share_copy "$1" "$2"
		return
	fi
	ARGS+=(-fsdev "local,id=$1,path=$2,security_model=none$3"
		-device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}

# qemu_share_copy TAG DIRECTORY: a disk with a copy, without history and most of what was built.
qemu_share_copy() {
	local copy=$RUN/share-$1 size

	mkdir -p "$copy"
	tar -C "$2" --exclude=./.git --exclude='./build/[!t]*' -c . | tar -C "$copy" -x
	size=$(du -sm "$copy" | cut -f1)
	mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$copy" "$copy.ext4" "$((size + size / 4 + 32))M"
	rm -rf --one-file-system "$copy"
	ARGS+=(-drive "id=share-$1,if=none,file=$copy.ext4,format=raw,readonly=on"
		-device "virtio-blk-pci,drive=share-$1,serial=share-$1")
}

# qemu_port NAME FILE: add a channel from the guest to a file or fifo.
qemu_port() {
	ARGS+=(-chardev "file,id=$1,path=$2"
		-device "virtserialport,chardev=$1,name=$1")
}

qemu_disks() {
	local disk i=0

	for disk in "${DISKS[@]}"; do
		i=$((i + 1))
		case $disk in
		/*)
			qemu_image "$i" "$disk"
			;;
		*)
			truncate -s "$disk" "$RUN/disk$i"
			ARGS+=(-drive "id=disk$i,if=none,file=$RUN/disk$i,format=raw,cache=unsafe,discard=unmap")
			;;
		esac
		ARGS+=(-device "virtio-blk-pci,drive=disk$i")
	done
}

# qemu_image N FILE: add an image of the caller as a disk. The large cache keeps the location of
# newly written data of a qcow2 image in memory until the guest flushes the disk.
qemu_image() {
	local format=raw

	[[ "$(head -c 3 "$2")" != QFI ]] || format=qcow2,l2-cache-size=32M
	ARGS+=(-drive "id=disk$1,if=none,file=$2,cache=writeback,format=$format")
}

qemu_accel() {
	if [[ -n $ICOUNT ]]; then
		ARGS+=(-accel tcg,thread=single -icount shift=0,sleep=off -smp "$CPUS" -cpu "$QEMU_CPU")
	elif [[ $KERNEL_ARCH == arm64 ]]; then
		ARGS+=(-accel tcg,thread=multi -smp "$CPUS" -cpu "$(qemu_arm64_cpu)")
	elif [[ $ACCEL == kvm ]]; then
		ARGS+=(-accel kvm -smp "$CPUS" -cpu host)
	else
		ARGS+=(-accel tcg,thread=multi -smp "$CPUS" -cpu "$QEMU_TCG_CPU")
	fi
}

# A cortex-a72 has 32-bit processes, but no pages of 16 KiB.
qemu_arm64_cpu() {
	case $KERNEL_NAME in
	*-16k) echo max ;;
	*) echo cortex-a72 ;;
	esac
}

qemu_machine() {
	case $KERNEL_ARCH in
	amd64) ARGS+=(-machine q35 -append "console=ttyS0 $QEMU_APPEND $APPEND") ;;
	arm64) ARGS+=(-machine virt,gic-version=3 -append "console=ttyAMA0 $QEMU_APPEND $APPEND") ;;
	esac
}

# choose_accel: set ACCEL. Boots a guest with KVM once for each kernel of the host, and stores
# the result, because on some machines /dev/kvm opens but guests hang after the firmware.
choose_accel() {
	local answer

	ACCEL=${RUST_LOOP_ACCEL:-}
	[[ -z $ACCEL ]] || return 0
	ACCEL=tcg
	if [[ ! -w /dev/kvm ]] || [[ -n $ICOUNT ]] || [[ $KERNEL_ARCH != amd64 ]]; then
		return 0
	fi
	answer=$CACHE/accel-$(key "$(uname -rv)" "$(emulator_name)")
	if [[ ! -s $answer ]]; then
		lock accel
		[[ -s $answer ]] || try_kvm "$answer"
		unlock accel
	fi
	ACCEL=$(<"$answer")
}

# try_kvm ANSWER: write kvm to ANSWER if a guest reaches user space, else tcg.
try_kvm() {
	local accel=tcg

	say "trying whether a guest boots with KVM (up to 10 s, once)"
	# In a subshell: of a child that a signal ends, the shell prints a line of its own.
	(timeout -k 2 10 "$QEMU" -nodefaults -no-user-config -display none -no-reboot \
		-machine q35 -accel kvm -cpu host -m 512 -kernel "$BOOT/vmlinuz" \
		-initrd "$RUN/initramfs" -serial "file:$RUN/trial" \
		-append "console=ttyS0 panic=-1 rdinit=/init rust_loop_trial" \
		</dev/null >"$CACHE/log/kvm-trial.log" 2>&1; exit $?) 2>/dev/null || :
	! grep -qs "guest: user space reached" "$RUN/trial" || accel=kvm
	say "  guests will run with $accel"
	echo "$accel" >"$1.new"
	mv "$1.new" "$1"
}

# qemu_arguments: set ARGS from the options of the run.
qemu_arguments() {
	ARGS=(-nodefaults -no-user-config -display none -no-reboot
		-m "$MEM"
		-kernel "$BOOT/vmlinuz" -initrd "$RUN/initramfs"
		-serial "file:$RUN/console"
		-drive "id=root,if=none,file=$IMAGE,format=raw,readonly=on"
		-device virtio-blk-pci,drive=root
		-device virtio-serial-pci)
	qemu_machine
	qemu_accel
	qemu_disks
	qemu_port out "$RUN/out"
	qemu_port err "$RUN/err"
	qemu_port status "$RUN/status"
	qemu_share modules "$MODULES" ,readonly=on
	qemu_share src "$TOP" ,readonly=on
	[[ -z $SHARE ]] || qemu_share share "$SHARE" ,readonly=on
	[[ -z $SHARE_RW ]] || qemu_share out "$SHARE_RW" ''
	[[ -z $PLUGIN ]] || ARGS+=(-plugin "$PLUGIN")
	[[ -z $PIDFILE ]] || ARGS+=(-pidfile "$PIDFILE")
}
