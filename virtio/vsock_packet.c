#include "virtio/vsock_packet.h"

#include <endian.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>

static bool vsock_packet_sound(const struct vsock_packet *packet, size_t payload)
{
	/* 5.10.6.4.2: an unknown type is answered with a reset; only streams are offered */
	if (packet->type != VIRTIO_VSOCK_TYPE_STREAM)
		return false;
	if (packet->op < VIRTIO_VSOCK_OP_REQUEST || packet->op > VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		return false;
	return packet->len <= payload;
}

enum vsock_verdict vsock_packet_parse(struct vsock_packet *packet, struct iov_cursor *cur,
				      uint64_t guest_cid)
{
	struct virtio_vsock_hdr hdr;

	if (iov_cursor_read(cur, &hdr, sizeof(hdr)) < sizeof(hdr))
		return VSOCK_PACKET_UNREADABLE;
	*packet = (struct vsock_packet){.host_port = le32toh(hdr.dst_port),
					.guest_port = le32toh(hdr.src_port),
					.type = le16toh(hdr.type),
					.op = le16toh(hdr.op),
					.flags = le32toh(hdr.flags),
					.len = le32toh(hdr.len),
					.buf_alloc = le32toh(hdr.buf_alloc),
					.fwd_cnt = le32toh(hdr.fwd_cnt)};
	if (le64toh(hdr.src_cid) != guest_cid || le64toh(hdr.dst_cid) != VMADDR_CID_HOST)
		return VSOCK_PACKET_IGNORED;
	if (vsock_packet_sound(packet, iov_cursor_left(cur)))
		return VSOCK_PACKET_GOOD;
	return packet->op == VIRTIO_VSOCK_OP_RST ? VSOCK_PACKET_IGNORED : VSOCK_PACKET_RESET;
}

void vsock_packet_header(const struct vsock_packet *packet, uint64_t guest_cid,
			 struct virtio_vsock_hdr *hdr)
{
	*hdr = (struct virtio_vsock_hdr){.src_cid = htole64(VMADDR_CID_HOST),
					 .dst_cid = htole64(guest_cid),
					 .src_port = htole32(packet->host_port),
					 .dst_port = htole32(packet->guest_port),
					 .len = htole32(packet->len),
					 .type = htole16(packet->type),
					 .op = htole16(packet->op),
					 .flags = htole32(packet->flags),
					 .buf_alloc = htole32(packet->buf_alloc),
					 .fwd_cnt = htole32(packet->fwd_cnt)};
}
