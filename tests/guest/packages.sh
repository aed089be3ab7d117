# SPDX-License-Identifier: MIT
# Debian's packages, downloaded and unpacked but not installed; what of them goes into
# the VMs' file systems. For tests/guest/run.

# suite_use SUITE: from here on packages come from that suite, with lists of our own;
# none: from what this machine's apt knows.
apt_options=()
suite_use() {
	local lists=$cache/lists-$1
	apt_options=()
	[ -n "$1" ] || return 0
	mkdir -p "$lists/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"http://deb.debian.org/debian $1 main" >"$cache/$1.list"
	apt_options=(-o "Dir::Etc::SourceList=$cache/$1.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	[ -e "$cache/$1.done" ] ||
		{ apt-get "${apt_options[@]}" update >"$cache/$1.log" 2>&1 && touch "$cache/$1.done"; }
}

# package_get NAME: unpacks it once into cache/NAME and prints that directory.
package_get() {
	local dir=$cache/$1 tmp
	if [ ! -d "$dir" ]; then
		tmp=$(mktemp -d "$cache/tmp.XXXXXX")
		(cd "$tmp" && apt-get "${apt_options[@]}" download "$1" >get.log 2>&1 &&
			dpkg -x ./*.deb x) || {
			tail -n 3 "$tmp/get.log" >&2
			rm -rf "$tmp"
			return 1
		}
		mv "$tmp/x" "$dir"
		rm -rf "$tmp"
	fi
	echo "$dir"
}

# kernel_get PACKAGE: sets root, version and vmlinuz. A name without a version stands for
# the newest package it depends on; what was unpacked before needs no network.
kernel_get() {
	local package
	package=$(apt-cache "${apt_options[@]}" depends "$1" 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {print $2; exit}')
	root=$(package_get "${package:-$1}") || return 1
	version=$(basename "$root"/lib/modules/*)
	vmlinuz=$root/boot/vmlinuz-$version
	[ -e "$root/lib/modules/$version/modules.dep.bin" ] || depmod -b "$root" "$version"
}

# modules_copy DIR MODULE...: what modprobe would load, numbered in its order
modules_copy() {
	local dir=$1 file n=100
	shift
	mkdir -p "$dir"
	for file in $(for module in "$@"; do
		modprobe -d "$root" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
	done | awk '!seen[$0]++'); do
		cp "$file" "$dir/$n-$(basename "$file")"
		n=$((n + 1))
	done
	find "$dir" -name '*.xz' -exec xz -d {} +
}

# program_copy DIR FILE: a program, and the libraries it needs
program_copy() {
	local dir=$1 file=$2 library
	[ -e "$(dirname "$file")/.libs/$(basename "$file")" ] &&
		file=$(dirname "$file")/.libs/$(basename "$file")
	cp "$file" "$dir/bin/"
	"$build/run" ldd "$file" | awk '$3 ~ /^\// {print $3} $1 ~ /^\/.*ld-linux/ {print $1}' |
		while read -r library; do
			case $library in
			*/ld-linux*) mkdir -p "$dir/lib64" && cp -L "$library" "$dir/lib64/" ;;
			*) mkdir -p "$dir/lib" && cp -L "$library" "$dir/lib/" ;;
			esac
		done
}

initramfs() {
	(cd "$1" && find . | cpio -o -H newc -R 0:0 --quiet) >"$2"
}
