#!/bin/sh
# SPDX-License-Identifier: MIT
# An outsider's build: the example, by what pkg-config says, in the environment of ./run.
command -v pkg-config >/dev/null || { echo "SKIP: no pkg-config here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export work
"$top_builddir/run" sh -ec '
	$CC -std=gnu11 -Wall -Wextra -Werror -o "$work/serve-disk" "$top_srcdir/examples/serve-disk.c" \
		$(pkg-config --cflags --libs libvsp-storage libvmbus-shm) $SAN_CFLAGS
	"$work/serve-disk" 2>"$work/usage" || [ $? -eq 2 ]
	grep -q usage "$work/usage"'
