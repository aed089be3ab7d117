# SPDX-License-Identifier: MIT
# What the tests of vhdtool share: a directory of their own, a disk, checks that count.
tool=$PWD/$top_builddir/tools/vhdtool
# The program itself, if it is there: libtool's script in front of it costs more than the tests.
if [ -x "$top_builddir/tools/.libs/vhdtool" ]; then
	tool=$PWD/$top_builddir/tools/.libs/vhdtool
	LD_LIBRARY_PATH=$PWD/$top_builddir/libvhd/.libs
	export LD_LIBRARY_PATH
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
status=0
checks=0

expect() { # exit code, then the command
	want=$1
	shift
	"$@" >out 2>err
	code=$?
	[ $code -eq "$want" ] && return
	echo "$*: exit code $code, expected $want"
	cat out err
	status=1
}
has() { # text in the output of the last command
	cat out err | grep -q -- "$1" && return
	echo "no \"$1\" in the output:"
	cat out err
	status=1
}
same() { # two images, the second one's format
	expect 0 "$tool" compare -q -F "${3-auto}" "$1" "$2"
}
json() { # the output is JSON of which the Python expression is true; finish looks at it
	mkdir -p .json
	checks=$((checks + 1))
	cp out .json/$checks.out
	echo "$1" >.json/$checks.expression
}
finish() { # the last command of a test that uses json
	[ $checks -gt 0 ] && { python3 - $checks <<-'END' || status=1; }
		import json, sys
		bad = 0
		for n in range(1, int(sys.argv[1]) + 1):
		    text, want = open(".json/%d.out" % n).read(), open(".json/%d.expression" % n).read()
		    try:
		        j = json.loads(text)
		        good = eval(want)
		    except ValueError as e:
		        good = False
		    if not good:
		        print("not", want, "in:", text)
		        bad = 1
		sys.exit(bad)
	END
	exit $status
}
poke() { # file, offset, printf's text for the bytes
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
random() { # file, MiB where 700000 random bytes go
	head -c 700000 /dev/urandom | dd of="$1" bs=1M seek="$2" conv=notrunc status=none
}
disk() { # file: 20 MiB with holes, data and a partly zero end
	truncate -s 20M "$1"
	for mib in 0 3 4 11 19; do
		random "$1" $mib
	done
	truncate -s 20M "$1"
}
