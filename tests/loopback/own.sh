#!/bin/sh
# SPDX-License-Identifier: MIT
# The devices of a VMM's own (examples/own), for a guest in Python.
[ -n "${VMBUS_TEST_GUARDED-}" ] || VMBUS_TEST_GUARDED=1 exec timeout -k 30 600 "$0"
command -v python3 >/dev/null || { echo "SKIP: no python3 here"; exit 77; }
run=$(cd "$top_builddir" && pwd)/run
script=$(cd "$top_srcdir" && pwd)/tests/loopback/own.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
truncate -s 4M own.raw
"$run" vhdtool create grows.vhdx 16M -O vhdx && python3 "$script" "$run" own-devices
