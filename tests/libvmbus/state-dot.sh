#!/bin/sh
# SPDX-License-Identifier: MIT
# The pictures of the state machines in docs/ are those of the code: the .dot files as they are
# made today, the .svg files with the same states and moves.
status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for name in connection channel; do
	dot=$top_srcdir/docs/$name-states.dot svg=$top_srcdir/docs/$name-states.svg
	"$top_builddir/tests/libvmbus/state-dot" $name >"$work/dot" || exit 1
	if ! diff "$dot" "$work/dot"; then
		echo "docs/$name-states.dot is not what the code says: make pictures"
		status=1
	fi
	{
		echo $name
		sed -n 's/^	"\([a-z]*\)" \[.*/\1/p; s/^	"\([a-z]*\)" -> "\([a-z]*\)";/\1->\2/p' "$dot"
	} | sort >"$work/said"
	sed -n 's/.*<title>\(.*\)<\/title>.*/\1/p' "$svg" | sed 's/&#45;/-/g; s/&gt;/>/g' | sort >"$work/drawn"
	if ! diff "$work/said" "$work/drawn"; then
		echo "docs/$name-states.svg is not drawn from its .dot file: make pictures"
		status=1
	fi
done
exit $status
