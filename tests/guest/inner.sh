#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of the inner guest, in its initramfs or on its root disk: calls the inner_NAME of
# each scenario of its boot and says "result NAME ok" or why not.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc 2>/dev/null
mount -t sysfs sys /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
exec </dev/null >/dev/ttyS0 2>&1 3</dev/ttyS0
stty -F /dev/ttyS0 -echo
dmesg -n 1 # the console is for our lines: those of the kernel would get into them

# For the boots' functions:

fail() { # WHY: ends the scenario
	echo "$*" >/tmp/why
	exit 1
}

modules_load() { # [DIR]
	local module name
	for module in "${1:-/mod}"/*.ko; do
		name=$(basename "${module#*/*-}" .ko)
		[ -e "/sys/module/$name" ] || insmod "$module" || fail "insmod $module"
	done
}

# outer COMMAND: has the outer VM run it; its last line, its status
outer() {
	local status line
	echo "outer: $*" >/dev/ttyS0
	read -r -t 300 status line <&3 || fail "no answer from outside"
	echo "$line"
	return "$status"
}

disk_wait() { # NAME: until the disk is there
	local tries=1200
	until [ -b "/dev/$1" ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "no /dev/$1"
		usleep 50000
	done
}

disk_of_lun() { # LUN: the name of its disk on the SCSI controller
	local tries=1200 path
	while [ $tries -gt 0 ]; do
		for path in /sys/bus/scsi/devices/*:0:0:"$1"/block/*; do
			path=$(readlink -f "$path")
			grep -qs ba6163d9 "${path%%/host*}/class_id" && {
				basename "$path"
				return
			}
		done
		tries=$((tries - 1))
		usleep 50000
	done
	fail "no disk at LUN $1"
}

root_is_whole() { # the tree is what was put in, and can be written
	grep -q '^/dev/sda / ext4 rw' /proc/mounts || fail "the root is not on /dev/sda"
	cd / && sha256sum -c -s sums || fail "checksums"
	cp -r data copy && rm -r data && mv copy data && sync
}

# What the drivers have complained about since boot, at warning level or worse
complaints() {
	dmesg -r | grep '^<[0-4]>' |
		grep -E 'hv_|[Hh]yper-V|scsi|storvsc|vmbus|\bsd |I/O error|blk_update|netvsc|rndis|eth[0-9]' |
		grep -v "$expected_complaints"
}

# Before a boot that leaves no log behind
no_complaints() {
	[ -z "$(complaints)" ] || fail "$(complaints | head -n 1)"
}

value() { # KEY: of the kernel's command line
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

boot=$(value boot) mode=$(value mode)
names= root= expected_complaints='^$'
. "/boots/$boot.sh"
mount -t tmpfs tmp /tmp
if [ -n "$root" ] && [ -d /mod ]; then
	(modules_load && disk_wait "$root") || {
		echo "root: $(cat /tmp/why)"
		poweroff -f
	}
	mount -t ext4 "/dev/$root" /mnt || poweroff -f
	exec switch_root /mnt /bin/inner
fi
seen=0 # complaints of earlier scenarios
for name in $names; do
	: >/tmp/why
	if ("inner_$(echo "$name" | tr - _)") && [ "$(complaints | wc -l)" = $seen ]; then
		echo "result $name ok"
	else
		why=$(tail -n 1 /tmp/why)
		[ -n "$why" ] || why=$(complaints | sed -n "$((seen + 1))p")
		echo "result $name ${why:-ended with an error}"
		dmesg | tail -n 60
	fi
	seen=$(complaints | wc -l)
done
sync
[ -z "$root" ] || mount -o remount,ro /
poweroff -f
