/* SPDX-License-Identifier: MIT */
/* libvhd: disk images in the formats of Hyper-V and Virtual PC.
 *
 * Three objects:
 *  - struct vhd_image, opaque: one open image (with the parents it is built on).
 *    May be used by any number of threads at once, each through its own queue.
 *  - struct vhd_queue, opaque: one thread's way to an image. Its calls and all
 *    its requests' callbacks happen on that thread.
 *  - struct vhd_request, open, in the caller's storage: one read, write, flush,
 *    discard or write-zeroes. The data path allocates nothing.
 * vhd_pread(), vhd_pwrite() and the like do the same for tools, one at a time.
 *
 * Returns: 0 done, < 0 -errno, > 0 enum vhd_fault; see vhd/fault.h. The bytes of
 * an image file are not trusted: whatever they are, a call ends with a result,
 * in bounded time and memory.
 *
 * What a guest flush promises: when a flush is done, everything whose result
 * was given before the flush was submitted survives a power cut. What was
 * written after that may be there or not, sector by sector; other sectors are
 * never harmed, whenever the power goes. */
#ifndef VHD_H
#define VHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vhd/fault.h>
#include <vhd/io.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhd_image;
struct vhd_queue;

enum vhd_format {
	VHD_FORMAT_AUTO, /* by the file's own signature; never VHD_FORMAT_RAW */
	VHD_FORMAT_RAW,	 /* the file is the disk */
	VHD_FORMAT_VHD,	 /* "conectix" */
	VHD_FORMAT_VHDX, /* "vhdxfile" */
};

enum vhd_type {
	VHD_TYPE_FIXED,		/* all space is there from the start */
	VHD_TYPE_DYNAMIC,	/* blocks are added by the first write */
	VHD_TYPE_DIFFERENCING,	/* dynamic, over a parent image */
};

/* "raw", "vhd", "vhdx"; "fixed", "dynamic", "differencing"; "?" otherwise. */
VHD_API const char *vhd_format_name(enum vhd_format format);
VHD_API const char *vhd_type_name(enum vhd_type type);

/* -- Opening --------------------------------------------------------------- */

enum {
	/* Opened O_RDONLY with a shared lock. Without this flag the image is
	 * opened for writing, with an exclusive lock. */
	VHD_OPEN_READ_ONLY = 1u << 0,
	/* Aligned data I/O goes round the page cache where the file system can
	 * do that; info.direct says whether it does. Unaligned I/O, and what
	 * libvhd itself reads and writes, stays buffered. */
	VHD_OPEN_DIRECT = 1u << 1,
	/* No lock is taken: somebody else keeps writers apart. */
	VHD_OPEN_NO_LOCK = 1u << 2,
	/* A VHD that belongs to a saved VM is opened for writing all the same. */
	VHD_OPEN_SAVED_STATE = 1u << 3,
	/* The size is cylinders * heads * sectors of the VHD footer when that is
	 * less than its current size: what Virtual PC and QEMU show for images
	 * of the creators "vpc " and "qemu". */
	VHD_OPEN_CHS_SIZE = 1u << 4,
	/* Only the file itself, without the parents of a differencing image:
	 * what it does not hold reads as zeros. Needs VHD_OPEN_READ_ONLY. */
	VHD_OPEN_NO_PARENT = 1u << 5,
	/* A parent whose identity is not the one the child names is taken. */
	VHD_OPEN_ANY_PARENT = 1u << 6,
	/* A parent that was modified since the child was made is refused; without
	 * this it is a warning, as copying a file changes its time. */
	VHD_OPEN_STRICT = 1u << 7,
};

struct vhd_open_options {
	size_t size; /* sizeof(struct vhd_open_options) */
	enum vhd_format format;
	uint32_t flags; /* VHD_OPEN_* */

	/* The blocking I/O of this image; must finish at once. Used for metadata
	 * (by vhd_open(), vhd_close() and, under the image's lock, by any queue
	 * when a block is added: at most a few small buffered writes each; the first
	 * write to a VHDX syncs its headers as well, and vhd_resize() syncs) and
	 * for vhd_pread() and the like. NULL: vhd_io_sync. */
	const struct vhd_io_ops *io;
	void *io_opaque;

	/* Called by vhd_open() for each thing that is odd but not wrong (footer
	 * recovered from its copy, ...). NULL: not told. */
	void (*warn)(void *opaque, const char *text);
	void *warn_opaque;

	/* The parent of a differencing image. NULL: where the image says, that is
	 * by its relative path, then by its absolute one, then by the parent's
	 * name in the image's own directory. Parents of the parent are always
	 * looked for that way. */
	const char *parent;
	/* A parent that is found by what an image says must lie in or below this
	 * directory, symbolic links followed. NULL: anywhere. An image from
	 * somebody who is not trusted should get one. */
	const char *parent_directory;
};
#define VHD_OPEN_OPTIONS_INIT { .size = sizeof(struct vhd_open_options) }

/* Opens the image at @path, and all its parents, those read-only; *@image is the
 * caller's, for vhd_close(). @options may be NULL: any format, for writing. A regular file or a
 * block device; a dynamic VHD on a block device can be read only.
 *
 * -EAGAIN: another process has the image open (exclusive against shared or
 * exclusive open file description locks on the whole file).
 * -EINVAL: options that contradict. -ENOTSUP: a valid image of a kind this
 * version cannot open that way. Other -errno: of open(), read() and so on.
 * enum vhd_fault: what is wrong with the file, @err->text says where. */
VHD_API int vhd_open(const char *path, const struct vhd_open_options *options,
		     struct vhd_image **image, struct vhd_error *err) VHD_MUST_CHECK;

/* Writes all metadata (a flush), then closes and frees @image, always. No
 * request may be in flight and all queues must be freed before. Returns 0, or
 * -errno of the last flush. NULL is fine. */
VHD_API int vhd_close(struct vhd_image *image);

struct vhd_info {
	size_t size; /* sizeof(struct vhd_info) */
	enum vhd_format format;
	enum vhd_type type;
	uint64_t virtual_size;	/* bytes */
	uint64_t file_size;	/* bytes, of the image file itself, now */
	uint32_t block_size;	/* bytes; 0 when there are no blocks (raw, fixed VHD) */
	uint32_t logical_sector_size;	/* 512 or 4096 */
	uint32_t physical_sector_size;	/* 512 or 4096 */
	uint32_t discard_granularity;	/* bytes; 0 when can_discard is false */
	uint32_t chain_depth;		/* 1, + 1 for each parent */
	bool read_only;
	bool direct;
	bool can_discard;	/* discarded ranges read as zeros afterwards */
	uint8_t id[16];		/* identity; all zero when the format has none (raw) */
	char creator[5];	/* creator application as text, "" when there is none */
	/* Of the parent a differencing image was made from: its id, of a VHDX its data_id. */
	uint8_t parent_id[16];
	/* VHDX: a number for the contents, new with the first write of each session; all zero
	 * otherwise. */
	uint8_t data_id[16];
};
#define VHD_INFO_INIT { .size = sizeof(struct vhd_info) }

/* Fills @info as far as info->size says the caller knows it. Any thread. */
VHD_API int vhd_get_info(struct vhd_image *image, struct vhd_info *info);

/* The path of one of the chain's images, as it was opened: @depth 0 is the image
 * itself, 1 its parent, up to info.chain_depth - 1. NULL beyond. Borrowed, lives as
 * long as @image. */
VHD_API const char *vhd_get_path(const struct vhd_image *image, uint32_t depth);

/* One piece of the disk that is all alike. */
struct vhd_extent {
	uint64_t offset;      /* bytes, of the disk */
	uint64_t length;      /* bytes */
	uint32_t depth;	      /* which image of the chain holds it; chain_depth: none does */
	bool data;	      /* false: reads as zeros, without looking */
	uint64_t file_offset; /* in that image's file; 0 when it holds nothing there */
};

/* Describes the piece that begins at @offset: at most @length bytes of it. Holes of
 * a raw or fixed image's file count as zeros. Any thread; what other threads write
 * meanwhile may be seen or not. -EINVAL: range; -errno of reading a bitmap. */
VHD_API int vhd_get_extent(struct vhd_image *image, uint64_t offset, uint64_t length,
			   struct vhd_extent *extent) VHD_MUST_CHECK;

/* The image's files, for an adapter that registers them with its loop. The
 * file is borrowed and lives as long as @image. @index < the count. */
VHD_API uint32_t vhd_get_file_count(const struct vhd_image *image);
VHD_API const struct vhd_file *vhd_get_file(const struct vhd_image *image, uint32_t index);

/* -- Creating -------------------------------------------------------------- */

enum {
	/* An existing file is replaced, atomically; never a device, the image's own parent or
	 * an image that somebody has open. */
	VHD_CREATE_OVERWRITE = 1u << 0,
	VHD_CREATE_SPARSE = 1u << 1, /* no space is reserved for a fixed image */
};

struct vhd_create_options {
	size_t size; /* sizeof(struct vhd_create_options) */
	enum vhd_format format;	  /* not VHD_FORMAT_AUTO */
	enum vhd_type type;
	uint64_t virtual_size;	  /* bytes, whole sectors; differencing: 0, the parent's */
	/* bytes; 0: the default (VHD 2 MiB, VHDX 32 MiB; a child's: the parent's, of a
	 * VHDX at most 2 MiB) */
	uint32_t block_size;
	uint32_t flags;		  /* VHD_CREATE_* */
	const uint8_t *id;	  /* 16 bytes; NULL: random, of a VHDX child the parent's */
	const int64_t *time;	  /* seconds since 1970; NULL: now. Only a VHD has it */
	const char *parent;	  /* differencing: the parent image, of the same format */

	/* VHDX only. Sector sizes are 512 or 4096; 0: the default (512 and 4096), the parent's. */
	uint32_t logical_sector_size;
	uint32_t physical_sector_size;
	/* 16 bytes each, in the order of their text; NULL: random. What a child made of
	 * this image knows its contents by (DataWriteGuid), and the file's (FileWriteGuid). */
	const uint8_t *data_id;
	const uint8_t *file_id;
};
#define VHD_CREATE_OPTIONS_INIT { .size = sizeof(struct vhd_create_options) }

/* Makes a new image at @path. The file appears under its name complete and
 * durable, or not at all. With ids and time given the same options make the same
 * bytes (of a child, if its parent is the same file of the same age). A fixed image
 * has all its space reserved where the file system can do that, unless
 * VHD_CREATE_SPARSE says not to.
 *
 * -EEXIST: @path is there and VHD_CREATE_OVERWRITE is not given. -EAGAIN: another
 * process has it open. -EINVAL: an option's value, named in @err->text, or @path is
 * nothing to be replaced. -ENOTSUP: a kind that cannot be made.
 * Other -errno: of the file system. enum vhd_fault: the parent cannot be opened. */
VHD_API int vhd_create(const char *path, const struct vhd_create_options *options,
		       struct vhd_error *err) VHD_MUST_CHECK;

/* -- Another size ---------------------------------------------------------- */

enum {
	VHD_RESIZE_SHRINK = 1u << 0, /* smaller is meant; what is behind is lost */
	VHD_RESIZE_SPARSE = 1u << 1, /* no space is reserved for what a fixed image grows by */
};

/* Gives the disk @size bytes, whole sectors. What it grows by reads as zeros (or as what a
 * larger parent holds there). Durable when it returns; a crash at any moment leaves an
 * image of the old or the new size with all else in it. Children of the image do not fit
 * it any more. Blocks, for some syncs.
 *
 * Growing may be called from any thread, while requests of any queue are in flight; they
 * may wait for it. For shrinking no request may be in flight, and the file becomes
 * shorter as far as the blocks at its end are those that go.
 *
 * -EINVAL: a size that is none, smaller without VHD_RESIZE_SHRINK, smaller than the
 * parent's. -EFBIG: more than the format takes. -ENOTSUP: a block device. -EROFS.
 * Other -errno: of the file; afterwards the image is as it was, or, when that is not
 * known, all later writes fail with the same error. */
VHD_API int vhd_resize(struct vhd_image *image, uint64_t size, uint32_t flags,
		       struct vhd_error *err) VHD_MUST_CHECK;

/* -- Requests -------------------------------------------------------------- */

/* Makes a queue over @image; *@queue is the caller's, for vhd_queue_free().
 * @ops is borrowed and must outlive the queue; its submit() is called with
 * @opaque on the thread that calls vhd_submit(). -ENOMEM, -EINVAL. */
VHD_API int vhd_queue_new(struct vhd_image *image, const struct vhd_io_ops *ops, void *opaque,
			  struct vhd_queue **queue) VHD_MUST_CHECK;

/* No request of @queue may be in flight. NULL is fine. */
VHD_API void vhd_queue_free(struct vhd_queue *queue);

enum vhd_op {
	VHD_OP_READ,
	VHD_OP_WRITE,
	VHD_OP_FLUSH,	     /* offset, length and iov are not used */
	VHD_OP_DISCARD,	     /* the range's contents are not needed; a hint */
	VHD_OP_WRITE_ZEROES, /* the range reads as zeros afterwards; iov is not used */
};

#define VHD_REQUEST_IOVS 16

struct vhd_request {
	enum vhd_op op;
	int niov;
	const struct iovec *iov; /* kept by the caller until done; their sum is @length */
	uint64_t offset;	 /* bytes, a multiple of the logical sector size */
	uint64_t length;	 /* bytes, a multiple of the logical sector size */
	/* Called when a request that vhd_submit() did not finish is: on the
	 * queue's thread, never from inside vhd_submit(). @result: 0 or -errno.
	 * The request is the caller's again: it may be reused or freed. */
	void (*done)(struct vhd_request *request, int result);
	void *user; /* the caller's */

	/* Private to libvhd from vhd_submit() to done(); need not be set up. */
	struct vhd_io io;
	struct vhd_queue *queue;
	uint64_t position;
	struct {
		int iov;
		int step;
		size_t skip;
		bool part;
		bool unmap;
	} at;
	struct iovec slice[VHD_REQUEST_IOVS];
};

/* Starts @request. Any number may be in flight; requests in flight are not
 * ordered among each other. Writes in flight to overlapping ranges leave either
 * one's data, sector by sector. A read or write that is one piece in the file
 * is given to the queue's io_ops as it is: the caller's iovecs, not copied.
 *
 * Returns 0 or -errno when it is finished at once (done() is then not called),
 * -EINPROGRESS when done() will be called. -EINVAL: range or alignment, or the
 * iovecs' sum. -EROFS: a write to a read-only image. -ENOSPC, -EIO, ...: of the
 * file; a failed write may have changed any part of its range. After a failed
 * sync of the file every later flush and write fails with the same error: what
 * was in the cache is gone, and only the caller knows what to do. */
VHD_API int vhd_submit(struct vhd_queue *queue, struct vhd_request *request) VHD_MUST_CHECK;

/* The same for tools: blocking, by options.io, from any thread. 0 or -errno
 * as vhd_submit(); never a short count. @length and @offset as in a request. */
VHD_API int vhd_pread(struct vhd_image *image, void *buf, size_t length,
		      uint64_t offset) VHD_MUST_CHECK;
VHD_API int vhd_pwrite(struct vhd_image *image, const void *buf, size_t length,
		       uint64_t offset) VHD_MUST_CHECK;
VHD_API int vhd_flush(struct vhd_image *image) VHD_MUST_CHECK;
VHD_API int vhd_discard(struct vhd_image *image, uint64_t offset,
			uint64_t length) VHD_MUST_CHECK;
VHD_API int vhd_write_zeroes(struct vhd_image *image, uint64_t offset,
			     uint64_t length) VHD_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
