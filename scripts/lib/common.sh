# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # most is for those who read this file in
#
# Functions that all scripts share: paths, messages, requirements, locks, progress of long
# steps, and artefacts of the cache.

# Without this, a failing command inside $(...) does not end the script.
shopt -s inherit_errexit

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
CACHE=${RUST_LOOP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var}/.cache}/rust_loop}
case $CACHE in
/*) ;;
*) CACHE=$PWD/$CACHE ;;
esac
ME=${0##*/}
# The exit status of die. Scripts that pass on another program's status use another one.
DIE_STATUS=1

say() {
	printf '%s: %s\n' "$ME" "$*" >&2
}

die() {
	say "$*"
	exit "$DIE_STATUS"
}

# key WORD...: a short name for exactly these words.
key() {
	printf '%s\n' "$@" | sha256sum | cut -c1-12
}

# key_files FILE...: the same for the contents of files.
key_files() {
	cat -- "$@" | sha256sum | cut -c1-12
}

need_root() {
	[[ "$(id -u)" == 0 ]] ||
		die "needs root (it mounts, chroots and reads packages' device nodes); run it as root"
}

# Without root there is still the native build, which never comes here.
need_platform() {
	[[ "$(uname -m)" == x86_64 ]] ||
		die "this machine is $(uname -m); only x86_64 (Debian: amd64) is supported"
	command -v dpkg-deb >/dev/null ||
		die "this is not a Debian system: dpkg-deb is missing"
}

# need_space GIB WHAT: free space where the cache lives.
need_space() {
	local have

	mkdir -p "$CACHE"
	have=$(df -Pk "$CACHE" | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
	[[ $have -ge "$1" ]] ||
		die "$2 needs $1 GiB free in $CACHE, which has $have (RUST_LOOP_CACHE= names another place)"
}

# ---- locks ----------------------------------------------------------------

declare -A LOCK_FD=()

# lock NAME [shared]: a lock of the cache; says so when it has to wait.
lock() {
	local fd mode=-x

	[[ ${2:-} != shared ]] || mode=-s
	mkdir -p "$CACHE/lock"
	exec {fd}>"$CACHE/lock/$1"
	if ! flock -n $mode "$fd"; then
		say "waiting for another run that is busy with: $1"
		flock $mode "$fd"
	fi
	LOCK_FD[$1]=$fd
}

unlock() {
	local fd=${LOCK_FD[$1]}

	flock -u "$fd"
	exec {fd}>&-
	unset "LOCK_FD[$1]"
}

# ---- long steps -----------------------------------------------------------

# step LOG WHAT COMMAND...: run a long command or function with its output in
# the cache, showing what it does and that it is alive.
#
# Never call this behind if, && or ||: bash then ignores errors inside
# functions, and a half-made artefact would count as made.
step() {
	local log=$CACHE/log/$1.log what=$2 pid rc=0 start=$SECONDS

	shift 2
	mkdir -p "${log%/*}"
	say "$what"
	# A process group of its own, so that an interruption ends all of it.
	set -m
	(set -e; "$@") >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064 # the pid of now is meant
	trap "kill -- -$pid 2>/dev/null; exit 130" INT TERM HUP
	watch_step "$pid" "$log" "$start"
	wait "$pid" || rc=$?
	trap - INT TERM HUP
	if [[ $rc != 0 ]]; then
		tail -n 25 "$log" >&2
		die "failed after $((SECONDS - start)) s: $what; full log: $log"
	fi
	say "  done in $((SECONDS - start)) s"
}

watch_step() {
	local pid=$1 log=$2 start=$3 next=30 took

	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		took=$((SECONDS - start))
		if [[ -t 2 ]]; then
			printf '\r\033[K  %d s  %s' "$took" "$(last_line "$log")" >&2
		elif [[ $took -ge "$next" ]]; then
			next=$((took + 30))
			say "  $took s: $(last_line "$log")"
		fi
	done
	[[ ! -t 2 ]] || printf '\r\033[K' >&2
}

last_line() {
	tail -c 300 "$1" | tr '\r' '\n' | tr -cd '[:print:]\n' |
		grep . | tail -n 1 | cut -c1-70 || :
}

# ---- artefacts ------------------------------------------------------------

# artefact NAME WHAT BUILDER [ARG...]: make directory $CACHE/NAME, by calling
# BUILDER DIR ARG...
#
# It is built at its final place, since a kernel's build directory is full of
# its own absolute path, and exists for others from the moment that the file
# .complete does. What an interrupted run left has none and is made anew.
artefact() {
	local name=$1 what=$2 builder=$3

	shift 3
	if artefact_exists "$name"; then
		touch "$CACHE/$name/.complete"
		return
	fi
	lock "$name"
	if ! artefact_exists "$name"; then
		rm -rf --one-file-system "${CACHE:?}/$name"
		mkdir -p "$CACHE/$name"
		step "$name" "$what" "$builder" "$CACHE/$name" "$@"
		touch "$CACHE/$name/.complete"
	fi
	unlock "$name"
}

artefact_exists() {
	[[ -e "$CACHE/$1/.complete" ]]
}

# prune: remove what nothing has used for two weeks. Called once a day, when
# the archive is asked for a newer kernel.
prune() {
	local complete name fd

	find "$CACHE" -maxdepth 2 -name .complete -mtime +14 |
		while IFS= read -r complete; do
			name=${complete%/.complete}
			name=${name##*/}
			exec {fd}>"$CACHE/lock/$name"
			! flock -n "$fd" || rm -rf --one-file-system "${CACHE:?}/$name"
			exec {fd}>&-
		done
	find "$CACHE/debs" "$CACHE/log" -type f -mtime +14 -delete 2>/dev/null || :
}
