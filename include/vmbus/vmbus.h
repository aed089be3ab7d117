/* SPDX-License-Identifier: MIT */
/* All of libvmbus. */
#ifndef VMBUS_VMBUS_H
#define VMBUS_VMBUS_H

#include <vmbus/channel.h>
#include <vmbus/cursor.h>
#include <vmbus/fault.h>
#include <vmbus/guest.h>
#include <vmbus/guid.h>
#include <vmbus/loop.h>
#include <vmbus/memory.h>
#include <vmbus/ring.h>
#include <vmbus/server.h>
#include <vmbus/synic.h>
#include <vmbus/version.h>
#include <vmbus/wire.h>

#endif
