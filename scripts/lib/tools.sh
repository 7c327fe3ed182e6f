# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Programs that this machine lacks. Nothing is installed on it: $CACHE/tools, at the
# end of PATH, has mmdebstrap as unpacked, and wrappers of the build tree's programs.

TOOLS=$CACHE/tools
PATH=$PATH:/usr/sbin:/sbin:$TOOLS
export PATH

# tool_missing COMMAND: neither this machine nor $TOOLS has a usable one.
tool_missing() {
	local found

	found=$(command -v "$1") || return 0
	# A wrapper outlives the tree that it leads to.
	[[ "$found" == "$TOOLS/$1" ]] && ! "$found" --version >/dev/null 2>&1
}

# tool_bootstrap: the program that makes the trees is a Perl script.
tool_bootstrap() {
	local deb

	tool_missing mmdebstrap || return 0
	perl -MPod::Usage -MMath::BigInt -e 1 2>/dev/null ||
		die "needs Perl's standard modules: apt-get install perl"
	mkdir -p "$TOOLS/unpacked" "$DEBS/partial"
	(cd "$DEBS/partial" && archive_get download mmdebstrap) >"$CACHE/log/tools.log" 2>&1 ||
		die "mmdebstrap cannot be fetched, see $CACHE/log/tools.log; or: apt-get install mmdebstrap"
	for deb in "$DEBS"/partial/mmdebstrap_*.deb; do
		dpkg-deb -x "$deb" "$TOOLS/unpacked"
		rm "$deb"
	done
	ln -sf unpacked/usr/bin/mmdebstrap "$TOOLS/mmdebstrap"
}

# tool_wrappers TREE COMMAND...: those that are missing, as the tree has them.
tool_wrappers() {
	local tree=$CACHE/$1 command program

	shift
	for command; do
		tool_missing "$command" || continue
		for program in "$tree"/usr/{sbin,bin}/"$command"; do
			[[ -x "$program" ]] || continue
			mkdir -p "$TOOLS"
			printf '%s\n' '#!/bin/sh' \
				"exec '$tree/lib64/ld-linux-x86-64.so.2' --library-path '$tree/usr/lib/x86_64-linux-gnu' '$program' \"\$@\"" \
				>"$TOOLS/$command"
			chmod +x "$TOOLS/$command"
		done
		! tool_missing "$command" || die "$command is missing here and in the build tree"
	done
}
