// SPDX-License-Identifier: GPL-2.0
/*
 * PF: packets of the migration stream. The framing is that of xe; the payloads
 * hold the little that a VF of the stand-in consists of.
 */

#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "mailbox.h"
#include "packet.h"
#include "params.h"

static size_t fill_size(void)
{
	return (size_t)xs_param_state_kib * SZ_1K;
}

static size_t guc_payload_size(void)
{
	return sizeof(struct xs_guc_payload) + fill_size();
}

/**
 * xs_stream_size_of - size of the migration stream of any VF
 * @pf: the PF
 *
 * Return: size in bytes.
 */
size_t xs_stream_size_of(const struct xs_pf *pf)
{
	const size_t header = sizeof(struct xs_packet_header);
	size_t size = header + 2 * sizeof(struct xs_klv);

	size += header + sizeof(struct xs_ggtt_payload);
	size += header + sizeof(struct xs_mmio_payload);
	if (xs_is_discrete(pf->xs))
		size += header + sizeof(struct xs_vram_payload);
	size += pf->xs->num_gts * (header + guc_payload_size());
	return size + header;	/* the trailer */
}

static void *put_packet(struct xs_stream *s, u8 type, u8 gt, size_t size)
{
	struct xs_packet_header *h = (void *)(s->data + s->size);
	void *payload = h + 1;

	h->version = XS_PACKET_VERSION;
	h->type = type;
	h->gt = gt;
	h->size = cpu_to_le64(size);
	s->size += sizeof(*h) + size;
	return payload;
}

static void put_descriptor(struct xs_pf *pf, struct xs_stream *s)
{
	struct xs_klv *klv = put_packet(s, XS_PACKET_DESCRIPTOR, 0, 2 * sizeof(*klv));

	klv[0].key = cpu_to_le16(XS_KLV_DEVID);
	klv[0].len = cpu_to_le16(1);
	klv[0].value = cpu_to_le32(pf->xs->model->devid);
	klv[1].key = cpu_to_le16(XS_KLV_REVID);
	klv[1].len = cpu_to_le16(1);
	klv[1].value = cpu_to_le32(pf->xs->pdev->revision);
}

static void put_memory(struct xs_pf *pf, struct xs_stream *s, unsigned int vfid)
{
	struct xs_ggtt_payload *ggtt = put_packet(s, XS_PACKET_GGTT, 0, sizeof(*ggtt));
	struct xs_vram_payload *vram;

	ggtt->start = cpu_to_le64(pf->ggtt.used[vfid].start);
	ggtt->size = cpu_to_le64(pf->ggtt.used[vfid].size);
	if (!xs_is_discrete(pf->xs))
		return;
	vram = put_packet(s, XS_PACKET_VRAM, 0, sizeof(*vram));
	vram->size = cpu_to_le64(pf->vram_quota[vfid]);
}

static void put_mmio(struct xs_pf *pf, struct xs_stream *s, unsigned int vfid)
{
	struct xs_mmio_payload *mmio = put_packet(s, XS_PACKET_MMIO, 0, sizeof(*mmio));
	unsigned int i;

	for (i = 0; i < XS_MBX_WORDS; i++)
		mmio->word[i] = cpu_to_le32(xs_mbx_read(pf->xs, vfid, i));
}

static void put_guc(struct xs_pf *pf, struct xs_stream *s, unsigned int vfid, unsigned int gt)
{
	struct xs_guc_payload *guc = put_packet(s, XS_PACKET_GUC, gt, guc_payload_size());
	size_t i;

	guc->contexts = cpu_to_le32(pf->gt[gt].contexts.used[vfid].size);
	guc->doorbells = cpu_to_le32(pf->gt[gt].doorbells.used[vfid].size);
	guc->restores = cpu_to_le32(pf->vf[vfid].restores);
	guc->version = cpu_to_le32(pf->vf[vfid].version);
	for (i = 0; i < fill_size(); i++)
		guc->fill[i] = i * 31 + (i >> 8) + gt;
	guc->fill_crc = cpu_to_le32(crc32_le(~0, guc->fill, fill_size()));
}

/**
 * xs_stream_build - make the migration stream of a VF
 * @pf: the PF, locked
 * @vfid: VF number, whose stream is empty
 *
 * Return: 0 or -ENOMEM.
 */
int xs_stream_build(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_stream *s = &pf->vf[vfid].stream;
	unsigned int gt;

	s->data = kvzalloc(xs_stream_size_of(pf), GFP_KERNEL);
	if (!s->data)
		return -ENOMEM;

	put_descriptor(pf, s);
	put_memory(pf, s, vfid);
	put_mmio(pf, s, vfid);
	for_each_gt(pf->xs, gt)
		put_guc(pf, s, vfid, gt);
	put_packet(s, XS_PACKET_TRAILER, 0, 0);
	return 0;
}

/**
 * xs_packet_check_header - refuse a packet that no xe would have written
 * @pf: the PF
 * @h: header of the packet
 *
 * Return: 0 or -EINVAL.
 */
int xs_packet_check_header(const struct xs_pf *pf, const struct xs_packet_header *h)
{
	u64 size = le64_to_cpu(h->size);

	if (h->version != XS_PACKET_VERSION)
		return -EINVAL;
	if (h->type < XS_PACKET_DESCRIPTOR || h->type > XS_PACKET_VRAM)
		return -EINVAL;
	if (h->tile || h->gt >= pf->xs->num_gts)
		return -EINVAL;
	if (h->type <= XS_PACKET_TRAILER && h->gt)
		return -EINVAL;
	if (h->type == XS_PACKET_TRAILER && size)
		return -EINVAL;
	return size > SZ_2M ? -EINVAL : 0;
}

/**
 * xs_packet_check_descriptor - compare where a stream comes from
 * @pf: the PF
 * @data: payload of the descriptor
 * @size: its size
 *
 * Return: 0; -EINVAL if it is malformed; -ENODEV if it is of another device.
 */
int xs_packet_check_descriptor(const struct xs_pf *pf, const u8 *data, size_t size)
{
	size_t pos = 0;

	while (pos < size) {
		const struct xs_klv *klv = (const void *)(data + pos);
		size_t len;

		if (size - pos < sizeof(__le32))
			return -EINVAL;
		len = le16_to_cpu(klv->len) * sizeof(__le32);
		if (size - pos - sizeof(__le32) < len)
			return -EINVAL;

		switch (le16_to_cpu(klv->key)) {
		case XS_KLV_DEVID:
			if (len != sizeof(__le32))
				return -EINVAL;
			if (le32_to_cpu(klv->value) != pf->xs->model->devid)
				return -ENODEV;
			break;
		case XS_KLV_REVID:
			if (len != sizeof(__le32))
				return -EINVAL;
			if (le32_to_cpu(klv->value) != pf->xs->pdev->revision)
				return -ENODEV;
			break;
		}
		pos += sizeof(__le32) + len;
	}
	return 0;
}

static int mismatch(struct xs_pf *pf, unsigned int vfid, const char *what, u64 saved, u64 here)
{
	xs_err(pf->xs, "VF%u: restore failed: saved with %s %llu, has %llu\n", vfid, what, saved,
	       here);
	return -EINVAL;
}

static int apply_guc(struct xs_pf *pf, unsigned int vfid, unsigned int gt, const u8 *data,
		     size_t size)
{
	const struct xs_guc_payload *guc = (const void *)data;
	u64 contexts = pf->gt[gt].contexts.used[vfid].size;
	u64 doorbells = pf->gt[gt].doorbells.used[vfid].size;

	if (size < sizeof(*guc))
		return mismatch(pf, vfid, "GuC state of size", size, guc_payload_size());
	if (le32_to_cpu(guc->contexts) != contexts)
		return mismatch(pf, vfid, "contexts", le32_to_cpu(guc->contexts), contexts);
	if (le32_to_cpu(guc->doorbells) != doorbells)
		return mismatch(pf, vfid, "doorbells", le32_to_cpu(guc->doorbells), doorbells);
	if (crc32_le(~0, guc->fill, size - sizeof(*guc)) != le32_to_cpu(guc->fill_crc)) {
		xs_err(pf->xs, "VF%u: restore failed: state of GT%u is damaged\n", vfid, gt);
		return -EINVAL;
	}

	pf->vf[vfid].restores = le32_to_cpu(guc->restores) + 1;
	pf->vf[vfid].version = le32_to_cpu(guc->version);
	xs_mbx_write(pf->xs, vfid, XS_MBX_PF_VERSION, pf->vf[vfid].version);
	xs_pf_push(pf, vfid);
	return 0;
}

static int apply_mmio(struct xs_pf *pf, unsigned int vfid, const u8 *data, size_t size)
{
	const struct xs_mmio_payload *mmio = (const void *)data;
	unsigned int i;

	if (size != sizeof(*mmio))
		return mismatch(pf, vfid, "MMIO state of size", size, sizeof(*mmio));
	for (i = XS_MBX_FIRST_VF_WORD; i < XS_MBX_WORDS; i++)
		xs_mbx_write(pf->xs, vfid, i, le32_to_cpu(mmio->word[i]));
	if (xs_fault_lose_state)
		xs_pf_lose_work(pf, vfid);
	return 0;
}

static int check_size(struct xs_pf *pf, unsigned int vfid, const char *what, const __le64 *saved,
		      u64 here)
{
	u64 value = le64_to_cpu(*saved);

	return value == here ? 0 : mismatch(pf, vfid, what, value, here);
}

/**
 * xs_packet_apply - restore what a packet holds, after checking it
 * @pf: the PF, locked
 * @vfid: VF number
 * @h: header, which was found good
 * @data: payload
 * @size: size of the payload
 *
 * Return: 0, or -EINVAL if the VF's resources are not those that were saved.
 */
int xs_packet_apply(struct xs_pf *pf, unsigned int vfid, const struct xs_packet_header *h,
		    const u8 *data, size_t size)
{
	const struct xs_ggtt_payload *ggtt = (const void *)data;
	const struct xs_vram_payload *vram = (const void *)data;

	switch (h->type) {
	case XS_PACKET_GGTT:
		if (size != sizeof(*ggtt))
			return mismatch(pf, vfid, "GGTT state of size", size, sizeof(*ggtt));
		return check_size(pf, vfid, "GGTT", &ggtt->size, pf->ggtt.used[vfid].size);
	case XS_PACKET_VRAM:
		if (size != sizeof(*vram))
			return mismatch(pf, vfid, "VRAM state of size", size, sizeof(*vram));
		return check_size(pf, vfid, "VRAM", &vram->size, pf->vram_quota[vfid]);
	case XS_PACKET_MMIO:
		return apply_mmio(pf, vfid, data, size);
	case XS_PACKET_GUC:
		return apply_guc(pf, vfid, h->gt, data, size);
	default:
		return 0;
	}
}
