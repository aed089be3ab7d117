/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include <vmbus/fault.h>

static const struct {
	const char *name, *text;
} faults[VMBUS_FAULT_COUNT] = {
#define X(constant, name, text) [VMBUS_FAULT_##constant] = {name, text},
	VMBUS_FAULTS(X)
#undef X
};

const char *vmbus_fault_text(enum vmbus_fault fault)
{
	return (unsigned int)fault < VMBUS_FAULT_COUNT ? faults[fault].text : "unknown fault";
}

const char *vmbus_fault_name(enum vmbus_fault fault)
{
	return (unsigned int)fault < VMBUS_FAULT_COUNT ? faults[fault].name : "unknown";
}

int vmbus_error_set(struct vmbus_error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	err->code = code;
	va_start(args, format);
	(void)vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}
