#!/bin/bash
# SPDX-License-Identifier: MIT
# The network card of a VMM's own (examples/own), and a tap whose fd the VMM opened, in an event
# loop of the VMM's own.
. "$top_srcdir/tests/net/world.sh"
need ping
mkfifo "$work/commands"
exec 4<>"$work/commands"

own_start() { # [TAP]
	: >"$work/host.log" # or the last one's is what we find
	ip netns exec "$a" "$top_builddir/run" own-devices "$work/bus" "$@" \
		<"$work/commands" >"$work/host.log" 2>"$work/host.err" 4>&- &
	host=$!
	until_ok 60 grep -q "may come" "$work/host.log" || die "own-devices does not start"
}

own_start
guest_start --tap tb # nothing comes from the far end before something goes there
ip -n "$b" addr add 10.9.0.2/24 dev tb
check "whoever is pinged answers" in_b ping -q -w 60 -c 20 -i 0.01 10.9.0.77
check "with all that fits into a frame" in_b ping -q -w 60 -c 20 -i 0.01 -s 1472 10.9.0.78
check "many at a time" in_b ping -q -w 60 -f -c 500 10.9.0.77
echo "remove-nic 0" >&4
card_lost() {
	wait_for "$guest"
	[ $? -eq 1 ] && grep -q "took the device away" "$work/guest.err"
}
check "a guest loses its card" card_lost
guest=''
host_stop

own_start ta
guest_start --tap tb # the tap is made for it
in_a ip link set dev ta up
in_a ip addr add 10.9.0.1/24 dev ta
ip -n "$b" addr add 10.9.0.2/24 dev tb
check "a tap by its fd" in_b ping -q -w 60 -c 20 -i 0.01 10.9.0.1
guest_stop
host_stop
exit $failed
