/* SPDX-License-Identifier: MIT */
/* What can be wrong with an image file, and the text that tells a person.
 *
 * Every libvhd call that can fail returns int: 0 is done, < 0 is -errno (the
 * host's trouble: no such file, no space, locked), > 0 is an enum vhd_fault:
 * the file's bytes break the format. Calls whose text a person reads take an
 * optional last struct vhd_error *, in the caller's storage; NULL is fine. */
#ifndef VHD_FAULT_H
#define VHD_FAULT_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VHD_API __attribute__((visibility("default")))
#define VHD_MUST_CHECK __attribute__((warn_unused_result))
#else
#define VHD_API
#define VHD_MUST_CHECK
#endif

/* One list makes the enum, the texts and the table in the manual. */
#define VHD_FAULTS(X)                                                                \
	X(NONE, "no fault")                                                          \
	X(NOT_AN_IMAGE, "no footer or signature of the format was found")            \
	X(FOOTER_COOKIE, "VHD footer cookie is wrong")                               \
	X(FOOTER_CHECKSUM, "VHD footer checksum is wrong")                           \
	X(FOOTER_VERSION, "VHD footer version is not supported")                     \
	X(DISK_TYPE, "disk type is not supported")                                   \
	X(DISK_SIZE, "virtual disk size is not allowed")                             \
	X(FILE_SIZE, "file is too small for what it should hold")                    \
	X(HEADER_OFFSET, "dynamic header offset is not allowed")                     \
	X(HEADER_COOKIE, "dynamic header cookie is wrong")                           \
	X(HEADER_CHECKSUM, "dynamic header checksum is wrong")                       \
	X(HEADER_VERSION, "dynamic header version is not supported")                 \
	X(BLOCK_SIZE, "block size is not allowed")                                   \
	X(BAT_SIZE, "block allocation table has a wrong number of entries")          \
	X(BAT_OFFSET, "block allocation table lies at a wrong place")                \
	X(BAT_ENTRY, "block allocation table entry points to a wrong place")         \
	X(BAT_OVERLAP, "two blocks share the same place")                            \
	X(SAVED_STATE, "image belongs to a saved virtual machine")                   \
	X(LOCATOR, "parent locator is malformed")                                    \
	X(PARENT_MISSING, "parent image was not found")                              \
	X(PARENT_FORMAT, "parent image has another format")                          \
	X(PARENT_ID, "parent image is not the one the child was made from")          \
	X(PARENT_TIME, "parent image was modified after the child was made")         \
	X(PARENT_SIZE, "parent image is larger than the child")                      \
	X(CHAIN_LOOP, "chain of parents comes back to the same image")               \
	X(CHAIN_DEPTH, "chain of parents is too long")                               \
	X(VHDX_HEADER, "no VHDX header is valid, or both are and differ")            \
	X(VHDX_VERSION, "VHDX version is not supported")                             \
	X(VHDX_LOG_PLACE, "VHDX log lies at a wrong place")                          \
	X(VHDX_LOG, "VHDX log cannot be replayed")                                   \
	X(VHDX_REGION, "VHDX region table is malformed")                             \
	X(VHDX_METADATA, "VHDX metadata is malformed")                               \
	X(VHDX_INCOMPLETE, "VHDX file was not made to its end")                      \
	X(SECTOR_SIZE, "sector size is not allowed")                                 \
	X(AMBIGUOUS, "file could be of two formats")

enum vhd_fault {
#define X(name, text) VHD_FAULT_##name,
	VHD_FAULTS(X)
#undef X
	VHD_FAULT_COUNT
};

/* What went wrong, for a program (@code: -errno or enum vhd_fault) and for a
 * person (@text: names file, field, value and what was expected; without control
 * characters, whatever a file holds). */
struct vhd_error {
	int code;
	char text[256];
};

/* The short text of one fault; "unknown fault" for a number that is none.
 * Static storage, any thread. */
VHD_API const char *vhd_fault_text(int fault);

#ifdef __cplusplus
}
#endif

#endif
