#!/bin/sh
# SPDX-License-Identifier: MIT
# An outsider's builds against the build tree, in the environment of ./run.
command -v pkg-config >/dev/null || { echo "no pkg-config here"; exit 77; }
"$top_builddir/run" sh -c '. "$top_srcdir/tests/headers/outsider.sh" && outsider_all'
