#!/bin/bash
# SPDX-License-Identifier: MIT
# --help, the manual page and bash's completion speak of the same commands and options.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"
top=$OLDPWD/$top_srcdir
case $top_srcdir in /*) top=$top_srcdir ;; esac
pod=$top/docs/vhdtool.pod

commands=$("$tool" --long-options)
for command in $commands; do
	expect 0 "$tool" "$command" --help
	"$tool" "$command" --long-options >words
	grep -o -e '--[a-z-]*' out | sort -u >helped
	sort -u words | diff - helped || { echo "$command: '<' for completion only, '>' in --help only"; status=1; }
	cat words >>options
	grep -q "^=head2 $command\$" "$pod" || { echo "$command: not in the manual"; status=1; }
	grep -q "^ vhdtool $command " "$pod" || { echo "$command: not in the manual's synopsis"; status=1; }
done
sed -n 's/^=head2 //p' "$pod" | sort | diff - <(echo "$commands" | sort) ||
	{ echo "'<' in the manual only, '>' a command only"; status=1; }
sed -n 's/^=item .*B<\(--[a-z-]*\).*/\1/p' "$pod" | sort -u >manual
{ sort -u options; echo --help; echo --long-options; echo --version; } | sort -u | diff - manual ||
	{ echo "'<' an option only, '>' in the manual only"; status=1; }
expect 0 "$tool" --version
grep -q '^vhdtool [0-9]' out || { echo "--version names none"; status=1; }
# Short ones too, beside the long ones they stand for.
for command in $commands; do
	"$tool" "$command" --help | sed -n 's/^ *\(-[a-zA-Z]\), \(--[a-z-]*\).*/\1 \2/p'
done | sort -u | while read -r short long; do
	grep -q "^=item B<$short>, B<$long" "$pod" || { echo "$short, $long: not in the manual"; exit 1; }
done || status=1

# Each exit code of the manual is one of the program's, and the other way round.
sed -n '/^enum {$/,/^};/s/.*TOOL_[A-Z]* = \([0-9]*\),/\1/p' "$top/tools/vhdtool.h" | sort >codes
sed -n '/^=head1 EXIT STATUS/,/^=head1 EX/s/^=item B<\([0-9]*\)>$/\1/p' "$pod" | sort | diff codes - ||
	{ echo "'<' a code only, '>' in the manual only"; status=1; }

# Completion, as readline would ask for it.
mkdir bin
ln -s "$tool" bin/vhdtool
PATH=$PWD/bin:$PATH
. "$top/tools/completion/vhdtool"
complete_to() { # what is expected, then the words
	want=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_vhdtool
	[ "${COMPREPLY[*]}" = "$want" ] && return
	echo "$*: completed to \"${COMPREPLY[*]}\", expected \"$want\""
	status=1
}
touch disk.vhd
complete_to "$(echo $commands) --help" vhdtool ""
complete_to "compact compare" vhdtool comp
complete_to "--output-format" vhdtool convert --out
complete_to "--unsafe" vhdtool rebase --u
complete_to "raw vhd vhdx" vhdtool convert --output-format = ""
complete_to "dynamic differencing" vhdtool create --type = d
complete_to "vhd vhdx" vhdtool info -f v
complete_to "disk.vhd" vhdtool info di
complete_to "" vhdtool nonsense --x
exit $status
