/* SPDX-License-Identifier: MIT */
/* The guest's commands. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "loopback.h"

static const char *interface_name(struct vmbus_guid guid)
{
	static const struct {
		struct vmbus_guid guid;
		const char *name;
	} names[] = {
		{VMBUS_GUID_SCSI, "SCSI controller"},
		{VMBUS_GUID_IDE, "IDE disk"},
		{VMBUS_GUID_NET, "network card"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (vmbus_guid_equal(names[i].guid, guid))
			return names[i].name;
	return "unknown device";
}

static void offer_print(const struct vmbus_msg_offer *offer, struct json *j)
{
	char interface[VMBUS_GUID_STRING_SIZE], instance[VMBUS_GUID_STRING_SIZE];
	const char *name = interface_name(offer->interface_id);

	vmbus_guid_format(offer->interface_id, interface);
	vmbus_guid_format(offer->instance_id, instance);
	if (!j) {
		printf("%7" PRIu32 "  %-16s %s  %10u  %#10" PRIx32 "\n", offer->channel_id, name, instance,
		       offer->subchannel_index, offer->connection_id);
		return;
	}
	json_object(j, NULL);
	json_uint(j, "channel", offer->channel_id);
	json_string(j, "device", name);
	json_string(j, "interface", interface);
	json_string(j, "instance", instance);
	json_uint(j, "subchannel", offer->subchannel_index);
	json_uint(j, "connection", offer->connection_id);
	json_uint(j, "flags", offer->flags);
	json_object_end(j);
}

static int command_offers(struct session *s, const struct loopback_options *options)
{
	struct json j = json_to(stdout), *json = options->json ? &j : NULL;
	struct vmbus_guest_channel *channel = NULL;

	if (json) {
		json_object(json, NULL);
		json_uint(json, "version_major", s->version >> 16);
		json_uint(json, "version_minor", s->version & 0xffff);
		json_array(json, "offers");
	} else {
		printf("VMBus %" PRIu32 ".%" PRIu32 "\n", s->version >> 16, s->version & 0xffff);
		printf("channel  device           instance                              "
		       "subchannel  connection\n");
	}
	while ((channel = session_next(s, channel)))
		offer_print(&channel->offer, json);
	if (json) {
		json_array_end(json);
		json_object_end(json);
	}
	return LOOPBACK_OK;
}

static void disk_print(const struct session_disk *d, struct json *j)
{
	uint64_t bytes = d->blocks * d->block_size;

	if (!j) {
		printf("%3u  %15" PRIu64 "  %6" PRIu32 "/%-6" PRIu32 "  %-10s  %-8s %-16s  %s\n", d->lun,
		       bytes, d->block_size, d->physical_size, d->read_only ? "read-only" : "read-write",
		       d->vendor, d->product, d->serial);
		return;
	}
	json_object(j, NULL);
	json_uint(j, "lun", d->lun);
	json_uint(j, "bytes", bytes);
	json_uint(j, "logical_sector", d->block_size);
	json_uint(j, "physical_sector", d->physical_size);
	json_bool(j, "read_only", d->read_only);
	json_bool(j, "thin", d->thin);
	json_string(j, "vendor", d->vendor);
	json_string(j, "product", d->product);
	json_string(j, "serial", d->serial);
	json_object_end(j);
}

static int command_disks(struct session *s, const struct loopback_options *options)
{
	struct json j = json_to(stdout), *json = options->json ? &j : NULL;
	uint8_t luns[256];
	int n = session_luns(s, luns), ret = LOOPBACK_OK;

	if (n < 0)
		return s->error;
	if (json)
		json_array(json, NULL);
	else
		printf("LUN            bytes  sector/phys.   access      vendor   product           "
		       "serial\n");
	for (int i = 0; i < n && !ret; i++) {
		struct session_disk disk;

		ret = session_disk_get(s, luns[i], &disk);
		if (!ret)
			disk_print(&disk, json);
	}
	if (json)
		json_array_end(json);
	return ret;
}

static int command_flush(struct session *s, const struct session_disk *disk,
			 const struct loopback_options *options)
{
	struct vsp_storvsc_request r = {.lun = disk->lun, .cdb_len = 10, .cdb = {0x35},
					.direction = VSP_SRB_NONE};

	(void)options;
	return session_execute(s, &r, "SYNCHRONIZE CACHE");
}

static const struct command {
	const char *name;
	int (*on_bus)(struct session *s, const struct loopback_options *options);
	int (*on_disk)(struct session *s, const struct session_disk *disk,
		       const struct loopback_options *options);
	bool scsi; /* needs the controller */
	uint32_t memory_mib; /* of the guest; what is not touched costs nothing */
} commands[] = {
	{"offers", command_offers, NULL, false, 128},
	{"disks", command_disks, NULL, true, 128},
	{"read", NULL, loopback_read, true, 128},
	{"write", NULL, loopback_write, true, 128},
	{"flush", NULL, command_flush, true, 128},
	{"bench", NULL, loopback_bench, true, 128},
	{"nic", loopback_bridge, NULL, false, 1024},
};

static int command_run(struct session *s, const struct loopback_options *options,
		       const struct command *c)
{
	struct session_disk disk;
	int ret = c->scsi ? session_open_scsi(s) : LOOPBACK_OK;

	if (ret)
		return ret;
	if (c->on_bus)
		return c->on_bus(s, options);
	ret = session_disk_get(s, (uint8_t)options->lun, &disk);
	return ret ? ret : c->on_disk(s, &disk, options);
}

/* What the command needs, before anybody is bothered. */
static int command_check(const struct command *c, const struct loopback_options *options)
{
	struct loopback_tap tap = {.host = false};
	int ret;

	if (c->on_disk && options->lun < 0)
		return loopback_fail(LOOPBACK_USAGE, "%s needs --lun N; 'disks' lists them", c->name);
	if (c->on_disk == loopback_bench)
		return loopback_bench_check(options);
	if (c->on_bus != loopback_bridge)
		return LOOPBACK_OK;
	if (!options->tap)
		return loopback_fail(LOOPBACK_USAGE, "nic needs --tap IF");
	ret = loopback_tap_parse("--tap", options->tap, &tap);
	free(tap.text);
	return ret;
}

int loopback_guest(const struct loopback_options *options, const char *name)
{
	const struct command *c;
	struct session *s;
	int ret;

	for (c = commands; strcmp(c->name, name) != 0; c++) /* it was checked */
		;
	ret = command_check(c, options);
	if (ret)
		return ret;
	s = calloc(1, sizeof(*s));
	if (!s)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	ret = session_start(s, options, (uint64_t)c->memory_mib << 20);
	if (!ret)
		ret = command_run(s, options, c);
	if (c->scsi)
		session_close_scsi(s);
	if (s->shm)
		session_end(s);
	if (!ret)
		ret = s->error;
	free(s);
	return ret;
}
