/* SPDX-License-Identifier: MIT */
/* vhdtool check. */
#include <inttypes.h>

#include <vhd/maintain.h>

#include "json.h"
#include "vhdtool-task.h"

enum { SHOWN_MAX = 50 };

struct findings {
	struct json json;
	bool as_json;
	uint64_t count;
};

static void found(void *opaque, enum vhd_finding finding, const char *text)
{
	struct findings *f = opaque;

	if (f->as_json) {
		json_object(&f->json, NULL);
		json_string(&f->json, "kind", vhd_finding_name(finding));
		json_string(&f->json, "text", text);
		json_object_end(&f->json);
	} else if (f->count < SHOWN_MAX) {
		fprintf(stderr, "%s: %s\n", vhd_finding_name(finding), text);
	} else if (f->count == SHOWN_MAX) {
		fprintf(stderr, "and more; --json lists them\n");
	}
	f->count++;
}

static void summary_json(struct findings *f, const struct vhd_check *check)
{
	for (int i = 0; i <= VHD_FINDING_DAMAGE; i++)
		json_uint(&f->json, vhd_finding_name((enum vhd_finding)i), check->count[i]);
	json_uint(&f->json, "data", check->data_bytes);
	json_uint(&f->json, "leaked", check->leaked_bytes);
	json_bool(&f->json, "repaired", check->repaired);
}

static bool repairable(const struct vhd_check *check)
{
	return check->count[VHD_FINDING_LEAK] + check->count[VHD_FINDING_STALE] > 0;
}

static void summary_text(const struct tool_options *o, const char *path,
			 const struct vhd_check *check)
{
	char size[32];

	if (check->count[VHD_FINDING_DAMAGE])
		printf("%s: damaged, %" PRIu64 " faults%s\n", path,
		       check->count[VHD_FINDING_DAMAGE],
		       o->repair ? "; nothing was repaired" : "");
	else if (!o->quiet)
		printf("%s: %s, %s of data\n", path,
		       check->repaired	   ? "repaired" :
		       repairable(check)   ? "usable; check --repair puts it right" :
					     "good",
		       tool_size_text(check->data_bytes, size, sizeof(size)));
}

int tool_check(const struct tool_options *o, char **arguments)
{
	struct findings f = { .json = json_to(stdout), .as_json = o->json };
	struct vhd_check check = VHD_CHECK_INIT;
	struct vhd_error err = { 0, "" };
	struct task task;
	int ret;

	check.flags = o->repair ? VHD_CHECK_REPAIR : 0;
	check.found = found;
	check.opaque = &f;
	if (o->json) {
		json_object(&f.json, NULL);
		json_string(&f.json, "path", arguments[0]);
		json_array(&f.json, "findings");
	}
	task_begin(&task, "check", o);
	ret = vhd_check(arguments[0], &task.task, &check, &err);
	task_end(&task);
	if (o->json) {
		json_array_end(&f.json);
		summary_json(&f, &check);
		if (ret)
			json_string(&f.json, "error", err.text);
		json_object_end(&f.json);
	} else if (!ret) {
		summary_text(o, arguments[0], &check);
	}
	if (ret)
		return tool_fail_error(&err);
	if (check.count[VHD_FINDING_DAMAGE])
		return TOOL_FOUND;
	return repairable(&check) && !check.repaired ? TOOL_WARNED : TOOL_OK;
}
