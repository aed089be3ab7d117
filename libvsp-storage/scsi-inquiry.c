/* SPDX-License-Identifier: MIT */
/* INQUIRY: standard data and vital product data (SPC-4 6.6, 7.8; SBC-3 6.6), as guests
 * know it from Hyper-V: Linux keys behaviour on the vendor "Msft". */
#include <string.h>

#include <vmbus/guid.h>

#include "scsi.h"

#define STANDARD_LEN 104u

static const char vendor[] = "Msft    ";
static const char product[] = "Virtual Disk    ";
static const char revision[] = "1.0 ";

static void standard_fill(uint8_t *data)
{
	memset(data, 0, STANDARD_LEN);
	data[2] = 0x05; /* SPC-3, as Hyper-V since 2012 R2 */
	data[3] = 0x02; /* response data format */
	data[4] = STANDARD_LEN - 5;
	data[7] = 0x02; /* CMDQUE */
	memcpy(data + 8, vendor, 8);
	memcpy(data + 16, product, 16);
	memcpy(data + 32, revision, 4);
	/* version descriptors: without SBC-3 a 64-byte VPD B0 would be wrong */
	scsi_put16(data + 58, 0x00a0); /* SAM-5 */
	scsi_put16(data + 60, 0x0300); /* SPC-3 */
	scsi_put16(data + 62, 0x04c0); /* SBC-3 */
}

/* The disk's GUID as hexadecimal digits: the serial number. */
static uint32_t vpd_serial(const struct vsp_block_info *disk, uint8_t *page)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned int i = 0; i < 16; i++) {
		page[4 + 2 * i] = (uint8_t)digits[disk->id[i] >> 4];
		page[5 + 2 * i] = (uint8_t)digits[disk->id[i] & 15];
	}
	return 32;
}

/* A T10 vendor descriptor, and the NAA descriptor that Linux shows as the WWID. */
static uint32_t vpd_identification(const struct vsp_block_info *disk, uint8_t *page)
{
	static const uint8_t t10[4] = {0x01, 0x01, 0x00, 0x18};
	static const uint8_t naa[8] = {0x01, 0x03, 0x00, 0x10, 0x60, 0x02, 0x24, 0x80};
	uint8_t *p = page + 4;

	memcpy(p, t10, 4);
	memcpy(p + 4, vendor, 8);
	memcpy(p + 12, disk->id, 16);
	memcpy(p + 28, naa, 8);
	memcpy(p + 36, disk->id, 6);
	memcpy(p + 42, disk->id + 10, 6);
	return 48;
}

static uint32_t vpd_block_limits(const struct vsp_block_info *disk, uint8_t *page)
{
	uint32_t granularity = disk->unmap_granularity / disk->logical_sector;

	scsi_put16(page + 6, disk->physical_sector / disk->logical_sector);
	scsi_put64(page + 36, SCSI_WRITE_SAME_MAX / disk->logical_sector);
	if (disk->can_unmap) {
		scsi_put32(page + 20, UINT32_MAX); /* no limit but the list's */
		scsi_put32(page + 24, SCSI_UNMAP_DESCRIPTORS);
		scsi_put32(page + 28, granularity ? granularity : 1);
		scsi_put32(page + 32, 0x80000000); /* aligned at 0 */
	}
	return 60;
}

static uint32_t vpd_characteristics(const struct vsp_block_info *disk, uint8_t *page)
{
	(void)disk;
	scsi_put16(page + 4, 1); /* does not rotate */
	return 60;
}

static uint32_t vpd_provisioning(const struct vsp_block_info *disk, uint8_t *page)
{
	uint8_t exponent = 1;

	while (scsi_blocks(disk) >> exponent > UINT32_MAX)
		exponent++;
	page[4] = exponent;
	if (disk->can_unmap) {
		/* LBPU, LBPWS, LBPWS10, LBPRZ; thin */
		page[5] = (uint8_t)(0xe0 | (disk->unmap_zeroes ? 0x04 : 0));
		page[6] = 0x02;
	}
	return 4;
}

/* Microsoft's own: where a paging file may lie, and that this is a virtual disk. */
static uint32_t vpd_paging_extent(const struct vsp_block_info *disk, uint8_t *page)
{
	(void)disk;
	page[4] = page[5] = 1;
	return 4;
}

static uint32_t vpd_virtual_device(const struct vsp_block_info *disk, uint8_t *page)
{
	static const struct vmbus_guid signature = VMBUS_GUID(
	    0x89a98f15, 0xc928, 0x4d8b, 0x94, 0xcd, 0xef, 0x51, 0xfa, 0xa9, 0x9d, 0x33);

	page[4] = 1;
	page[5] = disk->can_unmap && disk->unmap_zeroes;
	memcpy(page + 8, signature.b, sizeof(signature.b));
	return 20;
}

static uint32_t vpd_list(const struct vsp_block_info *disk, uint8_t *page);

static const struct {
	uint8_t code;
	/* fills what follows the page's header; returns its length */
	uint32_t (*fill)(const struct vsp_block_info *disk, uint8_t *page);
} pages[] = {
	{0x00, vpd_list},           {0x80, vpd_serial},
	{0x83, vpd_identification}, {0xb0, vpd_block_limits},
	{0xb1, vpd_characteristics}, {0xb2, vpd_provisioning},
	{0xce, vpd_paging_extent},  {0xcf, vpd_virtual_device},
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

static uint32_t vpd_list(const struct vsp_block_info *disk, uint8_t *page)
{
	(void)disk;
	for (unsigned int i = 0; i < PAGES; i++)
		page[4 + i] = pages[i].code;
	return PAGES;
}

static enum scsi_step page_answer(struct scsi_command *cmd)
{
	uint32_t allocation = scsi_get16(cmd->cdb + 3), len;

	for (unsigned int i = 0; i < PAGES; i++) {
		if (pages[i].code != cmd->cdb[2])
			continue;
		memset(cmd->data, 0, 128);
		cmd->data[1] = cmd->cdb[2];
		len = pages[i].fill(cmd->disk, cmd->data);
		scsi_put16(cmd->data + 2, len);
		return vsp_scsi_data(cmd, 4 + len, allocation);
	}
	return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
}

enum scsi_step vsp_scsi_inquiry(struct scsi_command *cmd)
{
	if (cmd->cdb[1] & 0x02) /* CMDDT is obsolete */
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (cmd->cdb[1] & 0x01)
		return page_answer(cmd);
	if (cmd->cdb[2] != 0)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	standard_fill(cmd->data);
	return vsp_scsi_data(cmd, STANDARD_LEN, scsi_get16(cmd->cdb + 3));
}

/* Never a failure: Linux takes a failed INQUIRY for an all-zero successful one, a disk. */
enum scsi_step vsp_scsi_inquiry_absent(struct scsi_command *cmd, uint8_t lun)
{
	cmd->status = SCSI_GOOD;
	cmd->sense = SCSI_SENSE_NONE;
	if ((cmd->cdb[1] & 0x03) || cmd->cdb[2] != 0)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	standard_fill(cmd->data);
	cmd->data[0] = 0x7f; /* no device can be here */
	if (lun != 0)
		memset(cmd->data + 8, 0, 28);
	return vsp_scsi_data(cmd, STANDARD_LEN, scsi_get16(cmd->cdb + 3));
}
