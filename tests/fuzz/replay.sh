#!/bin/sh
# SPDX-License-Identifier: MIT
# Replays every corpus through its fuzz target. A target without a corpus fails, and one that
# docs/security.md does not name.
status=0
for target in $FUZZ_TARGETS; do
	name=${target##*/fuzz-}
	corpus=$top_srcdir/tests/fuzz/corpus/$name
	if ! ls "$corpus"/* >/dev/null 2>&1; then
		echo "$name: no corpus in $corpus"
		status=1
		continue
	fi
	grep -q "^|.*\`$name\`.*|" "$top_srcdir/docs/security.md" || {
		echo "$name: not in docs/security.md"
		status=1
	}
	if ! "$top_builddir/$target" "$corpus"/*; then
		echo "$name: failed; to see the input: $top_builddir/$target $corpus/*"
		status=1
	fi
done
exit $status
