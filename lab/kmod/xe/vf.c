// SPDX-License-Identifier: GPL-2.0
/*
 * VF: learns from its mailbox what the PF provisioned, says hello to the PF,
 * and recovers after a reset or a restore.
 */

#include <linux/delay.h>
#include <linux/errno.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>

#include "device.h"
#include "mailbox.h"
#include "pf.h"
#include "vf.h"

#define HELLO_TIMEOUT_MS	5000
#define HELLO_POLL_MS		20
#define READ_TRIES		50
#define READ_RETRY_MS		20
#define WATCH_PERIOD		HZ

static bool read_words(struct xs_device *xs, u32 *words)
{
	unsigned int i;

	for (i = 0; i < XS_MBX_WORDS; i++)
		words[i] = xs_mbx_read(xs, XS_MBX_OWN, i);
	return words[XS_MBX_MAGIC] == XS_MBX_MAGIC_VALUE &&
	       words[XS_MBX_CHECK] == xs_mbx_checksum(words);
}

static void decode(const u32 *words, struct xs_vf_config *c)
{
	unsigned int gt;

	c->devid = words[XS_MBX_DEVICE] >> 16;
	c->flags = words[XS_MBX_DEVICE] >> 8;
	c->num_gts = words[XS_MBX_DEVICE];
	c->ggtt_start = (u64)words[XS_MBX_GGTT_START] << 12;
	c->ggtt_size = (u64)words[XS_MBX_GGTT_SIZE] << 12;
	c->vram = (u64)words[XS_MBX_VRAM] << 21;
	c->epoch = words[XS_MBX_EPOCH];
	for (gt = 0; gt < XS_MAX_GTS; gt++) {
		u32 ids = words[XS_MBX_GT0_IDS + gt];

		c->gt[gt].contexts = ids >> 16;
		c->gt[gt].doorbells = ids & 0xffff;
	}
}

/* The PF may be writing at this moment, so a bad checksum is tried again. */
static int query_config(struct xs_device *xs, struct xs_vf_config *c)
{
	u32 words[XS_MBX_WORDS];
	unsigned int tries;

	for (tries = 0; tries < READ_TRIES; tries++) {
		if (read_words(xs, words)) {
			decode(words, c);
			return 0;
		}
		msleep(READ_RETRY_MS);
	}
	xs_err(xs, "no configuration in the mailbox (%08x, check %08x): PF without its stand-in?\n",
	       words[XS_MBX_MAGIC], words[XS_MBX_CHECK]);
	return -ENODATA;
}

static int check_config(struct xs_device *xs, const struct xs_vf_config *c)
{
	const struct xs_model *model = xs_model_by_devid(c->devid);
	bool complete = c->ggtt_size && (!model || !model->vram || c->vram);
	unsigned int gt;

	if (!model || c->num_gts < 1 || c->num_gts > XS_MAX_GTS) {
		xs_err(xs, "PF imitates an unknown device %04x\n", c->devid);
		return -ENODEV;
	}
	for (gt = 0; gt < c->num_gts; gt++)
		complete &= c->gt[gt].contexts && c->gt[gt].doorbells;
	if (!complete) {
		xs_err(xs, "VF was not provisioned, or not with all that it needs\n");
		return -ENODATA;
	}
	return 0;
}

/*
 * A reset that the PF notices only now clears the mailbox, so hello is said
 * until it is answered.
 */
static int hello(struct xs_device *xs, u32 *version)
{
	unsigned int waited;

	for (waited = 0; waited < HELLO_TIMEOUT_MS; waited += HELLO_POLL_MS) {
		if (!xs_mbx_read(xs, XS_MBX_OWN, XS_MBX_HELLO))
			xs_mbx_write(xs, XS_MBX_OWN, XS_MBX_HELLO, XS_PF_ABI);
		*version = xs_mbx_read(xs, XS_MBX_OWN, XS_MBX_PF_VERSION);
		if (*version)
			return 0;
		msleep(HELLO_POLL_MS);
	}
	xs_err(xs, "PF does not answer\n");
	return -ETIMEDOUT;
}

static int connect(struct xs_device *xs, u32 *version, struct xs_vf_config *config)
{
	struct xs_vf_config c;
	int err;

	err = query_config(xs, &c);
	if (!err)
		err = check_config(xs, &c);
	if (!err)
		err = hello(xs, version);
	if (!err)	/* again: now the PF has seen the last reset */
		err = query_config(xs, &c);
	if (!err)
		err = check_config(xs, &c);
	if (!err)
		*config = c;
	return err;
}

/* Hold the recovery at a stage while the user wants that. */
static void stop_at(struct xs_vf *vf, u8 stage, const char *what)
{
	bool said = false;
	unsigned int gt;

	for_each_gt(vf->xs, gt) {
		while (READ_ONCE(vf->resfix_stoppers[gt]) & stage) {
			if (!said)
				xs_info(vf->xs, "GT%u: recovery held before %s\n", gt, what);
			said = true;
			if (drm_dev_is_unplugged(&vf->xs->drm))
				return;
			ssleep(1);
		}
	}
}

/* The PF lets no VF work that was restored until it says that it has recovered. */
static void say_busy(struct xs_vf *vf)
{
	xs_mbx_write(vf->xs, XS_MBX_OWN, XS_MBX_BUSY, (u32)vf->recovered << 16 | vf->users);
}

static void recover(struct xs_vf *vf)
{
	struct xs_device *xs = vf->xs;
	struct xs_vf_config c;

	xs_info(xs, "VF was restored, recovery started\n");
	stop_at(vf, BIT(0), "resfix start");
	if (query_config(xs, &c))
		return;
	stop_at(vf, BIT(1), "fixups");
	mutex_lock(&vf->lock);
	vf->ggtt_shift = c.ggtt_start - vf->config.ggtt_start;
	vf->config = c;
	mutex_unlock(&vf->lock);
	stop_at(vf, BIT(2), "restart of jobs");
	stop_at(vf, BIT(3), "resfix done");
	mutex_lock(&vf->lock);
	vf->recovered = c.epoch;
	say_busy(vf);
	mutex_unlock(&vf->lock);
	xs_info(xs, "VF migration recovery completed, GGTT shifted by %lld\n", vf->ggtt_shift);
}

static void reconnect(struct xs_vf *vf)
{
	struct xs_vf_config c;
	u32 version;

	if (connect(vf->xs, &version, &c))
		return;
	mutex_lock(&vf->lock);
	vf->config = c;
	vf->pf_version = version;
	vf->recovered = c.epoch;
	say_busy(vf);
	mutex_unlock(&vf->lock);
	xs_info(vf->xs, "VF was reset, connected again\n");
}

static void watch_work(struct work_struct *work)
{
	struct xs_vf *vf = container_of(to_delayed_work(work), struct xs_vf, watch);
	u32 words[XS_MBX_WORDS], epoch;
	int idx;

	if (!drm_dev_enter(&vf->xs->drm, &idx))
		return;
	epoch = vf->config.epoch;
	if (read_words(vf->xs, words) && words[XS_MBX_EPOCH] != epoch) {
		/* A restore may come with resets; the VF's own state is that of before. */
		if ((u16)words[XS_MBX_EPOCH] != (u16)epoch)
			recover(vf);
		else
			reconnect(vf);
	}
	drm_dev_exit(idx);
	schedule_delayed_work(&vf->watch, WATCH_PERIOD);
}

static void vf_stop_watch(void *data)
{
	struct xs_vf *vf = data;

	cancel_delayed_work_sync(&vf->watch);
}

/**
 * xs_vf_init - make a VF work, if the PF provisioned it
 * @xs: device, of which the model and the number of GTs are set
 *
 * Return: 0; -ENODATA without configuration; -ETIMEDOUT if the PF is silent;
 * another negative errno.
 */
int xs_vf_init(struct xs_device *xs)
{
	struct xs_vf *vf;
	int err;

	vf = drmm_kzalloc(&xs->drm, sizeof(*vf), GFP_KERNEL);
	if (!vf)
		return -ENOMEM;
	err = drmm_mutex_init(&xs->drm, &vf->lock);
	if (err)
		return err;
	vf->xs = xs;
	err = connect(xs, &vf->pf_version, &vf->config);
	if (err)
		return err;

	vf->recovered = vf->config.epoch;
	xs->vf = vf;
	xs->model = xs_model_by_devid(vf->config.devid);
	xs->num_gts = vf->config.num_gts;
	xs->legacy = vf->config.flags & XS_MBX_FLAG_LEGACY;
	if (!(vf->config.flags & XS_MBX_FLAG_MIGRATION))
		xs_info(xs, "migration not supported by this module version\n");

	INIT_DELAYED_WORK(&vf->watch, watch_work);
	err = devm_add_action_or_reset(&xs->pdev->dev, vf_stop_watch, vf);
	if (!err)
		schedule_delayed_work(&vf->watch, WATCH_PERIOD);
	return err;
}

u64 xs_vf_vram(struct xs_vf *vf)
{
	guard(mutex)(&vf->lock);

	return vf->config.vram;
}

/* The reset was asked for on this side, so there is no need to wait for the watch. */
void xs_vf_reset_done(struct xs_vf *vf)
{
	mod_delayed_work(system_wq, &vf->watch, 0);
}

/**
 * xs_vf_gpu_time_get - a workload of the VF starts to use GPU time
 * @vf: the VF
 *
 * Return: 0, or -ENODEV if the device went away.
 */
int xs_vf_gpu_time_get(struct xs_vf *vf)
{
	int idx;

	if (!drm_dev_enter(&vf->xs->drm, &idx))
		return -ENODEV;
	mutex_lock(&vf->lock);
	vf->users++;
	say_busy(vf);
	mutex_unlock(&vf->lock);
	drm_dev_exit(idx);
	return 0;
}

void xs_vf_gpu_time_put(struct xs_vf *vf)
{
	int idx;

	guard(mutex)(&vf->lock);

	vf->users--;
	if (drm_dev_enter(&vf->xs->drm, &idx)) {
		say_busy(vf);
		drm_dev_exit(idx);
	}
}

/**
 * xs_vf_gpu_job - a workload tells of jobs that cannot be preempted
 * @vf: the VF
 * @us: how long the longest takes, 0 if there are none
 */
void xs_vf_gpu_job(struct xs_vf *vf, u32 us)
{
	int idx;

	if (drm_dev_enter(&vf->xs->drm, &idx)) {
		xs_mbx_write(vf->xs, XS_MBX_OWN, XS_MBX_JOB, us);
		drm_dev_exit(idx);
	}
}

/**
 * xs_vf_gpu_kills - what the PF did to jobs of the VF
 * @vf: the VF
 *
 * Return: engine resets << 16 | losses of all work, both wrap.
 */
u32 xs_vf_gpu_kills(struct xs_vf *vf)
{
	u32 kills = 0;
	int idx;

	if (drm_dev_enter(&vf->xs->drm, &idx)) {
		kills = xs_mbx_read(vf->xs, XS_MBX_OWN, XS_MBX_KILLS);
		drm_dev_exit(idx);
	}
	return kills;
}

/**
 * xs_vf_gpu_share - share of GPU time that the VF gets while it works
 * @vf: the VF
 *
 * Return: parts per million, as the PF last said.
 */
u32 xs_vf_gpu_share(struct xs_vf *vf)
{
	u32 share = 0;
	int idx;

	if (drm_dev_enter(&vf->xs->drm, &idx)) {
		share = xs_mbx_read(vf->xs, XS_MBX_OWN, XS_MBX_SHARE);
		drm_dev_exit(idx);
	}
	return share;
}
