#!/bin/sh
# SPDX-License-Identifier: MIT
# make installcheck: the same against what is installed. LIBDIR and PKGCONFIGDIR say where.
PKG_CONFIG_PATH=$PKGCONFIGDIR LD_LIBRARY_PATH=$LIBDIR
export PKG_CONFIG_PATH LD_LIBRARY_PATH
. "$top_srcdir/tests/headers/outsider.sh"
outsider_all || exit 1
for library in "$LIBDIR"/lib*.so; do # only static libraries are left for the linker
	mkdir -p "$work/static" && ln -s "${library%.so}.a" "$work/static/"
done
outsider_static() {
	$CC -std=gnu11 -o "$work/serve-disk-static" "$top_srcdir/examples/serve-disk.c" \
		$(pkg-config --cflags --static --libs libvsp-storage libvmbus-shm | sed "s|-L$LIBDIR|-L$work/static|g") \
		$SAN_CFLAGS && ! ldd "$work/serve-disk-static" | grep -E 'libv(mbus|sp|hd)'
}
outsider_static
