# SPDX-License-Identifier: MIT
# Sourced: an outsider's builds by what pkg-config says, in the environment that is set.
# For each library a program that names one of its functions; for all of them the
# example of the README, once with the shared libraries and once with the static ones.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

outsider_link() { # library, header, function
	printf '#include <%s>\nvoid *volatile used;\nint main(void) { used = (void *)%s; return 0; }\n' "$2" "$3" >"$work/$1.c"
	$CC -std=gnu11 -Wall -Wextra -Werror -o "$work/$1" "$work/$1.c" \
		$(pkg-config --cflags --libs "$1") $SAN_CFLAGS && "$work/$1"
}

outsider_example() {
	$CC -std=gnu11 -Wall -Wextra -Werror -o "$work/serve-disk" "$top_srcdir/examples/serve-disk.c" \
		$(pkg-config --cflags --libs libvsp-storage libvmbus-shm) $SAN_CFLAGS || return
	"$work/serve-disk" 2>"$work/usage"
	[ $? -eq 2 ] && grep -q usage "$work/usage"
}

outsider_all() {
	outsider_link libvmbus vmbus/vmbus.h vmbus_server_new &&
		outsider_link libvmbus-shm vmbus/shm-loopback.h vmbus_shm_host_new &&
		outsider_link libvmbus-kvm vmbus/kvm.h vmbus_kvm_new &&
		outsider_link libvhd vhd/vhd.h vhd_open &&
		outsider_link libvsp-storage vsp/storage.h vsp_storage_new &&
		outsider_link libvsp-net vsp/net.h vsp_net_new &&
		outsider_example
}
