# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest: its user space (an ext4 image), and the boot files of each kernel (stock-boot-*,
# debug-boot-*: vmlinuz, initramfs, module tree; um-boot-* has linux instead of vmlinuz).

GUEST_DIR=$TOP/scripts/guest

guest_packages() {
	sed -e '/^#/d' "$GUEST_DIR/packages"
	# Words, separated by blanks.
	# shellcheck disable=SC2086
	printf '%s\n' ${GUEST_EXTRA_PACKAGES:-} | sed '/^$/d' | sort -u
}

guest_name() {
	printf 'guest%s-%s\n' "$(arch_suffix)" \
		"$(key "$BASE_SUITE" "$(guest_packages)" "$(declare -f guest_build "guest_tree_$KERNEL_ARCH")")"
}

guest_prepare() {
	SUITE=$BASE_SUITE artefact "$(guest_name)" \
		"guest userland: Debian $BASE_SUITE${GUEST_EXTRA_PACKAGES:+ with $GUEST_EXTRA_PACKAGES} (0.15 GB to fetch, 0.6 GB, about 40 s)" \
		guest_build
}

# guest_tree_ARCH DIR PACKAGE...
guest_tree_amd64() {
	debian_tree "$1" minbase "${@:2}"
}

# The programs of arm64 do not run here. So the packages are unpacked only, and what their
# scripts would do for these tests is done here.
guest_tree_arm64() {
	local dir=$1 base=(base-files base-passwd bash bsdutils coreutils dash debianutils diffutils
		findutils grep gzip hostname libc-bin ncurses-base ncurses-bin perl-base sed tar)
	local python=$1-python lib=$1-python/usr/lib/x86_64-linux-gnu

	TREE_ARCH=arm64 debian_tree "$dir" extract "${base[@]}" "${@:2}"
	# Without byte code each start of a program compiles all that it imports, which takes ten
	# seconds on a busy host. The same Python of this machine makes the same code.
	debian_tree "$python" extract python3 libc6
	PYTHONHOME=$python/usr "$lib/ld-linux-x86-64.so.2" --library-path "$lib" \
		"$python"/usr/bin/python3.[0-9]* -m compileall -q -s "$dir" \
		--invalidation-mode unchecked-hash "$dir"/usr/lib/python3*
	rm -rf --one-file-system "$python"
	cp "$dir/usr/share/base-passwd/passwd.master" "$dir/etc/passwd"
	cp "$dir/usr/share/base-passwd/group.master" "$dir/etc/group"
	ln -s gawk "$dir/usr/bin/awk"
	: >"$dir/etc/machine-id"
	[[ -e $dir/bin/sh ]]
}

guest_build() {
	local dir=$1 packages size

	mapfile -t packages < <(guest_packages)
	mkdir "$dir/root"
	"guest_tree_$KERNEL_ARCH" "$dir/root" "${packages[@]}"
	rm -rf "$dir"/root/var/cache/apt/* "$dir"/root/dev/*
	mkdir -p "$dir"/root/{proc,sys,dev,run,tmp,root,guest,mnt/src,mnt/share,mnt/out} \
		"$dir/root/usr/lib/modules"
	size=$(du -sm "$dir/root" | cut -f1)
	# The image is read-only: no journal, no reserved blocks, little room for metadata.
	mke2fs -q -t ext4 -O ^has_journal -m 0 -N 60000 -L guest \
		-d "$dir/root" "$dir/root.ext4" "$((size + size / 8 + 32))M"
	rm -rf --one-file-system "$dir/root"
}

# guest_initramfs DIR RELEASE TREE MODULE...: make DIR/initramfs with a shell and those of the
# modules that are not built into the kernel. DIR/has-9p says that the kernel has that; Debian's
# kernel for clouds has not.
guest_initramfs() {
	local dir=$1 release=$2 tree=$3 work=$1/initramfs.d

	shift 3
	mkdir -p "$work/modules"
	guest_busybox "$work/bin" "$tree"
	if tree_run "$tree" modprobe -d "$dir" -S "$release" -a --show-depends \
		"${SHARE_MODULES[@]}" >"$dir/share"; then
		: >"$dir/has-9p"
	else
		: >"$dir/share"
	fi
	tree_run "$tree" modprobe -d "$dir" -S "$release" -a --show-depends "$@" |
		cat - "$dir/share" | sed -n -E 's/^insmod ([^ ]+).*/\1/p' | awk '!seen[$0]++' >"$dir/insmod"
	xargs -r cp -t "$work/modules" <"$dir/insmod"
	sed 's|.*/||' "$dir/insmod" >"$work/modules/order"
	(cd "$work" && find . | cpio --quiet -o -H newc -R 0:0) >"$dir/initramfs"
	rm -rf "$work" "$dir/insmod" "$dir/share"
}

# guest_busybox DIR TREE: put one of the guest's architecture there.
guest_busybox() {
	local package

	mkdir -p "$1"
	if [[ $KERNEL_ARCH == amd64 ]]; then
		cp "$CACHE/$2/usr/bin/busybox" "$1/"
		return
	fi
	package=busybox-static=$(archive_query madison busybox-static | awk '{ print $3; exit }')
	archive_fetch "$package"
	dpkg-deb --fsys-tarfile "$(archive_deb "$package")" | tar -xO ./usr/bin/busybox >"$1/busybox"
	chmod +x "$1/busybox"
}

# modules_layout DIR RELEASE: make the directories in which old and new depmod and modprobe
# search.
modules_layout() {
	mkdir -p "$1/usr/lib/modules/$2"
	ln -s usr/lib "$1/lib"
}

# boot_modules DIR FROM TREE: the modules of a kernel that was built in FROM, and its release.
boot_modules() {
	local release

	release=$(cat "$2/release")
	cp "$2/release" "$1/"
	modules_layout "$1" "$release"
	cp -a "$2/usr/lib/modules/$release" "$1/usr/lib/modules/"
	tree_run "$3" depmod -b "$1" "$release"
}

# ---- stock ------------------------------------------------------------------

# The modules that a guest without hardware needs, of the distribution's 4000.
STOCK_MODULES=(arch block crypto fs lib mm net security
	drivers/{block,cdrom,char,crypto,dax,md,nvme,nvdimm,scsi,target,uio,virtio,vhost}
	drivers/net/{dummy,veth,virtio_net,tun,net_failover})
BOOT_MODULES=(virtio_pci virtio_blk virtio_console ext4 overlay)
SHARE_MODULES=(9p 9pnet_virtio)

stock_boot_name() {
	printf 'stock-boot-%s-%s\n' "$KERNEL_NAME" \
		"$(key "$KERNEL_DEBVER" "$KERNEL_BINARY" "${STOCK_MODULES[@]}" "${BOOT_MODULES[@]}" \
			"${SHARE_MODULES[@]}" "$(declare -f stock_boot_build distribution_kernel guest_initramfs guest_busybox)")"
}

stock_boot_prepare() {
	tree_prepare "$KERNEL_RUST"
	artefact "$(stock_boot_name)" \
		"stock kernel $KERNEL_NAME and its modules (120 MB to fetch, 0.2 GB, about 20 s)" \
		stock_boot_build
}

# distribution_kernel DIR: makes DIR/vmlinuz, and DIR/unpacked with the modules.
distribution_kernel() {
	local dir=$1 packages package

	packages=("$KERNEL_BINARY=$KERNEL_DEBVER" "linux-base-$KERNEL_NAME=$KERNEL_DEBVER"
		"linux-modules-$KERNEL_NAME=$KERNEL_DEBVER")
	archive_fetch "${packages[@]}"
	for package in "${packages[@]}"; do
		dpkg-deb -x "$(archive_deb "$package")" "$dir/unpacked"
	done
	# The file name of an unsigned kernel has a suffix.
	mv "$dir/unpacked/usr/lib/modules/$KERNEL_NAME"/vmlinuz* "$dir/vmlinuz"
}

stock_boot_build() {
	local dir=$1 from=$1/unpacked/usr/lib/modules/$KERNEL_NAME to=$1/usr/lib/modules/$KERNEL_NAME

	distribution_kernel "$dir"
	modules_layout "$dir" "$KERNEL_NAME"
	cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
	tar -C "$from" -c --ignore-failed-read "${STOCK_MODULES[@]/#/kernel/}" |
		tar -C "$to" -x
	# A guest without hardware acceleration takes 3 s to decompress xfs, check
	# its signature and read its type information. The code of modules is unchanged.
	find "$to" -name '*.ko.xz' -print0 | xargs -0 -r -P "$(nproc)" -n 50 xz -d
	find "$to" -name '*.ko' -print0 | tree_run "$(tree_name "$KERNEL_RUST")" \
		xargs -0 -r -P "$(nproc)" -n 50 "llvm-strip-$LLVM_VERSION" --strip-debug -R .BTF -R .BTF.base
	tree_run "$(tree_name "$KERNEL_RUST")" depmod -b "$dir" "$KERNEL_NAME"
	rm -rf "$dir/unpacked"
	guest_initramfs "$dir" "$KERNEL_NAME" "$(tree_name "$KERNEL_RUST")" "${BOOT_MODULES[@]}"
	printf '%s\n' "$KERNEL_NAME" >"$dir/release"
}

# ---- debug ------------------------------------------------------------------

debug_boot_name() {
	printf 'debug-boot-%s\n' "$(key "$(debug_name)" "${BOOT_MODULES[@]}" \
		"${SHARE_MODULES[@]}" "$(declare -f debug_boot_build boot_modules guest_initramfs guest_busybox)")"
}

debug_boot_prepare() {
	debug_prepare
	artefact "$(debug_boot_name)" \
		"initramfs and module tree of the debug kernel (about 5 s)" \
		debug_boot_build
}

debug_boot_build() {
	local dir=$1 from tree release

	from=$CACHE/$(debug_name)
	tree=$(tree_name "$KERNEL_RUST")
	release=$(cat "$from/release")
	cp "$from/vmlinuz" "$dir/"
	boot_modules "$dir" "$from" "$tree"
	guest_initramfs "$dir" "$release" "$tree" "${BOOT_MODULES[@]}"
}

# ---- User-Mode Linux -----------------------------------------------------------

um_boot_name() {
	printf 'um-boot-%s\n' "$(key "$(um_name)" "$(declare -f um_boot_build boot_modules guest_busybox)")"
}

um_boot_prepare() {
	um_prepare
	artefact "$(um_boot_name)" "initramfs and module tree of User-Mode Linux (about 5 s)" \
		um_boot_build
}

# All that mounts the root filesystem is built in.
um_boot_build() {
	local dir=$1 from tree

	from=$CACHE/$(um_name)
	tree=$(tree_name "$KERNEL_RUST")
	cp "$from/linux" "$dir/"
	boot_modules "$dir" "$from" "$tree"
	mkdir -p "$dir/initramfs.d/modules"
	guest_busybox "$dir/initramfs.d/bin" "$tree"
	: >"$dir/initramfs.d/modules/order"
	(cd "$dir/initramfs.d" && find . | cpio --quiet -o -H newc -R 0:0) >"$dir/initramfs"
	rm -rf "$dir/initramfs.d"
}

# ---- module trees -----------------------------------------------------------

# modules_with BOOT MODULE: print a directory with the module tree of BOOT in which modprobe
# finds MODULE. Each version of the module has its own tree, made of hard links.
modules_with() {
	local boot=$1 module=$2 name release

	release=$(cat "$CACHE/$boot/release")
	name=modules-$(key "$boot" "$(sha256sum <"$module")")
	if ! artefact_exists "$name"; then
		lock "$name"
		if ! artefact_exists "$name"; then
			modules_build "$CACHE/$name" "$boot" "$module" "$release"
		fi
		unlock "$name"
		modules_prune "$name"
	fi
	touch "$CACHE/$name" "$CACHE/$name/.complete"
	printf '%s\n' "$CACHE/$name/usr/lib/modules"
}

modules_build() {
	local dir=$1 boot=$2 module=$3 release=$4

	rm -rf --one-file-system "$dir"
	mkdir -p "$dir"
	cp -al "$CACHE/$boot"/{usr,lib} "$dir/"
	mkdir -p "$dir/lib/modules/$release/updates"
	cp "$module" "$dir/lib/modules/$release/updates/"
	# All trees share these files by hard links, so depmod must not overwrite them.
	find "$dir/usr/lib/modules/$release" -maxdepth 1 -name 'modules.*' \
		! -name modules.order ! -name 'modules.builtin' \
		! -name 'modules.builtin.modinfo' -delete
	tree_run "$(tree_name "$KERNEL_RUST")" depmod -b "$dir" "$release"
	touch "$dir/.complete"
}

# Removes the trees of old modules. Running guests may use recent ones.
modules_prune() {
	find "$CACHE" -maxdepth 1 -name 'modules-*' ! -name "$1" -mmin +180 \
		-exec rm -rf --one-file-system {} +
}
