# SPDX-License-Identifier: MIT
# Sourced by the tests here. Two network namespaces, $a and $b, with nothing but a VMBus
# between them: the tool's host with a tap in one, its guest with a tap in the other. Needs
# root, /dev/net/tun and iproute2. $work is a directory of the test's own.
set -u
[ -n "${VMBUS_TEST_GUARDED-}" ] || VMBUS_TEST_GUARDED=1 exec timeout -k 30 600 "$0"

skip() {
	echo "SKIP: $*"
	exit 77
}

need() { # PROGRAM...
	local program
	for program in "$@"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || skip "no $program here"
	done
}

[ "$(id -u)" = 0 ] || skip "network namespaces need root"
[ -c /dev/net/tun ] || skip "no /dev/net/tun here"
need ip

loopback=$top_builddir/tools/vmbus-loopback
a=vmbus-a-$$ b=vmbus-b-$$
work=$(mktemp -d)
host='' guest='' failed=0
others=() # processes to end

world_end() {
	local pid
	for pid in ${guest:+"$guest"} ${host:+"$host"} ${others[@]+"${others[@]}"}; do
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	ip netns del "$a" 2>/dev/null
	ip netns del "$b" 2>/dev/null
	rm -rf "$work"
}
trap world_end EXIT
ip netns add "$a" 2>/dev/null && ip netns add "$b" || skip "no network namespaces here"
ip -n "$a" link set lo up
ip -n "$b" link set lo up

# Not for what goes to the background: $! would be a shell around it.
in_a() { ip netns exec "$a" "$@"; }
in_b() { ip netns exec "$b" "$@"; }

# until_ok SECONDS COMMAND...: polls; the time is but a guard against hanging
until_ok() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# wait_for PID: its status; it has to end by itself, and soon
wait_for() {
	until_ok 90 ended "$1" || die "process $1 does not end: $(tr '\0' ' ' <"/proc/$1/cmdline")"
	wait "$1"
}

ended() { # not there, or a zombie
	case $(cat "/proc/$1/stat" 2>/dev/null) in
	"" | *") Z "*) ;;
	*) false ;;
	esac
}

logs() { tail -n 5 "$work"/*.log "$work"/*.err 2>/dev/null; }

die() {
	echo "FAILED: $*"
	logs
	exit 1
}

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@" >"$work/check.log" 2>&1; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		logs
		failed=1
	fi
}

# The tool's sides; their output is in host.log and guest.log.
host_start() { # SPEC...: of --nic
	local options=()
	local spec
	for spec in "$@"; do options+=(--nic "$spec"); done
	rm -f "$work/ready"
	mkfifo "$work/ready"
	ip netns exec "$a" "$loopback" host --socket "$work/bus" --json --ready-fd 3 "${options[@]}" \
		3>"$work/ready" >"$work/host.log" 2>"$work/host.err" &
	host=$!
	read -r -t 60 _ <"$work/ready" || die "the host did not start"
}

guest_start() { # OPTION...: of nic
	: >"$work/guest.log" # or the last one's is what we find
	ip netns exec "$b" "$loopback" guest --socket "$work/bus" --json nic "$@" \
		>"$work/guest.log" 2>"$work/guest.err" &
	guest=$!
	until_ok 60 grep -q '"event": "up"' "$work/guest.log" || die "the guest did not start"
}

guest_stop() {
	kill "$guest"
	wait_for "$guest" || die "the guest ended with status $?"
	guest=''
}

host_stop() {
	kill "$host"
	wait_for "$host" || die "the host ended with status $?"
	host=''
}

address() { # TAP_A TAP_B: 10.9.0.1 and fd09::1 here, .2 and ::2 there
	ip -n "$a" addr add 10.9.0.1/24 dev "$1"
	ip -n "$a" addr add fd09::1/64 dev "$1" nodad
	ip -n "$b" addr add 10.9.0.2/24 dev "$2"
	ip -n "$b" addr add fd09::2/64 dev "$2" nodad
}

count() { # FILE FIELD: the number that was told last
	grep -o "\"$2\": [0-9]*" "$work/$1.log" | tail -n 1 | grep -o '[0-9]*$'
}
