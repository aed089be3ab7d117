/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <poll.h>
#include <stdlib.h>

#include "tap-link.h"

/* libnl's errors to errno, as far as they can come here. */
static int nl_errno(int err)
{
	switch (-err) {
	case 0:
		return 0;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_OBJ_NOTFOUND:
	case NLE_NODEV:
		return -ENODEV;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_RANGE:
	case NLE_INVAL:
		return -EINVAL;
	default:
		return -EIO;
	}
}

static int socket_open(struct nl_sock **out)
{
	int err;

	*out = nl_socket_alloc();
	if (!*out)
		return -NLE_NOMEM;
	err = nl_connect(*out, NETLINK_ROUTE);
	if (err) {
		nl_socket_free(*out);
		*out = NULL;
	}
	return err;
}

/* -- Set-up --------------------------------------------------------------- */

static int link_change(struct nl_sock *sock, struct rtnl_link *link,
		       const struct vsp_nic_tap_config *config)
{
	struct rtnl_link *change = rtnl_link_alloc();
	struct nl_addr *mac = NULL;
	int err;

	if (!change)
		return -NLE_NOMEM;
	if (config->mtu)
		rtnl_link_set_mtu(change, config->mtu);
	if (config->mac) {
		mac = nl_addr_build(AF_LLC, config->mac, 6);
		if (mac)
			rtnl_link_set_addr(change, mac);
	}
	if (config->up)
		rtnl_link_set_flags(change, IFF_UP);
	err = config->mac && !mac ? -NLE_NOMEM : rtnl_link_change(sock, link, change, 0);
	if (mac)
		nl_addr_put(mac);
	rtnl_link_put(change);
	return err;
}

int vsp_tap_link_setup(const char *name, const struct vsp_nic_tap_config *config,
		       struct vmbus_error *err)
{
	struct rtnl_link *link = NULL;
	struct nl_sock *sock;
	unsigned int bridge;
	int ret;

	if (!config->mtu && !config->mac && !config->bridge && !config->up)
		return 0;
	ret = socket_open(&sock);
	if (ret)
		return vmbus_error_set(err, nl_errno(ret), "rtnetlink: %s", nl_geterror(ret));
	ret = rtnl_link_get_kernel(sock, 0, name, &link);
	if (!ret)
		ret = link_change(sock, link, config);
	if (!ret && config->bridge) {
		bridge = if_nametoindex(config->bridge);
		ret = !bridge ? -NLE_OBJ_NOTFOUND
			      : rtnl_link_enslave_ifindex(sock, (int)bridge, rtnl_link_get_ifindex(link));
	}
	if (link)
		rtnl_link_put(link);
	nl_socket_free(sock);
	return ret ? vmbus_error_set(err, nl_errno(ret), "%s: set-up: %s", name, nl_geterror(ret)) : 0;
}

/* -- Following ------------------------------------------------------------ */

struct vsp_tap_link {
	struct vmbus_watch watch; /* first: the storage goes with it */
	struct vmbus_loop *loop;
	struct nl_sock *events, *queries;
	int index, master; /* master 0: none */
	unsigned int flags, master_flags;
	bool up;
	void (*changed)(void *opaque, bool up);
	void *opaque;
};

static void link_judge(struct vsp_tap_link *l)
{
	bool up = l->flags & IFF_UP && (!l->master || l->master_flags & IFF_RUNNING);

	if (up == l->up)
		return;
	l->up = up;
	l->changed(l->opaque, up);
}

static void link_ask(struct vsp_tap_link *l)
{
	struct rtnl_link *link = NULL, *master = NULL;

	l->flags = l->master_flags = 0;
	l->master = 0;
	if (rtnl_link_get_kernel(l->queries, l->index, NULL, &link))
		return;
	l->flags = rtnl_link_get_flags(link);
	l->master = rtnl_link_get_master(link);
	if (l->master && !rtnl_link_get_kernel(l->queries, l->master, NULL, &master)) {
		l->master_flags = rtnl_link_get_flags(master);
		rtnl_link_put(master);
	}
	rtnl_link_put(link);
}

/* The bridge repeats messages of its ports in its own family: not those. */
static int message_take(struct nl_msg *msg, void *arg)
{
	struct vsp_tap_link *l = arg;
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	const struct ifinfomsg *info = nlmsg_data(h);

	if ((h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) ||
	    info->ifi_family != AF_UNSPEC)
		return NL_OK;
	if (info->ifi_index == l->index || info->ifi_index == l->master)
		link_ask(l);
	return NL_OK;
}

static void events_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct vsp_tap_link *l = (struct vsp_tap_link *)watch;

	(void)events;
	/* an overrun lost messages: the state itself tells what they would have */
	if (nl_recvmsgs_default(l->events) == -NLE_NOMEM)
		link_ask(l);
	link_judge(l);
}

static void link_free(struct vsp_tap_link *l)
{
	if (l->events)
		nl_socket_free(l->events);
	if (l->queries)
		nl_socket_free(l->queries);
	free(l);
}

static void watch_done(struct vmbus_watch *watch)
{
	link_free((struct vsp_tap_link *)watch);
}

static int events_open(struct vsp_tap_link *l)
{
	int ret = socket_open(&l->queries);

	if (ret)
		return ret;
	l->events = nl_socket_alloc();
	if (!l->events)
		return -NLE_NOMEM;
	nl_socket_disable_seq_check(l->events);
	ret = nl_socket_modify_cb(l->events, NL_CB_VALID, NL_CB_CUSTOM, message_take, l);
	if (!ret)
		ret = nl_connect(l->events, NETLINK_ROUTE);
	if (!ret)
		ret = nl_socket_add_membership(l->events, RTNLGRP_LINK);
	return ret ? ret : nl_socket_set_nonblocking(l->events);
}

int vsp_tap_link_watch(const char *name, struct vmbus_loop *loop,
		       void (*changed)(void *opaque, bool up), void *opaque,
		       struct vsp_tap_link **out, bool *up)
{
	struct vsp_tap_link *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->changed = changed;
	l->opaque = opaque;
	l->index = (int)if_nametoindex(name);
	ret = l->index ? nl_errno(events_open(l)) : -ENODEV;
	if (!ret) {
		link_ask(l);
		l->up = l->flags & IFF_UP && (!l->master || l->master_flags & IFF_RUNNING);
		*up = l->up;
		l->watch.ready = events_ready;
		l->watch.fd = nl_socket_get_fd(l->events);
		l->watch.events = POLLIN;
		ret = vmbus_loop_watch(loop, &l->watch);
	}
	if (ret)
		link_free(l);
	else
		*out = l;
	return ret;
}

void vsp_tap_link_unwatch(struct vsp_tap_link *l)
{
	if (l)
		vmbus_loop_unwatch(l->loop, &l->watch, watch_done);
}
