# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A line for each kernel that is tried, and after it what its logs complain of.

FAILED=0

# result LABEL TEXT
result() {
	printf '%-40s %s\n' "$1" "$2"
}

# failed LABEL TEXT LOG...: the logs say why.
failed() {
	FAILED=$((FAILED + 1))
	result "$1" "$2"
	cat "${@:3}" | grep -aE '^(error|warning|ERROR)|: (error|warning):|^make.*Error|^not in effect|^env: |^build: |^vm: |^not ok |^# [a-z]' |
		head -n 8 | sed 's/^/    /'
}

# has_warnings LOG: of a compiler.
has_warnings() {
	grep -aqE '^warning|: warning:' "$1"
}
