/* SPDX-License-Identifier: MIT */
/* nbdkit-vhd-plugin: any image that libvhd opens, with its chain of parents, as an NBD
 * export. All connections share one open image; libvhd lets them in side by side. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <vhd/vhd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct {
	char *file, *parent, *parent_directory;
	enum vhd_format format;
	uint32_t flags;
} config;

static struct {
	pthread_mutex_t lock; /* of connections and, while it changes, image */
	unsigned connections;
	struct vhd_image *image;
	struct vhd_info info;
	/* A write that is no whole number of sectors reads what is around it first:
	 * it must be alone. Others share. */
	pthread_rwlock_t sectors;
} disk = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.sectors = PTHREAD_RWLOCK_INITIALIZER,
};

/* -- Configuration -------------------------------------------------------------------- */

static void vhd_unload(void)
{
	free(config.file);
	free(config.parent);
	free(config.parent_directory);
}

static int format_set(const char *value)
{
	for (int f = VHD_FORMAT_RAW; f <= VHD_FORMAT_VHDX; f++)
		if (strcmp(value, vhd_format_name((enum vhd_format)f)) == 0) {
			config.format = (enum vhd_format)f;
			return 0;
		}
	if (strcmp(value, "auto") == 0)
		return 0;
	nbdkit_error("format is \"%s\", expected auto, raw, vhd or vhdx", value);
	return -1;
}

/* nbdkit is in another directory when it opens them. */
static int path_set(char **path, const char *value)
{
	free(*path);
	*path = nbdkit_absolute_path(value);
	return *path ? 0 : -1;
}

static int flag_set(uint32_t flag, const char *value)
{
	int on = nbdkit_parse_bool(value);

	if (on > 0)
		config.flags |= flag;
	return on < 0 ? -1 : 0;
}

static int vhd_config(const char *key, const char *value)
{
	if (strcmp(key, "file") == 0)
		return path_set(&config.file, value);
	if (strcmp(key, "parent") == 0)
		return path_set(&config.parent, value);
	if (strcmp(key, "parent-directory") == 0)
		return path_set(&config.parent_directory, value);
	if (strcmp(key, "format") == 0)
		return format_set(value);
	if (strcmp(key, "any-parent") == 0)
		return flag_set(VHD_OPEN_ANY_PARENT, value);
	if (strcmp(key, "direct") == 0)
		return flag_set(VHD_OPEN_DIRECT, value);
	nbdkit_error("parameter \"%s\" is not known", key);
	return -1;
}

#define vhd_config_help                                                             \
	"file=<IMAGE>             (required) The image to serve.\n"                 \
	"format=<FORMAT>          auto (default), raw, vhd or vhdx.\n"              \
	"parent=<IMAGE>           The parent of a differencing image.\n"            \
	"parent-directory=<DIR>   Parents must lie in or below this directory.\n"   \
	"any-parent=<BOOL>        Take a parent with another identity.\n"           \
	"direct=<BOOL>            Go round the page cache where that can be done."

static void warn(void *opaque, const char *text)
{
	(void)opaque;
	nbdkit_debug("%s", text);
}

static int image_open(uint32_t flags, struct vhd_image **image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err;

	options.format = config.format;
	options.flags = config.flags | flags;
	options.parent = config.parent;
	options.parent_directory = config.parent_directory;
	options.warn = warn;
	if (vhd_open(config.file, &options, image, &err) == 0)
		return 0;
	nbdkit_error("%s", err.text);
	return -1;
}

static int vhd_config_complete(void)
{
	if (config.file)
		return 0;
	nbdkit_error("file=<IMAGE> is missing");
	return -1;
}

/* Whoever starts nbdkit should hear of a bad image, not the first client. */
static int vhd_get_ready(void)
{
	struct vhd_image *image;

	if (image_open(VHD_OPEN_READ_ONLY, &image) < 0)
		return -1;
	vhd_close(image);
	return 0;
}

/* -- Connections ------------------------------------------------------------------------ */

/* Under disk.lock. */
static void image_close(void)
{
	int ret = vhd_close(disk.image);

	disk.image = NULL;
	if (ret)
		nbdkit_error("%s: cannot be closed: %s", config.file, strerror(-ret));
}

static int first_open(int readonly)
{
	struct vhd_info info = VHD_INFO_INIT;

	if (image_open(readonly ? VHD_OPEN_READ_ONLY : 0, &disk.image) < 0)
		return -1;
	disk.info = info;
	if (vhd_get_info(disk.image, &disk.info) == 0)
		return 0;
	nbdkit_error("%s: cannot be examined", config.file);
	image_close();
	return -1;
}

static void *vhd_connect(int readonly)
{
	int ret = 0;

	pthread_mutex_lock(&disk.lock);
	if (disk.connections == 0)
		ret = first_open(readonly);
	if (!ret)
		disk.connections++;
	pthread_mutex_unlock(&disk.lock);
	return ret ? NULL : &disk;
}

static void vhd_disconnect(void *handle)
{
	(void)handle;
	pthread_mutex_lock(&disk.lock);
	if (--disk.connections == 0)
		image_close();
	pthread_mutex_unlock(&disk.lock);
}

/* When nbdkit ends, by a signal or with its --run, it does not tell of the connections that
 * end with it: what they wrote must not be lost for that. */
static void vhd_cleanup(void)
{
	pthread_mutex_lock(&disk.lock);
	image_close();
	pthread_mutex_unlock(&disk.lock);
}

static int64_t vhd_get_size(void *handle)
{
	(void)handle;
	return (int64_t)disk.info.virtual_size;
}

static int vhd_can_write(void *handle)
{
	(void)handle;
	return !disk.info.read_only;
}

static int vhd_can_trim(void *handle)
{
	(void)handle;
	return disk.info.can_discard;
}

static int vhd_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

static int vhd_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = 4096;
	*maximum = UINT32_MAX;
	return 0;
}

static const char *vhd_export_description(void *handle)
{
	(void)handle;
	return nbdkit_printf_intern("%s image, %s", vhd_format_name(disk.info.format),
				    vhd_type_name(disk.info.type));
}

/* -- Requests --------------------------------------------------------------------------- */

static int result(int ret, const char *what, uint64_t offset)
{
	if (!ret)
		return 0;
	nbdkit_error("%s at %llu: %s", what, (unsigned long long)offset, strerror(-ret));
	nbdkit_set_error(-ret);
	return -1;
}

static bool is_aligned(uint64_t count, uint64_t offset)
{
	return ((count | offset) & (disk.info.logical_sector_size - 1)) == 0;
}

/* The whole sectors around a range. */
struct around {
	uint64_t offset;
	size_t length, skip;
	char *buf;
};

static int around_read(struct around *a, uint64_t count, uint64_t offset)
{
	uint64_t sector = disk.info.logical_sector_size;
	int ret;

	a->offset = offset & ~(sector - 1);
	a->skip = (size_t)(offset - a->offset);
	a->length = (size_t)((a->skip + count + sector - 1) & ~(sector - 1));
	a->buf = malloc(a->length);
	ret = a->buf ? vhd_pread(disk.image, a->buf, a->length, a->offset) : -ENOMEM;
	if (ret)
		free(a->buf);
	return ret;
}

static int vhd_read(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct around a;
	int ret;

	(void)handle, (void)flags;
	if (is_aligned(count, offset))
		return result(vhd_pread(disk.image, buf, count, offset), "read", offset);
	ret = around_read(&a, count, offset);
	if (!ret) {
		memcpy(buf, a.buf + a.skip, count);
		free(a.buf);
	}
	return result(ret, "read", offset);
}

static int around_write(const void *buf, uint32_t count, uint64_t offset)
{
	struct around a;
	int ret = around_read(&a, count, offset);

	if (ret)
		return ret;
	memcpy(a.buf + a.skip, buf, count);
	ret = vhd_pwrite(disk.image, a.buf, a.length, a.offset);
	free(a.buf);
	return ret;
}

static int vhd_write(void *handle, const void *buf, uint32_t count, uint64_t offset,
		     uint32_t flags)
{
	bool aligned = is_aligned(count, offset);
	int ret;

	(void)handle, (void)flags;
	if (aligned)
		pthread_rwlock_rdlock(&disk.sectors);
	else
		pthread_rwlock_wrlock(&disk.sectors);
	ret = aligned ? vhd_pwrite(disk.image, buf, count, offset) :
			around_write(buf, count, offset);
	pthread_rwlock_unlock(&disk.sectors);
	return result(ret, "write", offset);
}

static int vhd_flush_all(void *handle, uint32_t flags)
{
	(void)handle, (void)flags;
	return result(vhd_flush(disk.image), "flush", 0);
}

/* Advice: only the whole sectors of the range are given up. */
static int vhd_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	uint64_t sector = disk.info.logical_sector_size;
	uint64_t start = (offset + sector - 1) & ~(sector - 1);
	uint64_t end = (offset + count) & ~(sector - 1);

	(void)handle, (void)flags;
	return start < end ? result(vhd_discard(disk.image, start, end - start), "trim", start) :
			     0;
}

static int vhd_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	int ret;

	(void)handle, (void)flags;
	if (!is_aligned(count, offset)) {
		nbdkit_set_error(EOPNOTSUPP); /* nbdkit writes zeros then */
		return -1;
	}
	pthread_rwlock_rdlock(&disk.sectors);
	ret = vhd_write_zeroes(disk.image, offset, count);
	pthread_rwlock_unlock(&disk.sectors);
	return result(ret, "zero", offset);
}

static int vhd_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
		       struct nbdkit_extents *extents)
{
	uint64_t sector = disk.info.logical_sector_size;
	uint64_t end = (offset + count + sector - 1) & ~(sector - 1);
	struct vhd_extent e;

	(void)handle;
	for (uint64_t at = offset & ~(sector - 1); at < end; at += e.length) {
		int ret = vhd_get_extent(disk.image, at, end - at, &e);

		if (ret)
			return result(ret, "extents", at);
		if (nbdkit_add_extent(extents, at, e.length,
				      e.data ? 0 : NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO) < 0)
			return -1;
		if (flags & NBDKIT_FLAG_REQ_ONE && at + e.length > offset)
			break;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "vhd",
	.longname = "VHD and VHDX images",
	.description = "raw, VHD and VHDX disk images: fixed, dynamic, differencing",
	.version = PACKAGE_VERSION,
	.unload = vhd_unload,
	.config = vhd_config,
	.config_complete = vhd_config_complete,
	.config_help = vhd_config_help,
	.magic_config_key = "file",
	.get_ready = vhd_get_ready,
	.cleanup = vhd_cleanup,
	.open = vhd_connect,
	.close = vhd_disconnect,
	.export_description = vhd_export_description,
	.get_size = vhd_get_size,
	.can_write = vhd_can_write,
	.can_trim = vhd_can_trim,
	.can_multi_conn = vhd_can_multi_conn,
	.block_size = vhd_block_size,
	.pread = vhd_read,
	.pwrite = vhd_write,
	.flush = vhd_flush_all,
	.trim = vhd_trim,
	.zero = vhd_zero,
	.extents = vhd_extents,
};

/* The macro defines it without saying so before. */
struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
