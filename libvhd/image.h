/* SPDX-License-Identifier: MIT */
/* What is inside a struct vhd_image.
 *
 * An image is a stack of layers: the file that was opened, then its parents. A
 * layer without a block map is one piece (raw, fixed VHD). With one, the map
 * has a word a block, read without a lock by every request and changed only
 * under image->lock.
 *
 * Metadata is written in two steps, so that adding a block costs no sync:
 * the map changes in memory at once and the block's number is kept; the flush
 * stages what is kept, syncs the file (now the blocks themselves are durable),
 * writes the tables and syncs again. One flush at a time has something staged
 * (image->committing); another one syncs until that one is done. */
#ifndef LIBVHD_IMAGE_H
#define LIBVHD_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include <vhd/maintain.h>
#include <vhd/vhd.h>

#include "error.h"
#include "room.h"

/* A map word: the file offset of the block's data (a multiple of 512) and, in
 * its low bits, one of these. */
enum map_state {
	MAP_NONE, /* not here: the parent's, or zeros */
	MAP_DATA, /* all here */
	MAP_PART, /* sector by sector here or in the parent */
	MAP_ZERO, /* zeros, whatever the parent holds */
	MAP_IDLE, /* the same, but the space is kept for when the block is written to */
	MAP_STATE_MASK = 7,
};

struct vhd_layer;
struct spaces;
struct create_context;

/* What a format with blocks adds. Those marked [L] are called under image->lock,
 * and for the layer that is written to only. */
struct layer_ops {
	/* How many of the @count sectors from @sector on in a MAP_PART block are
	 * all here (@here) or all in the parent. -errno. */
	int (*run)(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		   uint32_t sector, uint32_t count, bool *here);
	/* Sectors of a MAP_PART block were written: they are here now. */
	void (*written)(struct vhd_image *image, uint32_t block, uint32_t sector, uint32_t count);
	/* [L] Before the first write of a session; may sync. NULL: nothing to do. */
	int (*begin)(struct vhd_image *image);
	/* [L] Finds space for @block and publishes it in the map. -errno. */
	int (*allocate)(struct vhd_image *image, uint32_t block);
	/* [L] @block, all of it, becomes zeros without taking space. False: it cannot be
	 * had that way. NULL: never. */
	bool (*zero)(struct vhd_image *image, uint32_t block);
	/* [L] All of @block was discarded, its space in the file is a hole now. NULL: that
	 * is all there is to do. */
	void (*unmap)(struct vhd_image *image, uint32_t block);
	/* [L] Is there something that a flush has to write? */
	bool (*dirty)(const struct vhd_layer *layer);
	/* [L] What was kept until now belongs to the flush that begins. */
	void (*stage)(struct vhd_layer *layer);
	/* [L] The file was synced since stage(): write what was staged. -errno. */
	int (*commit)(struct vhd_image *image);
	/* [L] What commit() wrote was synced. NULL: nothing to do. */
	int (*finish)(struct vhd_image *image);
	/* After the last flush of a session that has begun. NULL: nothing to do. */
	int (*end)(struct vhd_image *image);
	void (*free)(struct vhd_layer *layer);

	/* For the jobs on whole images, while no request is in flight; formats that
	 * do not know compacting leave fit to cut out. */

	/* Adds each space of the file that is somebody's. */
	void (*spaces)(const struct vhd_layer *layer, struct spaces *spaces);
	/* Tells what is odd beyond what opening tells. -errno of reading. */
	int (*check)(struct vhd_image *image, struct vhd_check *check);
	/* Opening failed for the block table: tells all that is wrong with it. */
	void (*check_table)(const struct vhd_layer *layer, struct vhd_check *check);
	/* Writes anew what opening for writing does not put right. -errno. */
	int (*repair)(struct vhd_image *image);
	/* Where a block's space can begin in a gap of the file; UINT64_MAX: nowhere. */
	uint64_t (*fit)(const struct vhd_layer *layer, uint64_t start, uint64_t end);
	/* [L] Gives the block up, which holds nothing but zeros or, if it is only
	 * partly here, nothing. -ENOMEM. */
	int (*release)(struct vhd_image *image, uint32_t block);
	/* [L] The block's space was copied to @place. -ENOMEM. */
	int (*moved)(struct vhd_image *image, uint32_t block, uint64_t place);
	/* All is flushed: the file ends behind its last space from now on. -errno. */
	int (*cut)(struct vhd_image *image);
	/* All is flushed: the image has this parent from now on. Leaves the old or
	 * the new link whenever it is cut off. 0 or -errno, in create->err. */
	int (*relink)(struct vhd_image *image, const struct create_context *create);
	/* The link is to a parent whose contents have the one id or the other.
	 * NULL: a link does not know of contents. -errno. */
	int (*link_both)(struct vhd_image *image, const uint8_t *now, const uint8_t *next);
	/* The metadata that is the disk's, not the file's, is what @from has from now on; they
	 * are of the same size. NULL: there is none of that sort. -errno. */
	int (*take_items)(struct vhd_image *image, struct vhd_image *from);
};

struct vhd_layer {
	enum vhd_format format;
	enum vhd_type type;
	_Atomic uint64_t size; /* bytes of the virtual disk; changed by vhd_resize() */
	uint64_t data_offset; /* where the disk begins; layers without a map */
	uint32_t blocks;
	unsigned block_shift;
	uint32_t logical, physical; /* sector sizes; bits of MAP_PART are for the first */
	_Atomic uint64_t *map; /* NULL: one piece */
	struct room map_room;  /* where it lies */
	const struct vhd_file *file;
	const struct vhd_file *direct; /* the same file for aligned I/O, or NULL */
	const struct layer_ops *ops;   /* NULL without a map */
	void *state;		       /* the format's, freed by ops->free() */
	struct bitmaps *bitmaps;       /* differencing; part of the state */
	char *path;
	uint8_t id[16];
	uint8_t parent_id[16];
	uint8_t data_id[16]; /* under image->lock */
	char creator[5];
};

enum { IMAGE_MAX_LAYERS = 64, IMAGE_MAX_FILES = 2 * IMAGE_MAX_LAYERS };

struct vhd_image {
	const struct vhd_io_ops *io;
	void *io_opaque;
	bool read_only;
	bool can_discard;
	uint32_t direct_align; /* for addresses, offsets and lengths of direct I/O */
	uint32_t layer_count;
	uint32_t file_count;
	struct vhd_layer layers[IMAGE_MAX_LAYERS]; /* [0] is the one written to */
	struct vhd_file files[IMAGE_MAX_FILES];

	pthread_mutex_t lock;
	bool committing;	/* under lock */
	_Atomic bool begun;	/* the top layer's begin() was called */
	bool same_data;		/* this session moves data, but changes none */
	const uint8_t *data_id; /* its contents' next id; NULL: random */
	_Atomic int sync_error; /* the first failed flush: all later writes fail too */
};

/* What vhd_open() and the formats' parts of it work with. */
struct open_context {
	struct vhd_image *image;
	const char *path;
	bool read_only; /* this file; parents always are */
	const struct vhd_open_options *options;
	bool relink; /* may be written to without its parents */
	struct vhd_check *check; /* NULL: nobody checks the image, warnings are warnings */
	struct vhd_error *err;
};

/* Tells options->warn() or, when the image is checked, check->found() as a note; with the
 * path in front. */
void vhd_warn(const struct open_context *ctx, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same of what an open for writing puts right. */
void vhd_warn_stale(const struct open_context *ctx, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* -- image.c ---------------------------------------------------------------- */

/* The parts of vhd_open(), for jobs that need to see what was opened, or how far it
 * came. @ctx gets path, check and err from the caller; @options may be NULL. On
 * failure too there is an image to be freed, unless ctx->image is NULL. */
int vhd_image_open(struct open_context *ctx, const struct vhd_open_options *options,
		   struct vhd_open_options *copy);
void vhd_image_free(struct vhd_image *image);

/* Is the file one of the chain's? Then *@depth says which, 0: the image itself. */
bool vhd_image_has_file(const struct vhd_image *image, const struct stat *file, uint32_t *depth);

/* -- file.c: the files and the blocking I/O on them ------------------------- */

/* Opens and locks path into the next file of the image; a second file for
 * direct I/O if that was asked for and works. Sets file and direct. */
int vhd_file_open(const struct open_context *ctx, struct vhd_layer *layer);
void vhd_file_close_all(struct vhd_image *image);
int vhd_file_size(const struct vhd_file *file, uint64_t *size);
/* Locks the whole file, shared or exclusive, until @fd is closed. -EAGAIN: somebody else has
 * it; other -errno. */
int vhd_file_lock(int fd, bool shared);

/* All of @length bytes, or -errno (-EIO: the file ends before). */
int vhd_file_read(struct vhd_image *image, const struct vhd_file *file, void *buf, size_t length,
		  uint64_t offset);
int vhd_file_write(struct vhd_image *image, const struct vhd_file *file, const void *buf,
		   size_t length, uint64_t offset);
int vhd_file_sync(struct vhd_image *image, const struct vhd_file *file);
int vhd_file_truncate(struct vhd_image *image, const struct vhd_file *file, uint64_t length);

/* -- request.c: what the first write of a session does, once. -errno. */
int vhd_session_begin(struct vhd_image *image);

/* -- the formats ------------------------------------------------------------ */

/* Fill image->layers[0], whose file is open. 0, -errno or enum vhd_fault. */
int vhd_raw_open(const struct open_context *ctx, struct vhd_layer *layer);
int vhd_vhd_open(const struct open_context *ctx, struct vhd_layer *layer);
int vhd_vhdx_open(const struct open_context *ctx, struct vhd_layer *layer);

/* -- parent.c ---------------------------------------------------------------- */

enum { PARENT_PATHS = 10 };

/* Where an image's bytes say its parent is: paths in UTF-8 with "/", in the order
 * to be tried, freed by vhd_parent_paths_free(). */
struct parent_paths {
	char *path[PARENT_PATHS];
	uint32_t count;
};

/* A parent could not be opened, for @fault: says so in place of what is wrong with its bytes
 * if it is just of another format. Returns what vhd_open() shall. */
int vhd_parent_fault(struct vhd_error *err, const char *path, enum vhd_format format, int fault);

/* Adds a path and takes it over. NULL, or one too many, is freed
 * and ignored. */
void vhd_parent_paths_add(struct parent_paths *paths, char *path);
void vhd_parent_paths_free(struct parent_paths *paths);

/* The first of @paths that is a file, relative ones from the directory of
 * ctx->path: *@found for free(). VHD_FAULT_PARENT_MISSING, -errno. */
int vhd_parent_find(const struct open_context *ctx, const struct parent_paths *paths,
		    char **found);

/* A Windows path as one from the child's directory: ".\x", "..\x", "x". NULL when
 * it is absolute after all. Takes @path over. */
char *vhd_windows_relative(char *path);
/* Only the file's name of a path that means nothing here. Takes @path over. */
char *vhd_windows_name(char *path);

/* Where the parent of @layer is, by the format. 0, -errno or enum vhd_fault. */
int vhd_vhd_parent_paths(const struct open_context *ctx, const struct vhd_layer *layer,
			 struct parent_paths *paths);
int vhd_vhdx_parent_paths(const struct open_context *ctx, const struct vhd_layer *layer,
			  struct parent_paths *paths);
/* Is @parent the one that @child was made from? 0 or enum vhd_fault. */
int vhd_vhd_parent_check(const struct open_context *ctx, const struct vhd_layer *child,
			 const struct vhd_layer *parent);
int vhd_vhdx_parent_check(const struct open_context *ctx, const struct vhd_layer *child,
			  const struct vhd_layer *parent);

#endif
