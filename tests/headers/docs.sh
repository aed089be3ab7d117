#!/bin/sh
# SPDX-License-Identifier: MIT
# What the pages name is there: files, and functions and structs of the headers.
status=0
cd "$top_srcdir" || exit 1
missing() {
	echo "$page: there is no $1"
	status=1
}

for page in *.md docs/*.md; do
	here=$(dirname "$page")
	for link in $(grep -oE '\]\([^)#: ]+' "$page" | sed 's/^](//'); do
		[ -e "$here/$link" ] || missing "$link"
	done
	# `one/path.c`, also in the middle of a command; a header without its include/
	for path in $(grep -oE '`[^`]+`' "$page" | tr -d '`' | tr ' ,:;()"' '\n' |
		grep -E '^(lib[a-z-]*|backends|bench|docs|examples|include|nbdkit|tests|tools|vmbus|vsp|vhd)/[a-zA-Z0-9_./-]*$' | sort -u); do
		case $path in *.tap | *NAME*) continue ;; esac # made by the build; any name
		[ -e "$path" ] || [ -e "$path.c" ] || [ -e "include/$path" ] || missing "$path"
	done
	for name in $(grep -oE '\<(vmbus|vsp|vhd)_[a-z0-9_]+(\(\))?' "$page" | sed 's/()$//' | sort -u); do
		case $name in *_) continue ;; esac # vsp_*_get_stats
		grep -qE "\<$name\>" include/*/*.h* || missing "$name"
	done
done
exit $status
