#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo is a test: what a newcomer sees first must work.
for tool in qemu-img mke2fs e2fsck; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool here"; exit 77; }
done
exec "$top_builddir/run" "$top_srcdir/examples/demo.sh"
