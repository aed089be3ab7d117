/* SPDX-License-Identifier: MIT */
/* vhdtool create, convert and compare. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vhdtool.h"

enum { CHUNK = 2 << 20, GRAIN = 64 << 10 };

/* -- create ----------------------------------------------------------------------- */

/* The new image's options; @id and @time are the caller's room for them. */
static bool create_options(const struct tool_options *o, struct vhd_create_options *c, uint8_t *id,
			   int64_t *time)
{
	char *end;

	*c = (struct vhd_create_options)VHD_CREATE_OPTIONS_INIT;
	c->format = o->has_output_format ? o->output_format : VHD_FORMAT_VHD;
	c->type = o->type;
	if (!o->has_type && c->format == VHD_FORMAT_RAW)
		c->type = VHD_TYPE_FIXED;
	c->block_size = o->block_size;
	c->flags = o->force ? VHD_CREATE_OVERWRITE : 0;
	if (o->id && !tool_parse_id(o->id, id)) {
		tool_fail("--id: \"%s\" is not a UUID", o->id);
		return false;
	}
	c->id = o->id ? id : NULL;
	if (o->time) {
		*time = strtoll(o->time, &end, 10);
		c->time = time;
		if (*end || !*o->time) {
			tool_fail("--time: \"%s\" is not a number of seconds", o->time);
			return false;
		}
	}
	return true;
}

int tool_create(const struct tool_options *o, char **arguments)
{
	struct vhd_create_options c;
	struct vhd_error err;
	uint8_t id[16];
	int64_t time;

	if (!create_options(o, &c, id, &time))
		return TOOL_FAILED;
	if (o->backing) {
		c.type = VHD_TYPE_DIFFERENCING;
		c.parent = o->backing;
	}
	if (arguments[1] && !tool_parse_size(arguments[1], &c.virtual_size))
		return tool_fail("\"%s\" is not a size", arguments[1]);
	if (!arguments[1] && c.type != VHD_TYPE_DIFFERENCING)
		return tool_fail("a %s image needs a SIZE", vhd_type_name(c.type));
	if (vhd_create(arguments[0], &c, &err))
		return tool_fail("%s", err.text);
	return TOOL_OK;
}

/* -- convert ---------------------------------------------------------------------- */

/* Threads take chunk after chunk; each copies what its chunk holds. */
struct copy {
	struct vhd_image *from, *to;
	uint64_t size;
	_Atomic uint64_t next, done;
	_Atomic int error;
	/* The kernel lets one writer into a file at a time; waiting for it there
	 * costs more than all the rest on some file systems. */
	pthread_mutex_t writing;
};

static char *_Atomic unfinished;

/* Only what a signal handler may do. */
static void interrupted(int number)
{
	char *path = unfinished;

	if (path)
		unlink(path);
	signal(number, SIG_DFL);
	raise(number);
}

static bool is_zero(const char *buf, size_t length)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, length - 1) == 0;
}

/* Writes the runs of grains that are not zero. */
static int write_sparse(struct copy *c, const char *buf, size_t length, uint64_t offset)
{
	size_t start = 0;
	int ret = 0;

	for (size_t at = 0; !ret && at < length;) {
		size_t n = length - at < GRAIN ? length - at : GRAIN;
		bool zero = is_zero(buf + at, n);

		if (zero && at > start)
			ret = vhd_pwrite(c->to, buf + start, at - start, offset + start);
		at += n;
		if (zero)
			start = at;
	}
	if (!ret && length > start)
		ret = vhd_pwrite(c->to, buf + start, length - start, offset + start);
	return ret;
}

static int chunk_copy(struct copy *c, char *buf, uint64_t offset, uint64_t length)
{
	struct vhd_extent e;
	int ret = 0;

	for (uint64_t end = offset + length; !ret && offset < end; offset += e.length) {
		ret = vhd_get_extent(c->from, offset, end - offset, &e);
		if (ret || !e.data)
			continue;
		ret = vhd_pread(c->from, buf, e.length, offset);
		if (ret)
			break;
		pthread_mutex_lock(&c->writing);
		ret = write_sparse(c, buf, e.length, offset);
		pthread_mutex_unlock(&c->writing);
	}
	return ret;
}

static void *copy_thread(void *opaque)
{
	struct copy *c = opaque;
	char *buf = NULL;
	int none = 0;

	if (posix_memalign((void **)&buf, 4096, CHUNK))
		atomic_compare_exchange_strong(&c->error, &none, -ENOMEM);
	while (!atomic_load(&c->error)) {
		uint64_t offset = atomic_fetch_add(&c->next, CHUNK);
		uint64_t length = c->size > offset && c->size - offset < CHUNK ? c->size - offset :
										 CHUNK;
		int ret;

		if (offset >= c->size)
			break;
		ret = chunk_copy(c, buf, offset, length);
		if (ret)
			atomic_compare_exchange_strong(&c->error, &none, ret);
		atomic_fetch_add(&c->done, length);
	}
	free(buf);
	return NULL;
}

static int copy_run(struct copy *c, const struct tool_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int count = o->threads ? o->threads : cpus < 1 ? 1 : cpus > 4 ? 4 : (int)cpus;
	struct progress progress;
	pthread_t thread[64];
	int started = 0;

	progress_begin(&progress, "convert", c->size, o);
	while (started < count && pthread_create(&thread[started], NULL, copy_thread, c) == 0)
		started++;
	if (started == 0)
		copy_thread(c);
	while (!atomic_load(&c->error) && atomic_load(&c->done) < c->size &&
	       (progress.bar || progress.fd >= 0)) {
		progress_show(&progress, atomic_load(&c->done));
		usleep(50000);
	}
	for (int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	progress_show(&progress, atomic_load(&c->done));
	progress_end(&progress);
	return atomic_load(&c->error);
}

/* Fills the new file under its temporary name, and names it when it is whole. */
static int convert_into(const struct tool_options *o, struct vhd_image *from, const char *path,
			const char *temporary)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct copy copy = { .from = from, .writing = PTHREAD_MUTEX_INITIALIZER };
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_create_options c;
	struct vhd_error err;
	uint8_t id[16];
	int64_t time;
	int ret = vhd_get_info(from, &info);

	if (!create_options(o, &c, id, &time))
		return TOOL_FAILED;
	c.virtual_size = copy.size = info.virtual_size;
	if (c.type == VHD_TYPE_FIXED && !o->has_type)
		c.flags |= VHD_CREATE_SPARSE;
	if (ret || vhd_create(temporary, &c, &err))
		return tool_fail("%s", ret ? strerror(-ret) : err.text);
	options.format = c.format;
	if (vhd_open(temporary, &options, &copy.to, &err))
		return tool_fail("%s", err.text);
	ret = copy_run(&copy, o);
	if (vhd_close(copy.to) && !ret)
		ret = -EIO;
	if (ret)
		return tool_fail("cannot write %s: %s", path, strerror(-ret));
	if (o->force ? rename(temporary, path) : link(temporary, path) || unlink(temporary))
		return tool_fail("cannot name %s: %s", path, strerror(errno));
	return TOOL_OK;
}

int tool_convert(const struct tool_options *o, char **arguments)
{
	struct vhd_image *from;
	char *temporary;
	uint32_t random = 0;
	int ret;

	if (!o->force && access(arguments[1], F_OK) == 0)
		return tool_fail("%s exists; --force replaces it", arguments[1]);
	if (o->type == VHD_TYPE_DIFFERENCING && o->has_type)
		return tool_fail("a differencing image is made by create --parent");
	from = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY);
	if (!from)
		return TOOL_FAILED;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random) ||
	    asprintf(&temporary, "%s.%08x.part", arguments[1], random) < 0)
		abort();
	unfinished = temporary;
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	ret = convert_into(o, from, arguments[1], temporary);
	if (ret)
		unlink(temporary);
	unfinished = NULL;
	free(temporary);
	vhd_close(from);
	return ret;
}

/* -- compare ---------------------------------------------------------------------- */

struct comparison {
	struct vhd_image *image[2];
	uint64_t size[2];
	char *buf[2];
};

static int compare_read(const struct comparison *c, int which, uint64_t offset, uint64_t length)
{
	uint64_t have = offset < c->size[which] ? c->size[which] - offset : 0;

	if (have < length)
		memset(c->buf[which] + have, 0, length - have);
	return vhd_pread(c->image[which], c->buf[which], have < length ? have : length, offset);
}

/* Both zero by what the images say; nothing to read. */
static bool compare_skip(const struct comparison *c, uint64_t offset, uint64_t *length)
{
	struct vhd_extent e;

	for (int i = 0; i < 2; i++) {
		uint64_t have = offset < c->size[i] ? c->size[i] - offset : 0;

		if (have == 0)
			continue;
		if (vhd_get_extent(c->image[i], offset, have < *length ? have : *length, &e) ||
		    e.data)
			return false;
		if (e.length < have)
			*length = e.length;
	}
	return true;
}

static int compare_run(const struct comparison *c, const struct tool_options *o)
{
	uint64_t size = c->size[0] > c->size[1] ? c->size[0] : c->size[1];
	struct progress progress;
	uint64_t length;

	progress_begin(&progress, "compare", size, o);
	for (uint64_t at = 0; at < size; at += length) {
		length = size - at;
		if (compare_skip(c, at, &length))
			continue;
		if (length > CHUNK)
			length = CHUNK;
		for (int i = 0; i < 2; i++) {
			int ret = compare_read(c, i, at, length);

			if (ret)
				return tool_fail("%s: %s", vhd_get_path(c->image[i], 0),
						 strerror(-ret));
		}
		for (uint64_t k = 0; memcmp(c->buf[0], c->buf[1], length) != 0 && k < length; k++) {
			if (c->buf[0][k] == c->buf[1][k])
				continue;
			progress_end(&progress);
			printf("different at %" PRIu64 "\n", at + k);
			return TOOL_FOUND;
		}
		progress_show(&progress, at);
	}
	progress_end(&progress);
	printf("%s\n", c->size[0] == c->size[1] ? "identical" :
						  "identical, but for zeros at the end of one");
	return TOOL_OK;
}

int tool_compare(const struct tool_options *o, char **arguments)
{
	struct comparison c = { .size = { 0, 0 } };
	struct tool_options second = *o;
	int ret = TOOL_FAILED;

	second.backing = NULL;
	c.image[0] = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY);
	c.image[1] = tool_open(&second, arguments[1], o->second_format, VHD_OPEN_READ_ONLY);
	for (int i = 0; i < 2; i++) {
		struct vhd_info info = VHD_INFO_INIT;

		c.buf[i] = malloc(CHUNK);
		if (c.image[i] && vhd_get_info(c.image[i], &info) == 0)
			c.size[i] = info.virtual_size;
	}
	if (c.image[0] && c.image[1] && c.buf[0] && c.buf[1])
		ret = compare_run(&c, o);
	for (int i = 0; i < 2; i++) {
		free(c.buf[i]);
		vhd_close(c.image[i]);
	}
	return ret;
}
