# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Kernels of arm64, for a guest that has busybox only.

arm64_boot_name() {
	printf 'arm64-boot-%s-%s\n' "$KERNEL_NAME" \
		"$(key "$KERNEL_DEBVER" "$KERNEL_BINARY" "$(declare -f arm64_boot_build distribution_kernel arm64_programs guest_busybox)" \
			"$(key_files "$TOP"/tests/oldstatus/main.c)")"
}

arm64_boot_prepare() {
	artefact "$(arm64_boot_name)" \
		"kernel $KERNEL_NAME, loop.ko and programs (120 MB to fetch, about 20 s)" \
		arm64_boot_build
}

# arm64_boot_build DIR: vmlinuz, loop.ko, busybox and programs.
arm64_boot_build() {
	local dir=$1 source

	distribution_kernel "$dir"
	guest_busybox "$dir" ""
	mkdir "$dir/programs"
	xz -dc "$dir/unpacked/usr/lib/modules/$KERNEL_NAME/kernel/drivers/block/loop.ko.xz" \
		>"$dir/programs/loop.ko"
	rm -rf "$dir/unpacked"
	source=linux-source-$(kernel_series "$KERNEL_NAME")=$KERNEL_DEBVER
	archive_fetch "$source"
	dpkg-deb --fsys-tarfile "$(archive_deb "$source")" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc -T0 |
		tar -x -C "$dir" --strip-components=1 --wildcards '*/tools/include/nolibc/*'
	tree_run "$(tree_name "$KERNEL_RUST")" bash -ec \
		"$(declare -f arm64_programs); arm64_programs '$TOP' '$dir' '$GCC_VERSION'"
	rm -rf "$dir/tools"
}

# arm64_programs TOP DIR GCC: in the tree. The headers of all architectures are in one package.
arm64_programs() {
	local top=$1 dir=$2 gcc=$3 arch target bits include

	for bits in 64 32; do
		case $bits in
		64) arch=arm64 target=aarch64-linux-gnu ;;
		32) arch=arm target=arm-linux-gnueabihf ;;
		esac
		include=$dir/tools/$arch
		mkdir "$include"
		cp -r /usr/include/linux /usr/include/asm-generic "/usr/lib/linux/uapi/$arch/asm" "$include/"
		"$target-gcc-$gcc" -static -nostdlib -Os -Wall -Werror -fno-stack-protector \
			-fno-asynchronous-unwind-tables -isystem "$include" \
			-include "$dir/tools/include/nolibc/nolibc.h" \
			-o "$dir/programs/oldstatus$bits" "$top/tests/oldstatus/main.c" -lgcc
	done
}
