# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016 # the wrapper expands its own variables
#
# The emulator. All hosts use the QEMU of the suite of the build tree, from a separate
# directory. Nothing has to be installed, and measurements on different hosts are comparable.
# The QEMU of Debian 12 (7.2) sometimes executes a stale translation of code that another CPU
# has just patched: one boot in twenty with two CPUs ended in "Oops: int3".

emulator_name() {
	printf 'emulator%s-%s\n' "$(arch_suffix)" \
		"$(key "$BASE_SUITE" "$(declare -f "emulator_build_$KERNEL_ARCH" emulator_build emulator_wrapper)")"
}

emulator_prepare() {
	SUITE=$BASE_SUITE artefact "$(emulator_name)" \
		"emulator of $KERNEL_ARCH: QEMU of Debian $BASE_SUITE (58 MB to fetch, 0.16 GB, about 15 s)" \
		"emulator_build_$KERNEL_ARCH"
}

emulator_build_arm64() {
	emulator_build "$1" arm aarch64 '-L "$tree/usr/share/qemu"'
}

emulator_build_amd64() {
	emulator_build "$1" x86 x86_64 '-L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"'
}

# emulator_build DIR PACKAGE MACHINE ARGUMENTS: the packages are unpacked, not installed, because
# programs run from outside of the tree.
emulator_build() {
	debian_tree "$1" extract "qemu-system-$2" qemu-utils libc6
	emulator_wrapper "$1/qemu" "qemu-system-$3" "$4"
	emulator_wrapper "$1/qemu-img" qemu-img ''
	"$1/qemu" --version
	"$1/qemu-img" --version
}

# emulator_wrapper FILE PROGRAM ARGUMENTS
emulator_wrapper() {
	# Some libraries are in private directories.
	cat >"$1" <<-END
		#!/bin/sh
		tree=\$(dirname "\$0")
		lib=\$tree/usr/lib/x86_64-linux-gnu
		exec "\$lib/ld-linux-x86-64.so.2" --library-path "\$lib:\$lib/pulseaudio" \\
			"\$tree/usr/bin/$2" $3 "\$@"
	END
	chmod +x "$1"
}

# emulator_fault LOG: whether the guest died since the emulator executed an int3 that was
# not there any more: what it had translated while another processor patched that code.
# The kernel prints the code as it is in memory; behind a real int3 there is a "cc".
emulator_fault() {
	local code
	code=$(sed -n '/Oops: int3/,/Code: /p' "$1" | sed -n 's/.* \([0-9a-f][0-9a-f]\) <.*/\1/p' |
		head -n 1)
	[[ -n $code && $code != cc ]]
}
