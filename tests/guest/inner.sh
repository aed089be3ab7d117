#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of the inner guest, in its initramfs or on its root disk: calls the inner_NAME of
# each scenario of its boot and says "result NAME ok" or why not.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc 2>/dev/null
mount -t sysfs sys /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
exec </dev/null >/dev/ttyS0 2>&1

# For the boots' functions:

fail() { # WHY: ends the scenario
	echo "$*" >/tmp/why
	exit 1
}

modules_load() {
	local module
	for module in /mod/*.ko; do
		insmod "$module" || fail "insmod $module"
	done
}

disk_wait() { # NAME: until the disk is there
	local tries=200
	until [ -b "/dev/$1" ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "no /dev/$1"
		usleep 50000
	done
}

disk_of_lun() { # LUN: the name of its disk on the SCSI controller
	local tries=200 path
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

# What the drivers complain about, at warning level or worse
complaints() {
	dmesg -r | grep '^<[0-4]>' | grep -E 'hv_|[Hh]yper-V|scsi|storvsc|vmbus|\bsd |I/O error|blk_update' |
		grep -v "$expected_complaints"
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
for name in $names; do
	: >/tmp/why
	if ("inner_$(echo "$name" | tr - _)") && [ -z "$(complaints)" ]; then
		echo "result $name ok"
	else
		why=$(tail -n 1 /tmp/why)
		echo "result $name ${why:-$(complaints | head -n 1)}"
		dmesg | tail -n 60
	fi
done
sync
[ -z "$root" ] || mount -o remount,ro /
poweroff -f
