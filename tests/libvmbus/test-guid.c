/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>
#include <uuid/uuid.h>

#include <vmbus/guid.h>

/* The SCSI interface as Linux and Windows guests expect it on the wire. */
static const uint8_t scsi_bytes[16] = {0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
				       0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f};
static const char scsi_text[] = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";

Test(guid, literal_parsed_and_uuid_forms_agree)
{
	struct vmbus_guid literal = VMBUS_GUID_SCSI, parsed, from_uuid;
	char text[VMBUS_GUID_STRING_SIZE];
	uuid_t uuid, back;

	cr_assert_eq(memcmp(literal.b, scsi_bytes, 16), 0);
	cr_assert_eq(vmbus_guid_parse(scsi_text, &parsed), 0);
	cr_assert(vmbus_guid_equal(literal, parsed));
	cr_assert_eq(uuid_parse(scsi_text, uuid), 0);
	from_uuid = vmbus_guid_from_uuid(uuid);
	cr_assert(vmbus_guid_equal(literal, from_uuid));
	vmbus_guid_to_uuid(literal, back);
	cr_assert_eq(uuid_compare(uuid, back), 0);
	cr_assert_str_eq(vmbus_guid_format(literal, text), scsi_text);
}

Test(guid, braces_are_taken_and_rubbish_is_not)
{
	static const char *const bad[] = {"", "ba6163d9", "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f",
					  "ba6163d9-04a1-4d29-b605-72e2ffb1dc7g",
					  "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f0"};
	struct vmbus_guid guid;

	cr_assert_eq(vmbus_guid_parse("{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}", &guid), 0);
	cr_assert_eq(memcmp(guid.b, scsi_bytes, 16), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(vmbus_guid_parse(bad[i], &guid), -EINVAL, "%s", bad[i]);
}

Test(fault, every_fault_has_a_name_of_its_own_and_a_text)
{
	for (int i = 0; i < VMBUS_FAULT_COUNT; i++) {
		cr_expect_gt(strlen(vmbus_fault_text((enum vmbus_fault)i)), 0);
		for (int k = 0; k < i; k++)
			cr_expect_str_neq(vmbus_fault_name((enum vmbus_fault)i),
					  vmbus_fault_name((enum vmbus_fault)k));
	}
	cr_expect_str_eq(vmbus_fault_name(VMBUS_FAULT_COUNT), "unknown");
}
