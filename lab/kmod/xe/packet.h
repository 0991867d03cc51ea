/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_PACKET_H_
#define _XS_PACKET_H_

#include "mailbox.h"
#include "pf.h"

#define XS_PACKET_VERSION	1

enum xs_packet_type {
	XS_PACKET_DESCRIPTOR = 1,
	XS_PACKET_TRAILER,
	XS_PACKET_GGTT,
	XS_PACKET_MMIO,
	XS_PACKET_GUC,
	XS_PACKET_VRAM,
};

/* Payload of the descriptor: keys, each with a length in dwords, and values. */
#define XS_KLV_DEVID	0xf001
#define XS_KLV_REVID	0xf002

struct xs_klv {
	__le16 len;
	__le16 key;
	__le32 value;
} __packed;

/* Payloads. They hold what identifies the state and how much there is of it. */
struct xs_ggtt_payload {
	__le64 start;
	__le64 size;
} __packed;

struct xs_vram_payload {
	__le64 size;
} __packed;

struct xs_mmio_payload {
	__le32 word[XS_MBX_WORDS];
} __packed;

/**
 * struct xs_guc_payload - state of one GT
 * @contexts: how many the VF has
 * @doorbells: how many the VF has
 * @restores: restores that the VF went through before
 * @version: PF ABI agreed on
 * @fill_crc: checksum of the filling, which makes the state as large as a real one
 * @fill: the filling
 */
struct xs_guc_payload {
	__le32 contexts;
	__le32 doorbells;
	__le32 restores;
	__le32 version;
	__le32 fill_crc;
	u8 fill[];
} __packed;

size_t xs_stream_size_of(const struct xs_pf *pf);
int xs_stream_build(struct xs_pf *pf, unsigned int vfid);
int xs_packet_check_header(const struct xs_pf *pf, const struct xs_packet_header *h);
int xs_packet_check_descriptor(const struct xs_pf *pf, const u8 *data, size_t size);
int xs_packet_apply(struct xs_pf *pf, unsigned int vfid, const struct xs_packet_header *h,
		    const u8 *data, size_t size);

#endif
