/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <uuid/uuid.h>

#include <vmbus/guid.h>

/* The same swap both ways. */
static void guid_swap(const uint8_t *in, uint8_t *out)
{
	static const uint8_t from[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

	for (unsigned int i = 0; i < 16; i++)
		out[i] = in[from[i]];
}

struct vmbus_guid vmbus_guid_from_uuid(const unsigned char uuid[16])
{
	struct vmbus_guid guid;

	guid_swap(uuid, guid.b);
	return guid;
}

void vmbus_guid_to_uuid(struct vmbus_guid guid, unsigned char uuid[16])
{
	guid_swap(guid.b, uuid);
}

int vmbus_guid_parse(const char *text, struct vmbus_guid *guid)
{
	char plain[VMBUS_GUID_STRING_SIZE];
	size_t len = strlen(text);
	uuid_t uuid;

	if (len == 38 && text[0] == '{' && text[37] == '}')
		text++;
	else if (len != 36)
		return -EINVAL;
	memcpy(plain, text, 36);
	plain[36] = '\0';
	if (uuid_parse(plain, uuid))
		return -EINVAL;
	*guid = vmbus_guid_from_uuid(uuid);
	return 0;
}

char *vmbus_guid_format(struct vmbus_guid guid, char text[VMBUS_GUID_STRING_SIZE])
{
	uuid_t uuid;

	vmbus_guid_to_uuid(guid, uuid);
	uuid_unparse_lower(uuid, text);
	return text;
}

struct vmbus_guid vmbus_guid_random(void)
{
	uuid_t uuid;

	uuid_generate_random(uuid);
	return vmbus_guid_from_uuid(uuid);
}
