/* SPDX-License-Identifier: MIT */
/* GUIDs on the wire are mixed-endian: the first three groups little-endian,
 * the rest in order. libuuid's uuid_t is big-endian throughout. The swap is
 * done here and nowhere else. */
#ifndef VMBUS_GUID_H
#define VMBUS_GUID_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMBUS_GUID_STRING_SIZE 37 /* 36 characters and the terminator */

/* Bytes as they lie in messages. */
struct vmbus_guid {
	uint8_t b[16];
};

/* A GUID literal from its printed groups:
 * VMBUS_GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f) */
#define VMBUS_GUID(d1, d2, d3, ...)                                                      \
	{ { (uint8_t)((d1) & 0xff), (uint8_t)(((d1) >> 8) & 0xff),                       \
	    (uint8_t)(((d1) >> 16) & 0xff), (uint8_t)(((d1) >> 24) & 0xff),              \
	    (uint8_t)((d2) & 0xff), (uint8_t)(((d2) >> 8) & 0xff),                       \
	    (uint8_t)((d3) & 0xff), (uint8_t)(((d3) >> 8) & 0xff), __VA_ARGS__ } }

#define VMBUS_GUID_SCSI                                                                  \
	VMBUS_GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f)
#define VMBUS_GUID_IDE                                                                   \
	VMBUS_GUID(0x32412632, 0x86cb, 0x44a2, 0x9b, 0x5c, 0x50, 0xd1, 0x41, 0x73, 0x54, 0xf5)
#define VMBUS_GUID_NET                                                                   \
	VMBUS_GUID(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e)

/* @uuid is libuuid's uuid_t, 16 bytes big-endian. Any thread. */
VMBUS_API struct vmbus_guid vmbus_guid_from_uuid(const unsigned char uuid[16]);
VMBUS_API void vmbus_guid_to_uuid(struct vmbus_guid guid, unsigned char uuid[16]);

/* "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f", with or without braces. Returns 0
 * or -EINVAL. Any thread. */
VMBUS_API int vmbus_guid_parse(const char *text, struct vmbus_guid *guid) VMBUS_MUST_CHECK;

/* Writes the lower-case form into @text and returns @text. Any thread. */
VMBUS_API char *vmbus_guid_format(struct vmbus_guid guid, char text[VMBUS_GUID_STRING_SIZE]);

/* A fresh random GUID. Any thread. */
VMBUS_API struct vmbus_guid vmbus_guid_random(void);

static inline bool vmbus_guid_equal(struct vmbus_guid a, struct vmbus_guid b)
{
	return __builtin_memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

#ifdef __cplusplus
}
#endif
#endif
