/*
 * Frequencies (SLPC) and the counters of engine activity.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

/* events of H2G_SLPC_REQUEST */
enum { SLPC_RESET = 0, SLPC_SHUTDOWN = 1, SLPC_QUERY = 5, SLPC_SET = 6 };
/* parameters of SLPC_SET */
enum { SLPC_MIN_FREQ = 6, SLPC_MAX_FREQ = 7 };

#define SLPC_STATE              4       /* in the shared data */
#define SLPC_STATE_RUNNING      3
#define SLPC_TASK_STATE         128
#define SLPC_TASK_FREQ          132

void slpc_reset(GpuGuc *g)
{
    g->slpc = 0;
    g->slpc_min = 400;
    g->slpc_max = 2400;
}

/* Converts MHz to units of 16.67 MHz. */
static uint32_t ratio(uint32_t mhz)
{
    return MIN(mhz, 10000) * 3 / 50;
}

void slpc_request(GpuState *s, GpuGuc *g, const uint32_t *d, uint32_t n)
{
    switch ((d[0] >> 8) & 0xff) {
    case SLPC_RESET:
        if (n >= 2) {
            g->slpc = d[1];
            ggtt_w32(s, 0, g->slpc + SLPC_STATE, SLPC_STATE_RUNNING);
        }
        break;
    case SLPC_SHUTDOWN:
        if (g->slpc) {
            ggtt_w32(s, 0, g->slpc + SLPC_STATE, 0);
        }
        break;
    case SLPC_QUERY:
        if (n >= 2) {
            ggtt_w32(s, 0, (uint64_t)d[1] + SLPC_TASK_STATE, 1);
            ggtt_w32(s, 0, (uint64_t)d[1] + SLPC_TASK_FREQ, ratio(g->slpc_max) | ratio(g->slpc_min) << 8);
        }
        break;
    case SLPC_SET:
        if (n >= 3 && d[1] == SLPC_MIN_FREQ) {
            g->slpc_min = d[2];
        } else if (n >= 3 && d[1] == SLPC_MAX_FREQ) {
            g->slpc_max = d[2];
        }
        break;
    }
}

/* layouts of the counters in memory, as the driver reads them */
typedef struct QEMU_PACKED ActivityEngine {
    uint16_t change, quanta_ratio;
    uint32_t last_tick;
    uint64_t active_ticks;
} ActivityEngine;
typedef struct QEMU_PACKED ActivityMeta {
    uint32_t freq_hz, lag_us, change, reserved;
} ActivityMeta;

#define ACTIVITY_CLASSES        16
#define ACTIVITY_INSTANCES      32
#define ACTIVITY_WHOLE          0x8000  /* quanta ratio of a function with the whole engine */

/*
 * Returns a function's share of an engine's time.  The PF and the enabled VFs
 * share the engine: the driver has registered counters for them.  VFs that are
 * provisioned but not enabled have no share.
 */
static uint32_t quanta_ratio(GpuState *s, const GpuFn *fn)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->guc[fn->gt].fn_activity_count; i++) {
        sum += gt_fn(s, fn->gt, i)->eq_ms;
    }
    return sum ? fn->eq_ms * (uint64_t)ACTIVITY_WHOLE / sum : fn->idx ? 0 : ACTIVITY_WHOLE;
}

/* Writes the counters of function fn, or with fn -1 the sums over all functions. */
static void activity_write(GpuState *s, uint32_t gt, uint64_t meta, uint64_t base, int fn, uint32_t quanta)
{
    uint32_t change = s->guc[gt].activity_change;
    ActivityMeta m = { cpu_to_le32(GPU_TS_HZ), cpu_to_le32(1000), cpu_to_le32(change), 0 };

    for (int i = 0; i < ENGINES; i++) {
        GpuEngine *e = &s->engine[i];
        uint64_t ns = 0;
        ActivityEngine a;

        if (e->gt != gt) {
            continue;
        }
        for (int f = 0; f <= GPU_MAX_VFS; f++) {
            ns += fn < 0 || f == fn ? gt_fn(s, gt, f)->active_ns[i] : 0;
        }
        a = (ActivityEngine) {
            .change = cpu_to_le16(change & 0xffff ?: 1),
            .quanta_ratio = cpu_to_le16(quanta),
            .active_ticks = cpu_to_le64(ns_to_ts(ns)),
        };
        ggtt_rw(s, 0, base + (e->gclass * ACTIVITY_INSTANCES + e->instance) * sizeof(a), &a, sizeof(a), true);
    }
    ggtt_rw(s, 0, meta, &m, sizeof(m), true);
}

/* Writes the counters into the driver's buffers. */
void activity_update(GpuState *s, uint32_t gt)
{
    GpuGuc *g = &s->guc[gt];

    if (++g->activity_change == 0) {
        g->activity_change = 1;
    }
    if (g->dev_meta) {
        activity_write(s, gt, g->dev_meta, g->dev_activity, -1, ACTIVITY_WHOLE);
    }
    for (uint32_t i = 0; i < g->fn_activity_count; i++) {
        activity_write(s, gt, g->fn_meta + i * sizeof(ActivityMeta),
                       g->fn_activity + i * sizeof(ActivityEngine) * ACTIVITY_CLASSES * ACTIVITY_INSTANCES,
                       i, quanta_ratio(s, gt_fn(s, gt, i)));
    }
}

/* Updates the counters every 4 ms while engines run, and once when they stop. */
void activity_tick(GpuState *s)
{
    int64_t now = gpu_now();

    for (int i = 0; i < s->gts; i++) {
        GpuGuc *g = &s->guc[i];

        if ((g->dev_meta || g->fn_activity_count) &&
            (now - g->activity_at >= 4 * SCALE_MS || sched_next(s) == INT64_MAX)) {
            g->activity_at = now;
            activity_update(s, i);
        }
    }
}
