/* SPDX-License-Identifier: MIT */
#ifndef MINIVMM_ATTACH_H
#define MINIVMM_ATTACH_H

#include <semaphore.h>

#include <vmbus/kvm.h>
#include <vsp/net.h>
#include <vsp/storage.h>

#include "vm.h"

struct worker {
	pthread_t thread;
	struct vmbus_loop *loop;
	sem_t ready;
};

struct attach {
	struct vmbus_kvm *bus;
	struct vmbus_watch dispatch;
	struct vsp_storage *scsi;
	struct nic {
		const char *tap;
		struct vsp_net *net;
	} nics[MAX_NICS];
	unsigned int nic_count;
	unsigned int ides;
	unsigned int workers, next_worker;
	struct worker worker[];
};

/* The loop of the calling worker, for the devices it serves. */
struct vmbus_loop *attach_loop_of(void *opaque, struct vmbus_channel *channel);

#endif
