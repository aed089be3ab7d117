/* SPDX-License-Identifier: MIT */
/* What is done to whole images: check, compact, merge, rebase.
 *
 * These calls open the image by its path, as their struct vhd_task says, work in
 * the caller's thread until they are done and close it again. Nobody else may
 * have the image open meanwhile: the locks of vhd_open() see to that. Whenever
 * the power goes or the process dies, the image is good: it holds what it held,
 * and the job can be started again. */
#ifndef VHD_MAINTAIN_H
#define VHD_MAINTAIN_H

#include <vhd/vhd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a job opens its image and tells how far it is. */
struct vhd_task {
	size_t size; /* sizeof(struct vhd_task) */
	/* NULL: the defaults of vhd_open(). Its flag VHD_OPEN_READ_ONLY and, but
	 * for vhd_check(), VHD_OPEN_NO_PARENT are the job's own business. */
	const struct vhd_open_options *open;
	/* Called now and then with the bytes looked at so far, of @total. A result
	 * other than 0 ends the job with that result, the image as good as ever.
	 * NULL: not told. */
	int (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};
#define VHD_TASK_INIT { .size = sizeof(struct vhd_task) }

/* -- Check ------------------------------------------------------------------- */

enum vhd_finding {
	VHD_FINDING_NOTE,   /* odd, harmless, and left as it is */
	VHD_FINDING_LEAK,   /* space of the file that nothing owns */
	VHD_FINDING_STALE,  /* one of two copies is bad, or a log waits to be replayed */
	VHD_FINDING_DAMAGE, /* contents are lost or in doubt, and no repair is known */
};

/* "note", "leak", "stale", "damage"; "?" otherwise. */
VHD_API const char *vhd_finding_name(enum vhd_finding finding);

enum {
	/* Leaked space is given back, copies are written anew, the log is replayed;
	 * not while there is damage. */
	VHD_CHECK_REPAIR = 1u << 0,
};

struct vhd_check {
	size_t size; /* sizeof(struct vhd_check) */
	uint32_t flags; /* VHD_CHECK_* */
	/* Called for each thing found; @text is the callee's until it returns. Of
	 * each kind of damage to the block table the first hundred are told. */
	void (*found)(void *opaque, enum vhd_finding finding, const char *text);
	void *opaque;

	/* Filled by vhd_check(). */
	uint64_t count[VHD_FINDING_DAMAGE + 1]; /* all that was found, by kind */
	uint64_t data_bytes;   /* of the disk, that this file holds */
	uint64_t leaked_bytes; /* of the file */
	bool repaired;	       /* leaks and stale parts are gone */
};
#define VHD_CHECK_INIT { .size = sizeof(struct vhd_check) }

/* Looks at all of the image's own structures and at the links to its parents, not at
 * its data. Without VHD_CHECK_REPAIR nothing is written.
 *
 * 0: the check was made, @check says what it found. enum vhd_fault: the file is no
 * image at all (NOT_AN_IMAGE, FOOTER_COOKIE, AMBIGUOUS). -errno: it could not be opened, read,
 * or repaired. */
VHD_API int vhd_check(const char *path, const struct vhd_task *task, struct vhd_check *check,
		      struct vhd_error *err) VHD_MUST_CHECK;

/* -- Compact ----------------------------------------------------------------- */

struct vhd_compact_result {
	size_t size; /* sizeof(struct vhd_compact_result) */
	uint64_t file_size_before, file_size_after; /* bytes */
	uint64_t blocks_freed; /* they held nothing but zeros */
	uint64_t blocks_moved;
};
#define VHD_COMPACT_RESULT_INIT { .size = sizeof(struct vhd_compact_result) }

/* Makes the file of a dynamic or differencing image as short as its data allows:
 * blocks that hold only zeros (of a differencing image: blocks without a sector of
 * their own) are given up, the last blocks move into the holes, the file is cut. The
 * disk's contents stay, and so does the identity that children know their parent by.
 *
 * -ENOTSUP: a raw or fixed image. Else as vhd_open(), vhd_pread() and vhd_pwrite(). */
VHD_API int vhd_compact(const char *path, const struct vhd_task *task,
			struct vhd_compact_result *result, struct vhd_error *err) VHD_MUST_CHECK;

/* -- Merge ------------------------------------------------------------------- */

/* Writes all that the differencing image at @path holds into its parent, which then
 * reads as the child did: what else was made from that parent is worthless. The
 * child's data is not touched; at any moment before the end, and after it, it reads
 * the same, so that a merge that was cut off is simply done again. When the call
 * returns 0 the parent is durable, as long as the child, and the child of no more use.
 *
 * -ENOTSUP: no differencing image. Else as vhd_open() of child and parent, and
 * vhd_resize() of the parent and writing to it. */
VHD_API int vhd_merge(const char *path, const struct vhd_task *task,
		      struct vhd_error *err) VHD_MUST_CHECK;

/* -- Rebase ------------------------------------------------------------------ */

enum {
	/* Only the link is written; the disk reads as the new parent has it. */
	VHD_REBASE_UNSAFE = 1u << 0,
};

/* Gives the differencing image at @path the parent at @parent. The disk keeps its
 * contents: where the new chain of parents differs from the old one, the child first
 * gets what it read there. With VHD_REBASE_UNSAFE the old parent is not
 * needed: for a parent that was moved, or changed in a way the caller knows of.
 *
 * -ENOTSUP: no differencing image. -EINVAL: @parent is the image itself or built on
 * it, or is longer than the child. Else as vhd_open() of image and @parent, and
 * writing to the image. */
VHD_API int vhd_rebase(const char *path, const char *parent, uint32_t flags,
		       const struct vhd_task *task, struct vhd_error *err) VHD_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
