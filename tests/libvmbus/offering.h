/* SPDX-License-Identifier: MIT */
/* A server with room for many devices, and a guest that hears of them. */
#ifndef TESTS_OFFERING_H
#define TESTS_OFFERING_H

#include <string.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

#define MANY 200

static struct mock m;
static struct mock_device devices[MANY];

static inline void start(void)
{
	memset(devices, 0, sizeof(devices));
	if (!m.config.ops)
		mock_config(&m);
	mock_start(&m);
}

static inline uint32_t offered(void)
{
	return mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.channel_id;
}

static inline void quiet(void)
{
	mock_run(&m);
	m.inbox_read = m.inbox_count;
}

#endif
