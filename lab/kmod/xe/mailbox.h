/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_MAILBOX_H_
#define _XS_MAILBOX_H_

#include <linux/types.h>

struct xs_device;

/*
 * The 82576 has 64 bytes of memory for each VF that both the PF and the VF
 * can read and write. The PF sees that of VF n (counted from 0) in its BAR 0
 * at 0x800 + 0x40 * n, the VF sees its own in its BAR 0 at 0x800.
 * The stand-in uses it as what GuC is on real hardware: the one place from
 * which a VF learns its configuration.
 *
 * Words that the PF writes. XS_MBX_CHECK covers the words before it, so that a
 * VF never believes memory that was not filled by a stand-in PF.
 */
enum xs_mbx_word {
	XS_MBX_MAGIC,		/* XS_MBX_MAGIC_VALUE */
	XS_MBX_DEVICE,		/* device id << 16 | flags << 8 | number of GTs */
	XS_MBX_GGTT_START,	/* in 4 KiB pages */
	XS_MBX_GGTT_SIZE,	/* in 4 KiB pages */
	XS_MBX_VRAM,		/* in 2 MiB units */
	XS_MBX_GT0_IDS,		/* contexts << 16 | doorbells */
	XS_MBX_GT1_IDS,
	XS_MBX_EPOCH,		/* resets << 16 | restores: a change tells the VF of it */
	XS_MBX_CHECK,
	XS_MBX_SHARE,		/* share of GPU time in parts per million */
	XS_MBX_PF_VERSION,	/* answer to the VF's hello: PF ABI major << 16 | minor */
	/*
	 * Words that the VF writes, but for XS_MBX_KILLS; they are state of the VF, migrate
	 * with it and are zero after a reset.
	 */
	XS_MBX_JOB,		/* its longest job that cannot be preempted, in us */
	XS_MBX_HELLO,		/* wanted PF ABI major << 16 | minor */
	XS_MBX_BUSY,		/* restores recovered from << 16 | workloads that use GPU time now */
	XS_MBX_SCRATCH,		/* free for tests */
	XS_MBX_KILLS,		/* the PF's: engine resets << 16 | losses of all work */
	XS_MBX_WORDS,
};

#define XS_MBX_MAGIC_VALUE	0x58454d42 /* "XEMB" */
#define XS_MBX_FIRST_VF_WORD	XS_MBX_JOB

#define XS_MBX_FLAG_LEGACY	0x1	/* device flag: interface of kernels up to 6.18 */
#define XS_MBX_FLAG_MIGRATION	0x2	/* device flag: the VF can be saved and restored */

/* PF ABI 1.0 */
#define XS_PF_ABI_MAJOR		1
#define XS_PF_ABI_MINOR		0
#define XS_PF_ABI		(XS_PF_ABI_MAJOR << 16 | XS_PF_ABI_MINOR)

/* On a host @vfid is the VF number; a VF uses its own window with XS_MBX_OWN. */
#define XS_MBX_OWN		0

u32 xs_mbx_read(struct xs_device *xs, unsigned int vfid, enum xs_mbx_word word);
void xs_mbx_write(struct xs_device *xs, unsigned int vfid, enum xs_mbx_word word, u32 value);
u32 xs_mbx_checksum(const u32 *words);

u32 xs_flr_events(struct xs_device *xs);

#endif
