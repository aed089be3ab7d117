#!/bin/sh
# SPDX-License-Identifier: MIT
# The code in the README is the example that is built and run.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n '/^```c$/,/^```$/p' "$top_srcdir/README.md" | sed '1d;$d' >"$work/readme"
sed -n '/^static int connected/,$p' "$top_srcdir/examples/serve-disk.c" >"$work/example"
[ -s "$work/readme" ] && diff "$work/readme" "$work/example"
