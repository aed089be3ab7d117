#!/bin/sh
# SPDX-License-Identifier: MIT
# Replays every corpus through its fuzz target. A target without a corpus fails.
status=0
for target in $FUZZ_TARGETS; do
	name=${target##*/fuzz-}
	corpus=$top_srcdir/tests/fuzz/corpus/$name
	if ! ls "$corpus"/* >/dev/null 2>&1; then
		echo "$name: no corpus in $corpus"
		status=1
		continue
	fi
	if ! "$top_builddir/$target" "$corpus"/*; then
		echo "$name: failed; to see the input: $top_builddir/$target $corpus/*"
		status=1
	fi
done
exit $status
