/* SPDX-License-Identifier: MIT */
/* Versions, the connection, and everything of it let go. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

static const uint32_t versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
	VMBUS_VERSIONS(X)
#undef X
};
#define VERSION_COUNT (sizeof(versions) / sizeof(versions[0]))

Test(connection, every_version_connects_opens_and_unloads)
{
	for (size_t i = 0; i < VERSION_COUNT; i++) {
		static struct mock m;
		struct mock_device device = {0};
		uint32_t id;

		mock_init(&m);
		cr_assert_eq(mock_offer(&m, &device, 1, NULL), 0);
		id = mock_open_first(&m, versions[i]);
		mock_run(&m);
		cr_expect_eq(device.opens, 1);
		cr_expect_eq(device.services > 0, true);
		cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, id), 0);
		cr_expect_eq(mock_teardown(&m, id, 1), 0);
		mock_expect_none(&m);
		mock_run(&m);
		mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
		cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
		mock_run(&m);
		if (versions[i] >= VMBUS_V1_1)
			mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
		mock_expect_none(&m);
		mock_check_settled(&m);
		mock_fini(&m);
		cr_expect_eq(device.releases, 1);
	}
}
