# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Kernels: which one the archive offers, its source, and for each kind (stock,
# debug) what a module needs to be built; lib/guest.sh has what a guest needs to boot.

# The series the driver is written for; no other place decides by them.
KERNEL_SERIES=(7.2 7.3)

KERNEL_CHOICE=$CACHE/kernel-choice

# ---- choosing ---------------------------------------------------------------

# Candidates, newest first: full names such as 7.2.12+deb13-amd64, or 7.3-rt-amd64 before the
# release of a series.
kernel_candidates() {
	local series pattern

	for series in "${KERNEL_SERIES[@]}"; do
		pattern="${series//./\\.}(\.[0-9]+)?(\+deb[0-9.]+)?-((cloud|rt)-)?$KERNEL_ARCH(-16k)?"
		sed -n -E "s/^linux-binary-(unsigned-)?($pattern) .*/\2/p" "$ARCHIVE/table"
	done | sort -rVu
}

# kernel_common NAME: the part of the name that all flavours share.
kernel_common() {
	printf '%s\n' "$1" | sed -E 's/-((cloud|rt)-)?(amd64|arm64(-16k)?)$//'
}

# kernel_is_wanted NAME: of this name or version; with neither given, of the usual flavour.
kernel_is_wanted() {
	local common

	common=$(kernel_common "$1")
	case ${KERNEL_VERSION:-} in
	"$1") return 0 ;;
	'' | "${common%%+*}") [[ $1 == "$common-$KERNEL_ARCH" ]] ;;
	*) return 1 ;;
	esac
}

# kernel_packages NAME BINARY_PACKAGE: all that has to exist in one version.
kernel_packages() {
	local name=$1 binary=$2 common

	common=$(kernel_common "$name")
	printf '%s\n' "$binary" "linux-base-$name" "linux-modules-$name" \
		"linux-headers-$name" "linux-headers-$common-common" \
		"linux-kbuild-$common" "linux-source-$(kernel_series "$name")"
	[[ $binary != "linux-binary-$name" ]] || printf '%s\n' "linux-image-$name"
}

kernel_series() {
	printf '%s\n' "${1%%[+-]*}" | cut -d. -f1,2
}

# kernel_newest: print the newest kernel of each series in all flavours, the newest series first.
kernel_newest() {
	local series newest

	for series in $(kernel_candidates | while read -r name; do kernel_series "$name"; done | sort -rVu); do
		newest=$(kernel_candidates | grep -E "^${series//./\\.}[.+-]" | head -n 1)
		kernel_candidates | grep -F -- "$(kernel_common "$newest")-"
	done
}

# kernel_unsupported: print the newest kernel of each series that is newer than all supported ones,
# in its usual flavour.
kernel_unsupported() {
	local last series name known=

	last=$(printf '%s\n' "${KERNEL_SERIES[@]}" | sort -V | tail -n 1)
	sed -n -E "s/^linux-binary-(unsigned-)?([0-9]+\.[0-9][^ ]*-$KERNEL_ARCH) .*/\2/p" "$ARCHIVE/table" |
		grep -vE -- '-(cloud|rt)-' | sort -rVu | while read -r name; do
		series=$(kernel_series "$name")
		if [[ $series != "$known" && $series != "$last" ]] &&
			[[ $(printf '%s\n' "$last" "$series" | sort -V | tail -n 1) == "$series" ]]; then
			printf '%s\n' "$name"
		fi
		known=$series
	done
}

# kernel_complete NAME BINARY_PACKAGE: print the version of which the archive
# has the whole set; on failure print what is missing.
kernel_complete() {
	local version package

	version=$(archive_versions "$2" | sed -n 1p)
	if [[ -z $version ]]; then
		printf '%s\n' "$2"
		return 1
	fi
	while read -r package; do
		if ! archive_has "$package" "$version"; then
			printf '%s\n' "$package ($version)"
			return 1
		fi
	done < <(kernel_packages "$1" "$2")
	printf '%s\n' "$version"
}

# kernel_choose_one NAME BINARY_PACKAGE: write the choice if this kernel has
# Rust and the archive has the compiler that it was built with; else set REASON.
kernel_choose_one() {
	local name=$1 binary=$2 version config rust

	version=$(kernel_complete "$name" "$binary") ||
		{ REASON="the archive lacks $version"; return 1; }
	REASON="its headers package cannot be fetched"
	archive_fetch "linux-headers-$name=$version" || return 1
	config=$(dpkg-deb --fsys-tarfile "$(archive_deb "linux-headers-$name=$version")" |
		tar -xO "./usr/src/linux-headers-$name/.config") || return 1
	grep -qx CONFIG_RUST=y <<<"$config" ||
		{ REASON="it is built without CONFIG_RUST"; return 1; }
	rust=$(sed -n 's/^CONFIG_RUSTC_VERSION=//p' <<<"$config")
	rust=$(rust_version "$rust") ||
		{ REASON="the archive lacks the rustc that it was built with"; return 1; }
	printf '%s\n' "$name" "$version" "$binary" "$rust" >"$KERNEL_CHOICE.new"
}

# kernel_choose: the newest that is complete, or the one that was asked for;
# only an explicit wish gets a kernel that is not signed (yet).
kernel_choose() {
	local name tried=()

	for name in $(kernel_candidates); do
		kernel_is_wanted "$name" || continue
		if [[ -n ${KERNEL_VERSION:-} ]]; then
			kernel_choose_one "$name" "linux-binary-$name" && return
			kernel_choose_one "$name" "linux-binary-unsigned-$name" && return
		else
			kernel_choose_one "$name" "linux-binary-$name" && return
		fi
		tried+=("$name: $REASON")
	done
	say "no supported kernel${KERNEL_VERSION:+ named $KERNEL_VERSION} in $SUITE; supported series: ${KERNEL_SERIES[*]}"
	[[ ${#tried[@]} == 0 ]] || printf '  %s\n' "${tried[@]}" >&2
	return 1
}

# kernel_select: set KERNEL_NAME, KERNEL_DEBVER, KERNEL_BINARY, KERNEL_RUST.
# The archive is asked at most once a day, and not at all while unreachable.
kernel_select() {
	local fields

	KERNEL_CHOICE=$CACHE/kernel-choice$(suite_suffix)$(arch_suffix)${KERNEL_VERSION:+-$KERNEL_VERSION}
	if ! kernel_choice_is_fresh; then
		lock kernel-choice
		kernel_choice_is_fresh || kernel_choice_renew
		unlock kernel-choice
	fi
	mapfile -t fields <"$KERNEL_CHOICE"
	KERNEL_NAME=${fields[0]}
	KERNEL_DEBVER=${fields[1]}
	KERNEL_BINARY=${fields[2]}
	KERNEL_RUST=${fields[3]}
}

kernel_choice_is_fresh() {
	local minutes=1440

	[[ -e $KERNEL_CHOICE ]] || return 1
	# One command is several scripts; not each of them asks again.
	[[ ${REFRESH:-0} != 1 ]] || minutes=1
	[[ -n "$(find "$KERNEL_CHOICE" -mmin "-$minutes")" ]]
}

# Called behind ||, where bash does not end at errors: each is looked at.
kernel_choice_renew() {
	need_platform
	say "asking the Debian archive which kernels there are (15 MB, about 5 s)"
	# What is wrong here is said here: what follows goes to a log.
	archive_sources >/dev/null || exit 1
	if archive_refresh >"$CACHE/log/archive.log" 2>&1; then
		kernel_choose >&2 ||
			{ [[ -e $KERNEL_CHOICE ]] || exit 1; touch "$KERNEL_CHOICE.new"; }
		[[ ! -s "$KERNEL_CHOICE.new" ]] || mv "$KERNEL_CHOICE.new" "$KERNEL_CHOICE"
	elif [[ ! -e $KERNEL_CHOICE ]]; then
		tail -n 5 "$CACHE/log/archive.log" >&2
		die "the Debian archive cannot be reached and nothing is cached yet; log: $CACHE/log/archive.log"
	else
		say "the archive cannot be reached; going on with what is cached"
	fi
	rm -f "$KERNEL_CHOICE.new"
	touch "$KERNEL_CHOICE"
	prune
}

# ---- source -----------------------------------------------------------------

source_name() {
	printf 'source-%s\n' "$KERNEL_DEBVER"
}

source_prepare() {
	artefact "$(source_name)" \
		"kernel source $KERNEL_DEBVER (160 MB to fetch, 1.8 GB, about 40 s)" \
		source_build
}

source_build() {
	local package

	package=linux-source-$(kernel_series "$KERNEL_NAME")
	archive_fetch "$package=$KERNEL_DEBVER"
	dpkg-deb --fsys-tarfile "$(archive_deb "$package=$KERNEL_DEBVER")" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc -T0 | tar -x -C "$1" --strip-components=1
}

# ---- stock ------------------------------------------------------------------

stock_name() {
	printf 'stock-%s-%s\n' "$KERNEL_NAME" \
		"$(key "$KERNEL_DEBVER" "$KERNEL_BINARY" "$(tree_name "$KERNEL_RUST")" \
			"$(key_files "$TOP/scripts/kernel/rust-metadata")" "$(declare -f stock_build)")"
}

stock_prepare() {
	tree_prepare "$KERNEL_RUST"
	artefact "$(stock_name)" \
		"Rust metadata of the stock kernel $KERNEL_NAME (190 MB to fetch, 0.4 GB)" \
		stock_build
}

# scripts/kernel/rust-metadata does the work inside the build tree.
stock_build() {
	local dir=$1 common packages package source

	common=$(kernel_common "$KERNEL_NAME")
	source=linux-source-$(kernel_series "$KERNEL_NAME")=$KERNEL_DEBVER
	packages=("linux-headers-$KERNEL_NAME=$KERNEL_DEBVER"
		"linux-headers-$common-common=$KERNEL_DEBVER")
	archive_fetch "${packages[@]}" "$source"
	for package in "${packages[@]}"; do
		dpkg-deb -x "$(archive_deb "$package")" "$dir/headers"
	done
	archive_fetch_amd64 "linux-kbuild-$common=$KERNEL_DEBVER"
	dpkg-deb -x "$(KERNEL_ARCH=amd64 archive_deb "linux-kbuild-$common=$KERNEL_DEBVER")" "$dir/headers"
	dpkg-deb --fsys-tarfile "$(archive_deb "$source")" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' >"$dir/source.tar.xz"
	tree_run "$(tree_name "$KERNEL_RUST")" \
		"$TOP/scripts/kernel/rust-metadata" --root "$dir/headers" \
		"$KERNEL_NAME" "$dir/source.tar.xz" "$dir/kdir"
	rm "$dir/source.tar.xz"
}

# built_name KIND FRAGMENT...: of a kernel that scripts/kernel/KIND-build makes.
built_name() {
	printf '%s-%s-%s\n' "$1" "$KERNEL_DEBVER" "$(key "$(tree_name "$KERNEL_RUST")" \
		"$(key_files "${@:2}" "$TOP/scripts/kernel/$1-build")")"
}

# ---- debug ------------------------------------------------------------------

# The fragments of its configuration. RT=1 is for a kernel in which spinlocks may sleep.
debug_fragments() {
	printf '%s\n' "$TOP/scripts/kernel/debug.config"
	[[ ${RT:-} != 1 ]] || printf '%s\n' "$TOP/scripts/kernel/debug-rt.config"
}

debug_name() {
	local fragments

	mapfile -t fragments < <(debug_fragments)
	built_name debug "${fragments[@]}"
}

debug_prepare() {
	tree_prepare "$KERNEL_RUST"
	source_prepare
	artefact "$(debug_name)" \
		"debug kernel $KERNEL_DEBVER (4 GB while building, 0.5 GB after, about 12 min on 2 processors)" \
		debug_build
}

debug_build() {
	local fragments

	mapfile -t fragments < <(debug_fragments)
	cat "${fragments[@]}" >"$1/debug.config"
	tree_run "$(tree_name "$KERNEL_RUST")" nice "$TOP/scripts/kernel/debug-build" \
		"$CACHE/$(source_name)" "$1/debug.config" "$1"
}

# ---- User-Mode Linux -----------------------------------------------------------

# The fragments of its configuration.
um_fragments() {
	printf '%s\n' "$TOP/scripts/kernel/um.config"
	[[ ${KASAN:-} != 1 ]] || printf '%s\n' "$TOP/scripts/kernel/um-kasan.config"
}

um_name() {
	local fragments

	mapfile -t fragments < <(um_fragments)
	built_name um "${fragments[@]}"
}

um_prepare() {
	tree_prepare "$KERNEL_RUST"
	source_prepare
	artefact "$(um_name)" \
		"User-Mode Linux $KERNEL_DEBVER (3 GB while building, 0.4 GB after, about 8 min on 2 processors)" \
		um_build
}

um_build() {
	local fragments

	mapfile -t fragments < <(um_fragments)
	tree_run "$(tree_name "$KERNEL_RUST")" nice "$TOP/scripts/kernel/um-build" \
		"$CACHE/$(source_name)" "$1" "${fragments[@]}"
}
