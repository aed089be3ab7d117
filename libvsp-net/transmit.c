/* SPDX-License-Identifier: MIT */
/* Frames of the guest: from send sections and page lists to the nic, without a copy but of
 * their first bytes, which are looked at and must not change afterwards. */
#include <string.h>

#include "net-priv.h"

static bool gather_add(struct net_gather *g, struct vmbus_span part)
{
	if (part.len > NET_TX_TOTAL || g->total + part.len > NET_TX_TOTAL || g->count > NET_TX_PARTS)
		return false;
	g->parts[g->count++] = part;
	g->total += part.len;
	return true;
}

/* The first @len bytes of a section of the send buffer. */
static bool section_find(const struct net_buffer *send, const struct vsp_nvsp_rndis *rndis,
			 struct vmbus_span *part)
{
	uint64_t at = (uint64_t)rndis->section * VSP_NVSP_SECTION_SIZE;

	if (!send->gpadl || rndis->section_size > VSP_NVSP_SECTION_SIZE || !rndis->section_size ||
	    at + rndis->section_size > send->span.len)
		return false;
	at += send->span.offset;
	part->pfns = send->span.pfns + (at >> VMBUS_PAGE_SHIFT);
	part->offset = (uint32_t)at & (VMBUS_PAGE_SIZE - 1);
	part->len = rndis->section_size;
	return true;
}

int vsp_net_gather(struct vsp_net *net, const struct vmbus_packet *packet,
		   const struct vsp_nvsp_rndis *rndis, struct net_gather *g)
{
	struct vmbus_range_iter iter;
	struct vmbus_range range;
	struct vmbus_span part;
	int ret;

	g->count = 0;
	g->total = 0;
	if (rndis->section != VSP_NVSP_NO_SECTION) {
		if (!section_find(&net->send, rndis, &part) || !gather_add(g, part))
			return VMBUS_FAULT_BAD_REQUEST;
	}
	if (packet->type != VMBUS_PACKET_GPA_DIRECT)
		return g->total ? 0 : VMBUS_FAULT_BAD_REQUEST;
	ret = vmbus_range_first(packet, &iter);
	while (!ret && !(ret = vmbus_range_next(&iter, &range))) {
		part = (struct vmbus_span){range.pfns, range.offset, range.len};
		if (!gather_add(g, part))
			return VMBUS_FAULT_BAD_REQUEST;
	}
	return ret > 0 ? ret : 0;
}

int vsp_net_gather_read(const struct vmbus_view *view, const struct net_gather *g, uint32_t at,
			void *dst, uint32_t len)
{
	uint8_t *to = dst;

	for (unsigned int i = 0; i < g->count && len; i++) {
		uint32_t part = g->parts[i].len, n;

		if (at >= part) {
			at -= part;
			continue;
		}
		n = part - at < len ? part - at : len;
		if (vmbus_span_read(view, &g->parts[i], at, to, n))
			return VMBUS_FAULT_BAD_GPA;
		to += n;
		len -= n;
		at = 0;
	}
	return len ? VMBUS_FAULT_BAD_REQUEST : 0;
}

/* As iovecs at the end of the batch's. */
static int gather_pin(struct net_tx *tx, const struct vmbus_view *view, const struct net_gather *g,
		      uint32_t at, uint32_t len)
{
	for (unsigned int i = 0; i < g->count && len; i++) {
		uint32_t part = g->parts[i].len, n;
		unsigned int count;

		if (at >= part) {
			at -= part;
			continue;
		}
		n = part - at < len ? part - at : len;
		if (tx->iov_count + vmbus_span_pages((g->parts[i].offset + at) % VMBUS_PAGE_SIZE, n) >
		    NET_TX_IOV)
			return VMBUS_FAULT_LIMIT;
		if (vmbus_span_pin(view, &g->parts[i], at, n, false, &tx->iov[tx->iov_count], &count))
			return VMBUS_FAULT_BAD_GPA;
		tx->iov_count += count;
		len -= n;
		at = 0;
	}
	return len ? VMBUS_FAULT_BAD_REQUEST : 0;
}

/* Room is checked per packet: a message of it that does not find any is a fault of a
 * packet with more of them than guests were told to send. */
static int frame_add(struct net_channel *ch, const struct net_gather *g, uint32_t base,
		     const struct vsp_rndis_data *data)
{
	struct net_tx *tx = &ch->tx;
	const struct vmbus_view *view = vmbus_channel_view(ch->channel);
	struct vsp_nic_frame *frame = &tx->frames[tx->frame_count];
	uint8_t *head = tx->heads[tx->frame_count];
	uint32_t head_len = data->data_length < VSP_HEAD ? data->data_length : VSP_HEAD, done;
	unsigned int iov_first = tx->iov_count;
	int ret;

	ret = vsp_net_gather_read(view, g, base + data->data_offset, head, head_len);
	if (ret)
		return ret;
	if (data->data_length > (data->has_lso ? VSP_NIC_FRAME_MAX - VSP_VLAN_TAG :
						 ch->net->adapter.mtu + vsp_frame_tags(head, head_len)))
		return VMBUS_FAULT_BAD_REQUEST;
	done = vsp_frame_transmit(data, head, head_len, data->data_length, &frame->header);
	if (!done)
		return VMBUS_FAULT_BAD_REQUEST;
	tx->iov[tx->iov_count++] = (struct iovec){&frame->header, sizeof(frame->header)};
	tx->iov[tx->iov_count++] = (struct iovec){head, done};
	ret = gather_pin(tx, view, g, base + data->data_offset + head_len, data->data_length - head_len);
	if (ret) {
		tx->iov_count = iov_first;
		return ret;
	}
	frame->iov = &tx->iov[iov_first];
	frame->iov_count = tx->iov_count - iov_first;
	frame->len = data->data_length + done - head_len;
	frame->result = 0;
	tx->frame_count++;
	return 0;
}

/* One message at @at; its length is returned in @length. */
static int message_take(struct net_channel *ch, const struct net_gather *g, uint32_t at,
			uint32_t *length)
{
	const struct vmbus_view *view = vmbus_channel_view(ch->channel);
	uint8_t infos[VSP_RNDIS_INFO_MAX];
	struct vsp_rndis_packet header;
	struct vsp_rndis_data data;
	int ret;

	if (g->total - at < sizeof(header))
		return VMBUS_FAULT_TRUNCATED;
	ret = vsp_net_gather_read(view, g, at, &header, sizeof(header));
	if (!ret)
		ret = vsp_rndis_data_header(&header, g->total - at, &data);
	if (!ret && data.info_length)
		ret = vsp_net_gather_read(view, g, at + data.info_offset, infos, data.info_length);
	if (!ret)
		ret = vsp_rndis_data_infos(vmbus_cursor_of(infos, data.info_length), &data);
	if (!ret)
		ret = frame_add(ch, g, at, &data);
	*length = ret ? 0 : data.length;
	return ret;
}

void vsp_net_transmit(struct net_channel *ch, const struct vmbus_packet *packet,
		      const struct net_gather *g)
{
	struct net_tx *tx = &ch->tx;
	struct net_request *request = &tx->requests[tx->request_count++];
	uint32_t at = 0, length;
	int ret = 0;

	for (unsigned int n = 0; !ret && at < g->total; n++) {
		/* what is left behind the last message may be padding */
		if (n && g->total - at < sizeof(struct vsp_rndis_packet))
			break;
		ret = n == NET_TX_MESSAGES ? VMBUS_FAULT_LIMIT : message_take(ch, g, at, &length);
		if (!ret)
			at += length;
	}
	if (ret)
		ch->stats.tx_errors++;
	if (tx->request_count == 1)
		vmbus_channel_busy(ch->channel, 1);
	request->transaction_id = packet->transaction_id;
	request->answer = packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED;
	request->status = ret ? VSP_NVSP_STATUS_FAILURE : VSP_NVSP_STATUS_SUCCESS;
	request->end = tx->frame_count;
}

bool vsp_net_transmit_room(const struct net_channel *ch)
{
	const struct net_tx *tx = &ch->tx;

	return !tx->full && tx->request_count < NET_TX_FRAMES &&
	       tx->frame_count + NET_TX_MESSAGES <= NET_TX_FRAMES &&
	       tx->iov_count + NET_TX_PACKET_IOV <= NET_TX_IOV;
}

static void batch_reset(struct net_channel *ch)
{
	struct net_tx *tx = &ch->tx;

	if (tx->request_count)
		vmbus_channel_busy(ch->channel, -1);
	tx->frame_count = tx->sent = tx->iov_count = 0;
	tx->request_count = tx->answered = 0;
	tx->full = false;
}

static void requests_answer(struct net_channel *ch)
{
	struct net_tx *tx = &ch->tx;

	for (; tx->answered < tx->request_count && tx->requests[tx->answered].end <= tx->sent;
	     tx->answered++) {
		const struct net_request *request = &tx->requests[tx->answered];
		struct vsp_nvsp_reply reply;

		if (!request->answer)
			continue;
		vsp_nvsp_rndis_complete(&reply, request->status);
		vsp_net_complete(ch, request->transaction_id, &reply, NET_COMPLETION_BYTES);
	}
}

bool vsp_net_transmit_flush(struct net_channel *ch)
{
	struct net_tx *tx = &ch->tx;
	unsigned int n = 0, left = tx->frame_count - tx->sent;

	if (left && ch->queue)
		n = ch->queue->nic->ops->send(ch->queue, &tx->frames[tx->sent], left);
	for (unsigned int i = tx->sent; i < tx->sent + n; i++) {
		if (tx->frames[i].result) {
			ch->stats.tx_dropped++;
			continue;
		}
		ch->stats.tx_frames++;
		ch->stats.tx_bytes += tx->frames[i].len;
		vsp_traffic_add(ch->stats.tx_to, tx->heads[i], tx->frames[i].len);
	}
	tx->sent += n;
	requests_answer(ch);
	if (n < left) {
		if (!tx->full)
			ch->stats.tx_waits++;
		tx->full = true;
		return false;
	}
	batch_reset(ch);
	return true;
}

/* As if the frames were lost on the wire. The rings are not this thread's to write: the next
 * flush answers the requests. */
void vsp_net_transmit_drop(struct net_channel *ch)
{
	ch->stats.tx_dropped += ch->tx.frame_count - ch->tx.sent;
	ch->tx.sent = ch->tx.frame_count;
}
