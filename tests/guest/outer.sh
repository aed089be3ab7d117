#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of the outer VM: runs the boots named on its command line ("BOOT:MODE:W,...")
# and checks from outside what they left behind.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
exec >/dev/ttyS0 2>&1
for module in /mod/*.ko; do
	insmod "$module"
done
echo "# outer VM up after $(cut -d' ' -f1 /proc/uptime) s"
[ -c /dev/kvm ] || echo "# no /dev/kvm in the outer VM"

# For the boots' functions:

# command TEXT: to minivmm
command_vmm() {
	echo "$*" >/tmp/control
}

# console_wait TEXT: until the guest has said it
console_wait() {
	local tries=600
	until grep -q "$1" /tmp/console; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

image_fs_ok() { # IMAGE FORMAT: qemu-img can read it, e2fsck has nothing to say against it
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
	if [ "$why" = ok ] && [ "$status" != "$want_status" ]; then
		why="minivmm: exit status $status"
	fi
	after=after_$(echo "$name" | tr - _)
	if [ "$why" = ok ] && type "$after" >/dev/null 2>&1; then
		"$after" >/tmp/after 2>&1 || {
			why="outside: $(tail -n 1 /tmp/after)"
			cat /tmp/after
		}
	fi
	echo "result $name $why"
}

boot() {
	boot=$1 mode=$2 began=$(cut -d. -f1 /proc/uptime)
	names= cpus=1 threads=1 limit=60 want_status=0 append= memory=256
	kernel=/vmlinuz initrd=/inner.cpio
	disks() { :; }
	during() { :; }
	. "/boots/$boot.sh"
	echo "== begin $boot-$mode"
	rm -rf /tmp/*
	mkfifo /tmp/control
	set -- $(disks)
	# -k: a VMM that does not end by SIGTERM is a failure of its own
	timeout -k 5 "$limit" minivmm --kernel "$kernel" ${initrd:+--initrd "$initrd"} --memory "$memory" \
		--cpus "$cpus" --threads "$threads" --synic "$mode" --control /tmp/control \
		--stats-json /tmp/stats.json "$@" \
		--append "console=ttyS0 panic=-1 quiet boot=$boot mode=$mode synic=$mode $append" \
		</dev/null >/tmp/console 2>/tmp/vmm &
	vmm=$!
	during
	wait $vmm
	status=$?
	tr -d '\r' </tmp/console | sed 's/^result/said: result/'
	tr -d '\r' </tmp/console >/tmp/console.clean && mv /tmp/console.clean /tmp/console
	cat /tmp/vmm /tmp/stats.json 2>/dev/null
	for name in $names; do
		report "$name"
	done
	unset -f $(for name in $names; do echo "after_$name" | tr - _; done) 2>/dev/null
	echo "== end $boot-$mode after $(($(cut -d. -f1 /proc/uptime) - began)) s"
}

for entry in $(sed 's/.* -- //; s/,/ /g' /proc/cmdline); do
	boot "${entry%%:*}" "$(echo "$entry" | cut -d: -f2)"
done
poweroff -f
