/* SPDX-License-Identifier: MIT */
/* vhdtool resize, compact, merge and rebase. SIGINT may end any of them: the image is good at
 * every moment. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "vhdtool-task.h"

static int task_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct task *t = opaque;

	if (t->progress.total != total)
		progress_begin(&t->progress, t->what, total, t->options);
	progress_show(&t->progress, done);
	return 0;
}

void task_begin(struct task *t, const char *what, const struct tool_options *o)
{
	*t = (struct task){
		.task = VHD_TASK_INIT, .open = VHD_OPEN_OPTIONS_INIT, .options = o, .what = what
	};
	t->open.format = o->format;
	t->open.flags = o->any_parent ? VHD_OPEN_ANY_PARENT : 0;
	t->open.parent = o->backing;
	t->open.warn = tool_warn;
	t->task.open = &t->open;
	t->task.progress = task_progress;
	t->task.opaque = t;
}

void task_end(struct task *t)
{
	progress_end(&t->progress);
}

static void compact_report(const struct tool_options *o, const char *path,
			   const struct vhd_compact_result *r)
{
	char before[32], after[32];
	struct json j = json_to(stdout);

	if (o->json) {
		json_object(&j, NULL);
		json_string(&j, "path", path);
		json_uint(&j, "file-size-before", r->file_size_before);
		json_uint(&j, "file-size", r->file_size_after);
		json_uint(&j, "blocks-freed", r->blocks_freed);
		json_uint(&j, "blocks-moved", r->blocks_moved);
		json_object_end(&j);
	} else if (!o->quiet) {
		printf("%s: %s, was %s; %" PRIu64 " blocks freed, %" PRIu64 " moved\n", path,
		       tool_size_text(r->file_size_after, after, sizeof(after)),
		       tool_size_text(r->file_size_before, before, sizeof(before)),
		       r->blocks_freed, r->blocks_moved);
	}
}

int tool_compact(const struct tool_options *o, char **arguments)
{
	struct vhd_compact_result result = VHD_COMPACT_RESULT_INIT;
	struct vhd_error err;
	struct task task;
	int ret;

	task_begin(&task, "compact", o);
	ret = vhd_compact(arguments[0], &task.task, &result, &err);
	task_end(&task);
	if (ret)
		return tool_fail_error(&err);
	compact_report(o, arguments[0], &result);
	return TOOL_OK;
}

/* The parent by the child's own words, before the child may be gone. */
static int merge_parent(const struct tool_options *o, const char *path, char *parent, size_t size)
{
	struct vhd_image *image;
	int ret = tool_open(o, path, o->format, VHD_OPEN_READ_ONLY, &image);

	if (ret)
		return ret;
	snprintf(parent, size, "%s", vhd_get_path(image, 1) ? vhd_get_path(image, 1) : path);
	vhd_close(image);
	return TOOL_OK;
}

int tool_merge(const struct tool_options *o, char **arguments)
{
	char parent[4096];
	struct vhd_error err;
	struct task task;
	int ret = merge_parent(o, arguments[0], parent, sizeof(parent));

	if (ret)
		return ret;
	task_begin(&task, "merge", o);
	ret = vhd_merge(arguments[0], &task.task, &err);
	task_end(&task);
	if (ret)
		return tool_fail_error(&err);
	if (o->remove && unlink(arguments[0]) < 0)
		return tool_fail("%s: is merged, but cannot be deleted: %m", arguments[0]);
	return tool_report(o, parent, VHD_FORMAT_AUTO);
}

int tool_rebase(const struct tool_options *o, char **arguments)
{
	struct vhd_error err;
	struct task task;
	int ret;

	task_begin(&task, "rebase", o);
	ret = vhd_rebase(arguments[0], arguments[1], o->unsafe ? VHD_REBASE_UNSAFE : 0,
			 &task.task, &err);
	task_end(&task);
	return ret ? tool_fail_error(&err) : tool_report(o, arguments[0], o->format);
}

/* "40G", or "+10G" and "-10G" by what there is. */
static bool new_size(const char *text, uint64_t now, uint64_t *size)
{
	bool more = *text == '+', less = *text == '-';

	if (!tool_parse_size(text + (more || less), size))
		return false;
	if (less && *size >= now)
		return false;
	*size = more ? now + *size : less ? now - *size : *size;
	return true;
}

static int image_resize(const struct tool_options *o, struct vhd_image *image, const char *text)
{
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_error err;
	uint64_t size;

	if (vhd_get_info(image, &info))
		return tool_fail("%s: cannot be examined", vhd_get_path(image, 0));
	if (!new_size(text, info.virtual_size, &size))
		return tool_usage("\"%s\" is not a size; sizes are like 40M, 1.5T, +10G, -10G",
				  text);
	if (size < info.virtual_size && !o->shrink)
		return tool_fail("that is smaller: what is behind would be lost; --shrink says "
				 "that this is meant");
	return vhd_resize(image, size, o->shrink ? VHD_RESIZE_SHRINK : 0, &err) ?
		       tool_fail_error(&err) :
		       TOOL_OK;
}

int tool_resize(const struct tool_options *o, char **arguments)
{
	struct vhd_image *image;
	int closed, ret = tool_open(o, arguments[0], o->format, 0, &image);

	if (ret)
		return ret;
	ret = image_resize(o, image, arguments[1]);
	closed = vhd_close(image);
	if (!ret && closed)
		ret = tool_fail("%s: cannot be closed: %s", arguments[0], strerror(-closed));
	return ret ? ret : tool_report(o, arguments[0], o->format);
}
