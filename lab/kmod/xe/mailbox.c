// SPDX-License-Identifier: GPL-2.0
/*
 * Access to the registers of the emulated 82576 that the stand-in uses: the
 * PF-VF mailbox memory, and the register that tells the PF of VF resets.
 */

#include <linux/crc32.h>
#include <linux/io.h>

#include "device.h"
#include "mailbox.h"

#define MBX_BASE	0x800
#define MBX_STRIDE	0x40
#define VFLRE		0xc88	/* one bit per VF, write 1 to clear */

static void __iomem *mbx_addr(struct xs_device *xs, unsigned int vfid, enum xs_mbx_word word)
{
	unsigned int window = xs->mode == XS_MODE_VF ? 0 : (vfid - 1) * MBX_STRIDE;

	return xs->mmio + MBX_BASE + window + word * sizeof(u32);
}

u32 xs_mbx_read(struct xs_device *xs, unsigned int vfid, enum xs_mbx_word word)
{
	return ioread32(mbx_addr(xs, vfid, word));
}

void xs_mbx_write(struct xs_device *xs, unsigned int vfid, enum xs_mbx_word word, u32 value)
{
	iowrite32(value, mbx_addr(xs, vfid, word));
}

/**
 * xs_mbx_checksum - checksum of the PF's words
 * @words: XS_MBX_WORDS words, of which those before XS_MBX_CHECK count
 */
u32 xs_mbx_checksum(const u32 *words)
{
	return crc32_le(~0, (const u8 *)words, XS_MBX_CHECK * sizeof(u32));
}

/**
 * xs_flr_events - take note of VFs that were reset at PCI level
 * @xs: the PF
 *
 * Return: mask of the VFs, bit 0 is VF 1, that were reset since the last call.
 */
u32 xs_flr_events(struct xs_device *xs)
{
	u32 events = ioread32(xs->mmio + VFLRE);

	if (events == ~0u)	/* the PF itself is in reset */
		return 0;
	if (events)
		iowrite32(events, xs->mmio + VFLRE);
	return events;
}
