/* SPDX-License-Identifier: MIT */
/* vhdtool convert: threads take chunk after chunk of what the disk holds; each reads its
 * chunk and writes what of it is not zero, so as many requests are in flight as there
 * are threads. Pieces are small: what was read is still in the CPU's cache when it is
 * looked through and written. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alike.h"
#include "vhdtool-output.h"

enum { CHUNK = 2 << 20, PIECE = 256 << 10, GRAIN = 32 << 10, THREADS_MAX = 64 };

struct copy {
	struct vhd_image *from, *to;
	uint64_t size;
	_Atomic uint64_t done;
	_Atomic int read_error, write_error;
	/* The run of data that chunks are being taken of: where holes are is asked
	 * once a run, since the file system may have to look far for the end of one. */
	pthread_mutex_t taking;
	uint64_t next, run_end;
	/* The kernel lets one writer into a file at a time; waiting for it there
	 * costs more than all the rest on some file systems. */
	pthread_mutex_t writing;
};

static int piece_write(struct copy *c, const char *buf, size_t length, uint64_t offset)
{
	int ret;

	pthread_mutex_lock(&c->writing);
	ret = vhd_pwrite(c->to, buf, length, offset);
	pthread_mutex_unlock(&c->writing);
	return ret;
}

/* Writes the runs of grains that are not zero. */
static int write_sparse(struct copy *c, const char *buf, size_t length, uint64_t offset)
{
	size_t start = 0;
	int ret = 0;

	for (size_t at = 0; !ret && at < length;) {
		size_t n = length - at < GRAIN ? length - at : GRAIN;
		bool zero = bytes_are(buf + at, n, 0);

		if (zero && at > start)
			ret = piece_write(c, buf + start, at - start, offset + start);
		at += n;
		if (zero)
			start = at;
	}
	if (!ret && length > start)
		ret = piece_write(c, buf + start, length - start, offset + start);
	return ret;
}

static void fail_once(_Atomic int *error, int ret)
{
	int none = 0;

	if (ret)
		atomic_compare_exchange_strong(error, &none, ret);
}

static bool copy_failed(const struct copy *c)
{
	return atomic_load(&c->read_error) || atomic_load(&c->write_error);
}

/* Finds the next run of data, if the last one is used up. False: there is none. */
static bool run_find(struct copy *c)
{
	struct vhd_extent e;

	while (c->next == c->run_end) {
		int ret = 0;

		if (c->next < c->size)
			ret = vhd_get_extent(c->from, c->next, c->size - c->next, &e);
		fail_once(&c->read_error, ret);
		if (ret || c->next == c->size)
			return false;
		c->run_end += e.length;
		if (!e.data) {
			c->next = c->run_end;
			atomic_fetch_add(&c->done, e.length);
		}
	}
	return true;
}

static bool chunk_take(struct copy *c, uint64_t *offset, uint64_t *length)
{
	bool found;

	pthread_mutex_lock(&c->taking);
	found = !copy_failed(c) && run_find(c);
	if (found) {
		*offset = c->next;
		*length = c->run_end - c->next < CHUNK ? c->run_end - c->next : CHUNK;
		c->next += *length;
	}
	pthread_mutex_unlock(&c->taking);
	return found;
}

static void chunk_copy(struct copy *c, char *buf, uint64_t offset, uint64_t length)
{
	for (uint64_t n; length > 0 && !copy_failed(c); offset += n, length -= n) {
		int ret;

		n = length < PIECE ? length : PIECE;
		ret = vhd_pread(c->from, buf, n, offset);
		fail_once(&c->read_error, ret);
		if (!ret)
			fail_once(&c->write_error, write_sparse(c, buf, n, offset));
		atomic_fetch_add(&c->done, n);
	}
}

static void *copy_thread(void *opaque)
{
	struct copy *c = opaque;
	uint64_t offset, length;
	char *buf = NULL;

	if (posix_memalign((void **)&buf, 4096, PIECE))
		fail_once(&c->read_error, -ENOMEM);
	while (chunk_take(c, &offset, &length))
		chunk_copy(c, buf, offset, length);
	free(buf);
	return NULL;
}

static int thread_count(const struct tool_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->threads)
		return o->threads;
	return cpus < 2 ? 2 : cpus > 8 ? 8 : (int)cpus;
}

static void copy_run(struct copy *c, const struct tool_options *o)
{
	pthread_t thread[THREADS_MAX];
	struct progress progress;
	int started = 0;

	progress_begin(&progress, "convert", c->size, o);
	while (started < thread_count(o) &&
	       pthread_create(&thread[started], NULL, copy_thread, c) == 0)
		started++;
	if (started == 0)
		copy_thread(c);
	while ((progress.bar || progress.fd >= 0) && !copy_failed(c) &&
	       atomic_load(&c->done) < c->size) {
		progress_show(&progress, atomic_load(&c->done));
		usleep(50000);
	}
	for (int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	progress_show(&progress, atomic_load(&c->done));
	progress_end(&progress);
}

static int fail_io(const char *what, const char *path, int error)
{
	struct vhd_error err = { .code = error };

	snprintf(err.text, sizeof(err.text), "cannot %s %s: %s", what, path, strerror(-error));
	return tool_fail_error(&err);
}

/* Fills the new file under its temporary name. */
static int convert_into(const struct tool_options *o, struct vhd_image *from,
			const struct output *out, const struct vhd_create_options *create)
{
	struct copy copy = {
		.from = from,
		.taking = PTHREAD_MUTEX_INITIALIZER,
		.writing = PTHREAD_MUTEX_INITIALIZER,
	};
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err;
	int ret;

	if (vhd_create(out->temporary, create, &err))
		return tool_fail_error(&err);
	options.format = create->format;
	if (vhd_open(out->temporary, &options, &copy.to, &err))
		return tool_fail_error(&err);
	copy.size = create->virtual_size;
	copy_run(&copy, o);
	ret = vhd_close(copy.to);
	fail_once(&copy.write_error, ret);
	if (copy.read_error)
		return fail_io("read", vhd_get_path(from, 0), copy.read_error);
	return copy.write_error ? fail_io("write", out->path, copy.write_error) : TOOL_OK;
}

static int convert_check(const struct tool_options *o, char **arguments)
{
	if (o->has_type && o->type == VHD_TYPE_DIFFERENCING)
		return tool_usage("a differencing image is made by vhdtool create --parent");
	if (o->threads > THREADS_MAX)
		return tool_usage("at most %d threads", THREADS_MAX);
	if (!o->force && access(arguments[1], F_OK) == 0)
		return tool_fail("%s exists; --force replaces it", arguments[1]);
	return TOOL_OK;
}

/* What the new image has from the old one. A guest finds its partitions by the size of sectors. */
static void convert_options(const struct tool_options *o, const struct vhd_info *info,
			    struct vhd_create_options *create)
{
	create->virtual_size = info->virtual_size;
	if (!o->has_type)
		create->flags |= VHD_CREATE_SPARSE;
	if (info->format != VHD_FORMAT_VHDX)
		return;
	if (create->format == VHD_FORMAT_VHDX) {
		create->logical_sector_size = info->logical_sector_size;
		create->physical_sector_size = info->physical_sector_size;
	} else if (info->logical_sector_size != 512) {
		tool_warn(NULL, "its sectors were larger than 512 bytes: partitions may not be "
				"found in the new image");
	}
}

int tool_convert(const struct tool_options *o, char **arguments)
{
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_create_options create;
	struct vhd_image *from;
	struct output out;
	int ret = convert_check(o, arguments);

	if (!ret)
		ret = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY, &from);
	if (ret)
		return ret;
	create_options(o, arguments[1], VHD_FORMAT_VHD, &create);
	ret = vhd_get_info(from, &info) ? tool_fail("%s: cannot be examined", arguments[0]) :
					  TOOL_OK;
	if (!ret)
		ret = output_begin(&out, arguments[1], o->force, from);
	if (!ret) {
		convert_options(o, &info, &create);
		ret = convert_into(o, from, &out, &create);
		if (!ret)
			ret = output_publish(&out);
		output_end(&out);
	}
	vhd_close(from);
	return ret ? ret : tool_report(o, arguments[1], create.format);
}
