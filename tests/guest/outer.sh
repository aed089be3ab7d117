#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of the outer VM: runs the boots named on its command line ("BOOT:MODE,...") and checks
# from outside what they left behind. Without an outer VM ("init here BOOTS") it is the first
# process of a root directory and namespaces of its own.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
if [ "${1-}" = here ]; then
	boots=$2
else
	boots=$(sed 's/.* -- //' /proc/cmdline)
	mount -t devtmpfs dev /dev
	exec >/dev/ttyS0 2>&1
	for module in /mod/*.ko; do
		insmod "$module"
	done
	echo "# outer VM up after $(cut -d' ' -f1 /proc/uptime) s"
fi
[ -c /dev/kvm ] || echo "# no /dev/kvm"

# Whoever watches us from outside sees that this VM lives, whatever its guest does.
while sleep 10; do
	echo "# alive $(cut -d' ' -f1 /proc/uptime)"
done &

# For the boots' functions:

# command TEXT: to minivmm
command_vmm() {
	echo "$*" >/tmp/control
}

# console_wait TEXT: until the guest has said it
console_wait() {
	local tries=3000
	until grep -q "$1" /tmp/console; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# Keeps what the guest says, and does what it asks for: "outer: COMMAND" on its console is
# answered with one line, status and the last line of the command's output.
console_serve() {
	local line answer
	while IFS= read -r line || [ -n "$line" ]; do
		line=$(echo "$line" | tr -d '\r')
		echo "$line" >>/tmp/console
		echo "| $line"
		case $line in
		"outer: "*)
			eval "${line#outer: }" >/tmp/answer 2>&1
			answer="$? $(tail -n 1 /tmp/answer)"
			cat /tmp/answer
			echo "$answer" | cut -c 1-200 >&4
			;;
		esac
	done
}

image_fs_ok() { # IMAGE FORMAT: it is sound, qemu-img reads it, e2fsck finds nothing wrong in it
	vhdtool check "$1" || return 1
	qemu-img convert -f "$2" -O raw "$1" /tmp/check.raw || return 1
	e2fsck -fn /tmp/check.raw
	local status=$?
	rm -f /tmp/check.raw
	return $status
}

# The last word of a scenario is outside's, if it has one.
report() {
	local name=$1 why
	if [ "$kernel" = /guest.bin ]; then
		why=$(grep -m 1 '^not ok' /tmp/console)
		[ -n "$why" ] || why=$(grep -qx end /tmp/console && echo ok)
	else
		why=$(sed -n "s/^result $name //p" /tmp/console | head -n 1)
	fi
	[ -n "$why" ] || why="no result"
	[ "$why" != ok ] || why=${wrong:-ok}
	if [ "$why" = ok ] && [ "$status" != "$want_status" ]; then
		why="minivmm: exit status $status"
	fi
	after=after_$(echo "$name" | tr - _)
	if [ "$why" = ok ] && type "$after" >/dev/null 2>&1; then
		"$after" >/tmp/after 2>&1 || why="outside: $(tail -n 1 /tmp/after)"
		cat /tmp/after
	fi
	echo "result $name $why"
}

# The guest runs, until it or the VMM ends.
guest_run() { # ROUND DISK-ARGUMENTS...
	local round=$1
	shift
	: >/tmp/console
	console_serve 4<>/tmp/console.in </tmp/console.out &
	serve=$!
	# -k: a VMM that does not end by SIGTERM is a failure of its own
	timeout -k 5 "$limit" minivmm --kernel "$kernel" ${initrd:+--initrd "$initrd"} --memory "$memory" \
		--cpus "$cpus" --threads "$threads" --synic "$mode" --control /tmp/control \
		--stats-json /tmp/stats.json "$@" \
		--append "console=ttyS0 panic=-1 quiet boot=$boot mode=$mode synic=$mode $append" \
		</tmp/console.in >/tmp/console.out 2>/tmp/vmm &
	vmm=$!
	during "$round"
	wait $vmm
	status=$?
	wait $serve
	cat /tmp/vmm /tmp/stats.json 2>/dev/null
}

boot() {
	boot=$1 mode=$2 began=$(cut -d. -f1 /proc/uptime)
	names= cpus=1 threads=1 limit=300 want_status=0 append= memory=256 rounds=1
	kernel=/vmlinuz initrd=/inner.cpio content_mib=
	disks() { :; }
	during() { :; }
	after_round() { :; }
	. "/boots/$boot.sh"
	echo "== begin $boot-$mode"
	rm -rf /tmp/*
	mkfifo /tmp/control /tmp/console.in /tmp/console.out
	case $initrd in
	*' '*) cat $initrd >/tmp/initrd && initrd=/tmp/initrd ;;
	esac
	wrong=
	set -- $(disks)
	for round in $(seq $rounds); do
		guest_run "$round" "$@"
		after_round >/tmp/after 2>&1 || wrong="outside, round $round: $(tail -n 1 /tmp/after)"
		cat /tmp/after
		[ -z "$wrong" ] || break
	done
	for name in $names; do
		report "$name"
	done
	unset -f $(for name in $names; do echo "after_$name" | tr - _; done) 2>/dev/null
	echo "== end $boot-$mode after $(($(cut -d. -f1 /proc/uptime) - began)) s"
}

for entry in $(echo "$boots" | tr , ' '); do
	boot "${entry%%:*}" "${entry#*:}"
done
[ "${1-}" = here ] || poweroff -f
