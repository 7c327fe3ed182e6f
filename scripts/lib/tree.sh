# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The build tree: a Debian userland with compilers, independent of the host,
# entered by chroot in a mount namespace of its own.

# The compilers of the suite's kernels.
GCC_VERSION=16 LLVM_VERSION=21
[[ $SUITE != "$BASE_SUITE" ]] || { GCC_VERSION=14 LLVM_VERSION=19; }

TREE_PACKAGES=(
	# kernel build
	bc bison build-essential bzip2 cpio dwarves flex "gcc-$GCC_VERSION" kmod libdw-dev
	libelf-dev libssl-dev make perl python3 rsync xz-utils zlib1g-dev zstd
	# its Rust half, and clang for bindgen and the debug kernel
	bindgen "clang-$LLVM_VERSION" "libclang-$LLVM_VERSION-dev" "lld-$LLVM_VERSION" "llvm-$LLVM_VERSION"
	# 32-bit test programs
	"gcc-$GCC_VERSION-multilib" libc6-dev-i386
	# images, initramfs, lint
	busybox-static e2fsprogs git shellcheck
)
# Kernels of arm64, and programs for them of 64 and of 32 bits.
[[ $KERNEL_ARCH != arm64 ]] ||
	TREE_PACKAGES+=("gcc-$GCC_VERSION-aarch64-linux-gnu" "gcc-$GCC_VERSION-arm-linux-gnueabihf"
		libc6-dev-arm64-cross libc6-dev-armhf-cross)
RUST_PACKAGES=(rustc rust-src rustfmt rust-clippy libstd-rust-dev)

# rust_version CODE: the archive's rustc whose version is CODE, in the form
# that CONFIG_RUSTC_VERSION has (1.85.1 is 108501).
rust_version() {
	local version

	for version in $(archive_versions rustc); do
		if [[ "$(rust_code "$version")" == "$1" ]]; then
			printf '%s\n' "$version"
			return
		fi
	done
	return 1
}

rust_code() {
	printf '%s\n' "$1" |
		sed -n -E 's/^([0-9]+)\.([0-9]+)\.([0-9]+).*/\1 \2 \3/p' |
		{ read -r a b c && printf '%d%03d%02d\n' "$a" "$b" "$c"; }
}

# tree_name RUST_VERSION
tree_name() {
	printf 'tree-%s\n' "$(key "$SUITE" "$1" "${TREE_PACKAGES[@]}" "${RUST_PACKAGES[@]}")"
}

# tree_prepare RUST_VERSION
tree_prepare() {
	artefact "$(tree_name "$1")" \
		"build tree: Debian $SUITE with compilers, rustc ${1%%+*} (0.5 GB to fetch, 2 GB, about 2 min)" \
		tree_build "$1"
}

tree_build() {
	local dir=$1 rust=$2 package rusts=()

	for package in "${RUST_PACKAGES[@]}"; do
		rusts+=("$package=$rust")
	done
	debian_tree "$dir" minbase "${TREE_PACKAGES[@]}" "${rusts[@]}"
	mkdir -p "$dir"/{proc,sys,dev,tmp}
}

# debian_tree DIR VARIANT PACKAGE...: of TREE_ARCH, else of amd64.
#
# The downloads go to a directory that outlives an interrupted run; it is
# mounted inside a namespace, so that no mount outlives the run.
#
# A file says what dpkg leaves out. With --dpkgopt, mmdebstrap would filter the
# packages that it unpacks itself with mmtarfilter, which needs Python.
debian_tree() {
	local dir=$1 variant=$2 KERNEL_ARCH=${TREE_ARCH:-amd64}

	shift 2
	mkdir -p "$DEBS/$SUITE"
	archive_sources >"$CACHE/tmp/${dir##*/}.sources"
	# apt locks that directory too, but gives up instead of waiting.
	flock "$DEBS/$SUITE.lock" unshare -m --propagation private mmdebstrap \
		--mode=root --variant="$variant" --architectures="$KERNEL_ARCH" \
		--aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Languages "none"' \
		--aptopt='Acquire::Retries "3"' \
		--aptopt="APT::Keep-Downloaded-Packages \"true\"" \
		--skip=check/empty,essential/unlink,cleanup/apt/cache \
		--setup-hook="mkdir -p \"\$1/etc/dpkg/dpkg.cfg.d\"" \
		--setup-hook="printf 'path-exclude=/usr/share/%s/*\\n' man locale doc >\"\$1/etc/dpkg/dpkg.cfg.d/exclude\"" \
		--setup-hook="mkdir -p \"\$1/var/cache/apt/archives/partial\"" \
		--setup-hook="mount --bind '$DEBS/$SUITE' \"\$1/var/cache/apt/archives\"" \
		--setup-hook="mkdir -p \"\$1/var/cache/apt/archives/partial\"" \
		--customize-hook="umount \"\$1/var/cache/apt/archives\"" \
		--include="$(IFS=,; printf '%s' "$*")" \
		"$(archive_suites | sed -n 1p)" "$dir" - <"$CACHE/tmp/${dir##*/}.sources"
	rm -f "$CACHE/tmp/${dir##*/}.sources"
	rm -rf "$dir"/var/lib/apt/lists/*
}

# tree_run TREE COMMAND...: run COMMAND inside the tree, with the checkout,
# the cache and /tmp at the paths they have outside.
tree_run() {
	local tree=$1

	shift
	mkdir -p "$CACHE"
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m --propagation private sh -ec '
		tree=$1 top=$2 cache=$3 cwd=$4 llvm=$5
		shift 5
		for dir in /proc /sys /dev /tmp "$top" "$cache"; do
			mkdir -p "$tree$dir"
			mount --rbind "$dir" "$tree$dir"
		done
		unset RUSTC RUSTFLAGS RUSTC_WRAPPER RUSTC_BOOTSTRAP CC LLVM
		unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
		[ -d "$tree$cwd" ] || cwd=$top
		exec chroot "$tree" env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp \
			TMPDIR=/tmp LC_ALL=C.UTF-8 LIBCLANG_PATH="/usr/lib/llvm-$llvm/lib" \
			sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$cwd" "$@"
	' sh "$CACHE/$tree" "$TOP" "$CACHE" "$PWD" "$LLVM_VERSION" "$@"
}
