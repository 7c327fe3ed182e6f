# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016 # the wrapper expands its own variables
#
# The emulator. Debian 12's own (7.2) now and then runs a stale translation of
# code that another processor has just patched: one boot in twenty of two
# processors ended in "Oops: int3". So both Debian releases use the emulator of
# the suite that the build tree is of, from a directory of its own: nothing has
# to be installed, and a figure measured on one host means the same on another.

emulator_name()
{
	printf 'emulator-%s\n' "$(key "$SUITE" "$(declare -f emulator_build emulator_wrapper)")"
}

emulator_prepare()
{
	artefact "$(emulator_name)" \
		"emulator: QEMU of Debian $SUITE (53 MB to fetch, 0.16 GB, about 15 s)" \
		emulator_build
}

# Unpacked, not installed: it is never entered, only run.
emulator_build()
{
	local dir=$1

	debian_tree "$dir" extract qemu-system-x86 qemu-utils libc6
	emulator_wrapper "$dir/qemu" qemu-system-x86_64 \
		'-L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"'
	emulator_wrapper "$dir/qemu-img" qemu-img ''
	"$dir/qemu" --version
	"$dir/qemu-img" --version
}

# emulator_wrapper FILE PROGRAM ARGUMENTS
emulator_wrapper()
{
	# Its libraries have a few private directories.
	cat >"$1" <<-END
		#!/bin/sh
		tree=\$(dirname "\$0")
		lib=\$tree/usr/lib/x86_64-linux-gnu
		exec "\$lib/ld-linux-x86-64.so.2" --library-path "\$lib:\$lib/pulseaudio" \\
			"\$tree/usr/bin/$2" $3 "\$@"
	END
	chmod +x "$1"
}
