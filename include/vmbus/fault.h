/* SPDX-License-Identifier: MIT */
/* Whose fault: every call of these libraries that can fail returns an int:
 *
 *   < 0   -errno: the host's trouble (-ENOMEM, -EIO, ...), or -EAGAIN
 *     0   done
 *   > 0   enum vmbus_fault: the peer broke the protocol
 *
 * A fault is contained where it happened: the message is dropped or answered
 * with the protocol's failure reply, or that one channel is stopped. */
#ifndef VMBUS_FAULT_H
#define VMBUS_FAULT_H

#ifdef __cplusplus
extern "C" {
#endif

#define VMBUS_API __attribute__((visibility("default")))
#define VMBUS_MUST_CHECK __attribute__((warn_unused_result))

/* X(constant, name in traces and statistics, text for people) */
#define VMBUS_FAULTS(X)                                                                  \
	X(NONE, "none", "no fault")                                                      \
	X(TRUNCATED, "truncated", "message or packet ends before its fixed part")        \
	X(OVERSIZED, "oversized", "message longer than 240 bytes")                       \
	X(UNKNOWN_TYPE, "unknown-type", "no such message type")                          \
	X(WRONG_DIRECTION, "wrong-direction", "message that only the other side may send") \
	X(WRONG_VERSION, "wrong-version", "not part of the negotiated version or features") \
	X(WRONG_STATE, "wrong-state", "not allowed in this state")                       \
	X(BAD_CONNECTION, "bad-connection", "no such connection id")                     \
	X(BAD_CHANNEL, "bad-channel", "no such channel id")                              \
	X(BAD_GPADL, "bad-gpadl", "no such GPADL, or not usable for this")               \
	X(GPADL_EXISTS, "gpadl-exists", "GPADL handle already in use")                   \
	X(GPADL_RANGES, "gpadl-ranges", "GPADL range list is malformed")                 \
	X(BAD_GPA, "bad-gpa", "guest address outside guest memory, or read-only there")  \
	X(BAD_VP, "bad-vp", "no such virtual processor")                                 \
	X(BAD_SINT, "bad-sint", "not a SINT that VMBus uses")                            \
	X(BAD_VTL, "bad-vtl", "not the VTL that is served")                              \
	X(BAD_MONITOR, "bad-monitor", "exactly one of the two monitor pages given")      \
	X(BAD_RING, "bad-ring", "ring geometry impossible")                              \
	X(BAD_INDEX, "bad-index", "ring index out of range or not a multiple of 8")      \
	X(BAD_DESCRIPTOR, "bad-descriptor", "packet descriptor lengths disagree")        \
	X(BAD_PACKET_TYPE, "bad-packet-type", "packet type not used on a ring")          \
	X(BAD_RANGES, "bad-ranges", "GPA range list of a packet is malformed")           \
	X(NO_COMPLETION, "no-completion", "request that asks for no completion")         \
	X(BAD_REQUEST, "bad-request", "device request is malformed")                     \
	X(BAD_SIGNAL, "bad-signal", "signal parameters out of range, or in use")          \
	X(LIMIT, "limit", "a configured limit is reached")

enum vmbus_fault {
#define X(constant, name, text) VMBUS_FAULT_##constant,
	VMBUS_FAULTS(X)
#undef X
	VMBUS_FAULT_COUNT
};

/* Text for people ("no such channel id"). Never NULL. Any thread. */
VMBUS_API const char *vmbus_fault_text(enum vmbus_fault fault);

/* Short name for statistics and JSON ("bad-channel"). Never NULL. Any thread. */
VMBUS_API const char *vmbus_fault_name(enum vmbus_fault fault);

/* Filled by set-up calls whose failure a person reads. Caller's storage; NULL
 * where no text is wanted. */
struct vmbus_error {
	int code; /* what the call returned */
	char text[240];
};

/* Fills @err (may be NULL) and returns @code. Any thread. */
VMBUS_API int vmbus_error_set(struct vmbus_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
