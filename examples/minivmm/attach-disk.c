/* SPDX-License-Identifier: MIT */
/* Disks for the guest: controllers on the bus, images on them. */
#include <errno.h>
#include <stdio.h>

#include "attach.h"

/* An IDE disk is a controller of its own; all others share one SCSI controller. */
static int controller_new(struct vm *vm, const struct disk_option *option, struct vsp_storage **out)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	struct attach *attach = vm->attach;
	int err;

	config.server = vmbus_kvm_server(attach->bus);
	config.loop_of = attach_loop_of;
	config.ide = option->ide;
	if (option->ide) {
		config.ide_channel = (uint8_t)(attach->ides / 2);
		config.ide_device = (uint8_t)(attach->ides++ % 2);
	} else {
		config.max_sub_channels = (uint16_t)(vm->cpus - 1);
	}
	vmbus_kvm_lock(attach->bus);
	err = vsp_storage_new(&config, out);
	vmbus_kvm_unlock(attach->bus);
	return err;
}

int attach_add_disk(struct vm *vm, const struct disk_option *option)
{
	struct vsp_disk_options options = VSP_DISK_OPTIONS_INIT;
	struct attach *attach = vm->attach;
	struct vsp_storage *storage = option->ide ? NULL : attach->scsi;
	struct vsp_disk *disk;
	struct vmbus_error why;
	int err;

	options.read_only = option->readonly;
	if (option->format)
		options.format = option->format;
	err = vsp_disk_open(option->path, &options, &disk, &why);
	if (err) {
		fprintf(stderr, "minivmm: %s\n", why.text);
		return err;
	}
	if (!storage)
		err = controller_new(vm, option, &storage);
	if (!err && !option->ide)
		attach->scsi = storage;
	if (!err) {
		vmbus_kvm_lock(attach->bus);
		err = vsp_storage_add_disk(storage, option->lun, disk);
		vmbus_kvm_unlock(attach->bus);
	}
	vsp_disk_unref(disk);
	return err;
}

int attach_remove_disk(struct vm *vm, uint8_t lun)
{
	int err;

	if (!vm->attach->scsi)
		return -ENOENT;
	vmbus_kvm_lock(vm->attach->bus);
	err = vsp_storage_remove_disk(vm->attach->scsi, lun);
	vmbus_kvm_unlock(vm->attach->bus);
	return err;
}
