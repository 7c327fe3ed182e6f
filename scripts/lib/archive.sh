# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016 # apt expands its own $(...)
#
# The Debian archive. These functions use a separate apt configuration, because the host may
# have another release, and its package lists must not change.

# The guest and the emulator are always of the first suite. A kernel and the compilers that its
# modules need may be of another one.
BASE_SUITE=trixie
SUITE=${SUITE:-$BASE_SUITE}
case $SUITE in
"$BASE_SUITE" | forky | sid | experimental) ;;
*) die "no suite is called '$SUITE' ($BASE_SUITE, forky, sid, experimental)" ;;
esac

# suite_suffix: empty for the first suite, which has the plain names in the cache.
suite_suffix() {
	[[ $SUITE == "$BASE_SUITE" ]] || printf -- '-%s' "$SUITE"
}

# The architecture of the kernel. All programs that run here are of amd64.
# ARCH may be the kernel's name of it, which kernel developers have in their environment.
case ${ARCH:-amd64} in
amd64 | x86 | x86_64) KERNEL_ARCH=amd64 ;;
arm64) KERNEL_ARCH=arm64 ;;
*) die "no kernel is prepared for ARCH=$ARCH (amd64, arm64)" ;;
esac

# arch_suffix: the same for the architecture.
arch_suffix() {
	[[ $KERNEL_ARCH == amd64 ]] || printf -- '-%s' "$KERNEL_ARCH"
}

ARCHIVE=$CACHE/archive$(suite_suffix)$(arch_suffix)
DEBS=$CACHE/debs
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints the suites in use. A suite in development has all packages that experimental lacks.
archive_suites() {
	case $SUITE in
	"$BASE_SUITE") printf '%s\n' "$SUITE" "$SUITE-updates" "$SUITE-backports" ;;
	experimental) printf '%s\n' sid experimental ;;
	*) printf '%s\n' "$SUITE" ;;
	esac
}

# Prints the mirror that the host uses, for which its proxies and permissions are set up.
archive_mirror() {
	local format='$(REPO_URI)' found

	if [[ -n ${DEBIAN_MIRROR:-} ]]; then
		printf '%s\n' "$DEBIAN_MIRROR"
		return
	fi
	found=$(apt-get indextargets --format "$format" 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' | sed -n 1p)
	if [[ -z $found ]]; then
		apt-get update >&2
		found=$(apt-get indextargets --format "$format" \
			'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
	fi
	[[ -n $found ]] ||
		die "no Debian mirror in this machine's apt sources; name one with DEBIAN_MIRROR="
	printf '%s\n' "$found"
}

# Prints the lines of sources.list for the suites in use. Of a suite in development a mirror may
# be a snapshot, which has its signatures but is out of date.
archive_sources() {
	local mirror suite age=''

	[[ -r $KEYRING ]] || die "needs $KEYRING (package debian-archive-keyring)"
	mirror=$(archive_mirror) || return
	[[ $SUITE == "$BASE_SUITE" ]] || age=' check-valid-until=no'
	for suite in $(archive_suites); do
		printf 'deb [arch=%s signed-by=%s%s] %s %s main\n' \
			"$KERNEL_ARCH" "$KEYRING" "$age" "$mirror" "$suite"
	done
}

archive_options() {
	printf -- '-o\n%s\n' \
		"Dir::State=$ARCHIVE/state" \
		"Dir::State::status=$ARCHIVE/status" \
		"Dir::Cache=$ARCHIVE/cache" \
		"Dir::Etc::SourceList=$ARCHIVE/sources.list" \
		Dir::Etc::SourceParts=/dev/null \
		Dir::Etc::Preferences=/dev/null \
		Dir::Etc::PreferencesParts=/dev/null \
		"APT::Architecture=$KERNEL_ARCH" \
		"APT::Architectures=$KERNEL_ARCH" \
		APT::Sandbox::User=root \
		Acquire::Languages=none \
		Acquire::Retries=3
}

archive_get() {
	local options

	mapfile -t options < <(archive_options)
	apt-get "${options[@]}" "$@"
}

archive_query() {
	local options

	mapfile -t options < <(archive_options)
	apt-cache "${options[@]}" "$@"
}

archive_refresh() {
	mkdir -p "$ARCHIVE/state/lists/partial" "$ARCHIVE/cache/archives/partial" &&
		: >"$ARCHIVE/status" &&
		archive_sources >"$ARCHIVE/sources.list" &&
		archive_update &&
		archive_table >"$ARCHIVE/table"
}

# Without the option, apt-get update succeeds with old lists when the network is down.
archive_update() {
	archive_get --error-on=any update
}

# Prints "package version" for all packages in use, by a single apt-cache, which takes half a
# second to start.
archive_table() {
	local names

	mapfile -t names < <(archive_query pkgnames |
		grep -E '^(rustc$|linux-(base|binary|headers|image|kbuild|modules|source)-)')
	archive_query madison "${names[@]}" | awk '{ print $1, $3 }' | sort -u
}

# archive_versions PACKAGE: print its versions in the archive, newest first.
archive_versions() {
	awk -v name="$1" '$1 == name { print $2 }' "$ARCHIVE/table" | sort -rV
}

# archive_has PACKAGE VERSION
archive_has() {
	grep -qxF -- "$1 $2" "$ARCHIVE/table"
}

# archive_fetch PACKAGE=VERSION...: download packages to $DEBS. A package appears there only
# when it is complete.
archive_fetch() {
	local want

	mkdir -p "$DEBS/partial"
	for want; do
		[[ ! -e "$(archive_deb "$want")" ]] || continue
		(cd "$DEBS/partial" && archive_get download "$want") || return 1
		mv "$DEBS/partial/${want%%=*}"_*.deb "$DEBS/" || return 1
	done
}

# archive_fetch_amd64 PACKAGE=VERSION...: the same for programs that run here.
archive_fetch_amd64() {
	local KERNEL_ARCH=amd64 ARCHIVE

	ARCHIVE=$CACHE/archive$(suite_suffix)
	[[ -e $ARCHIVE/table ]] || archive_refresh
	archive_fetch "$@"
}

# archive_deb PACKAGE=VERSION: print the path to which archive_fetch downloads the package.
archive_deb() {
	local want=$1 version arch

	version=${want#*=}
	for arch in "$KERNEL_ARCH" all; do
		if [[ -e "$DEBS/${want%%=*}_${version//:/%3a}_$arch.deb" ]]; then
			printf '%s\n' "$DEBS/${want%%=*}_${version//:/%3a}_$arch.deb"
			return
		fi
	done
	printf '%s\n' "$DEBS/${want%%=*}_${version//:/%3a}_all.deb"
}
