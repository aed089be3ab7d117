/* SPDX-License-Identifier: MIT */
/* The VMBus device in ACPI, without which a guest starts no bus:
 *
 *   Scope (\_SB) { Device (VMBS) {
 *     Name (_HID, "VMBus")  Name (_UID, Zero)  Name (_STA, 0x0F)
 *     Name (_CRS, ResourceTemplate () { QWordMemory (window) })
 *   } }
 *
 * The interrupt is the SINT's vector, so _CRS names none. */
#include <string.h>

#include <vmbus/kvm.h>

struct aml {
	uint8_t *data;
	size_t len;
};

static void aml_put(struct aml *aml, const void *bytes, size_t len)
{
	memcpy(aml->data + aml->len, bytes, len);
	aml->len += len;
}

/* An opcode whose body, @body, is preceded by its length, which counts its own one
 * or two bytes (ACPI 20.2.4). */
static void aml_package(struct aml *aml, const char *op, size_t op_len, const struct aml *body)
{
	size_t len = body->len + 1;
	uint8_t length[2] = {(uint8_t)len, 0};

	aml_put(aml, op, op_len);
	if (len < 64) {
		aml_put(aml, length, 1);
	} else {
		len++;
		length[0] = (uint8_t)(0x40 | (len & 15));
		length[1] = (uint8_t)(len >> 4);
		aml_put(aml, length, 2);
	}
	aml_put(aml, body->data, body->len);
}

static void crs_put(struct aml *aml, uint64_t base, uint64_t len)
{
	/* QWordMemory, both ends fixed, read/write */
	static const uint8_t head[] = {0x8a, 0x2b, 0x00, 0x00, 0x0c, 0x01};
	const uint64_t fields[] = {0, base, base + len - 1, 0, len};
	static const uint8_t end[] = {0x79, 0x00};
	uint8_t resources[64] = {0x0a}; /* a byte: the buffer's size */
	struct aml template = {.data = resources, .len = 2};

	if (len) {
		aml_put(&template, head, sizeof(head));
		aml_put(&template, fields, sizeof(fields));
	}
	aml_put(&template, end, sizeof(end));
	resources[1] = (uint8_t)(template.len - 2);
	aml_put(aml, "\x08_CRS", 5);
	aml_package(aml, "\x11", 1, &template);
}

static size_t header_put(uint8_t *table, size_t len)
{
	static const uint8_t head[36] = "SSDT\0\0\0\0\2\0LVMBUSVMBUSDEV\1\0\0\0LVMB\1\0\0";
	uint8_t sum = 0;
	size_t i;

	memcpy(table, head, sizeof(head));
	table[4] = (uint8_t)len;
	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + table[i]);
	table[9] = (uint8_t)(0 - sum);
	return len;
}

size_t vmbus_kvm_ssdt(uint64_t mmio_base, uint64_t mmio_len, uint8_t buf[VMBUS_KVM_SSDT_MAX])
{
	uint8_t device_bytes[VMBUS_KVM_SSDT_MAX], scope_bytes[VMBUS_KVM_SSDT_MAX];
	struct aml device = {.data = device_bytes}, scope = {.data = scope_bytes};
	struct aml table = {.data = buf, .len = 36};

	aml_put(&device, "VMBS", 4);
	aml_put(&device, "\x08_HID\x0dVMBus", 12); /* with its NUL */
	aml_put(&device, "\x08_UID\x00", 6);
	aml_put(&device, "\x08_STA\x0a\x0f", 7);
	crs_put(&device, mmio_base, mmio_len);
	aml_put(&scope, "\\_SB_", 5);
	aml_package(&scope, "\x5b\x82", 2, &device);
	aml_package(&table, "\x10", 1, &scope);
	return header_put(buf, table.len);
}
