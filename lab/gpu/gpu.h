/*
 * An emulated Intel GPU, deep enough for the unmodified Linux xe driver as PF
 * and as VF.  See README.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VMTB_GPU_H
#define VMTB_GPU_H

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/timer.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "regs.h"
#include "guc.h"

#define TYPE_VMTB_GPU    "vmtb-gpu"
#define TYPE_VMTB_GPU_VF "vmtb-gpu-vf"
OBJECT_DECLARE_SIMPLE_TYPE(GpuState, VMTB_GPU)
OBJECT_DECLARE_SIMPLE_TYPE(GpuVf, VMTB_GPU_VF)

#define GPU_MAX_VFS      15
#define GPU_FNS          (GPU_MAX_VFS + 1)
#define GPU_MAX_GTS      2
#define GPU_MAX_VRAM     (64 * GiB)
#define GPU_MAX_CTX_ID   65535
#define GPU_MAX_RINGS    8
#define GPU_MAX_WQ       (64 * KiB)
#define GPU_TS_HZ        19200000ull
#define GPU_MAX_EQ_MS    100000u
#define GPU_MAX_PT_US    100000000u

/* classes of engines as the GuC numbers them */
enum { CLASS_RENDER, CLASS_VIDEO, CLASS_VIDEO_ENHANCE, CLASS_COPY, CLASS_COMPUTE, CLASSES };
enum { ENGINES = 6, INSTANCES = 32 };

/* a page fault as the GuC reports it */
enum { ACCESS_READ, ACCESS_WRITE, ACCESS_ATOMIC };
enum { FAULT_NOT_PRESENT, FAULT_WRITE_ACCESS };

/* priorities of functions (KLV_VF_SCHED_PRIORITY) */
enum { FN_PRIO_LOW, FN_PRIO_NORMAL, FN_PRIO_HIGH };

/* A ring of a GuC context: a logical ring context and the state of its command parser. */
typedef struct GpuCtx {
    uint32_t fn;             /* function that registered it: GpuFn.at */
    uint32_t id, gclass, mask;
    uint32_t ring, rings;    /* number of this ring, from 0; rings of the context */
    uint64_t wq_desc, wq_base;           /* GGTT addresses of the work queue: only in ring 0 of a parallel context */
    uint32_t wq_size;
    uint64_t lrca;           /* GGTT address of the context image */
    uint32_t prio, eq_us, pt_us;
    bool enabled;            /* scheduling is on */
    bool queued;             /* on an engine's list, because it may have work */
    bool running;            /* on the engine; set only in a migration stream */
    bool faulted;            /* waits for the driver's answer to a page fault; not saved: it faults again */
    uint64_t fault_va;
    uint32_t fault_access, fault_type;   /* ACCESS_*, FAULT_* */
    bool hung;               /* was reset, and must not run again */
    bool disabling;          /* scheduling goes off when the ring leaves the engine: MODE_DONE is not sent yet */
    int64_t polled;          /* engine time at which its semaphore was last found closed; -1: it does not wait */

    /* the command parser */
    bool watchdog;           /* the watchdog is armed */
    bool noarb;              /* MI_ARB_ON_OFF switched arbitration off */
    int level;               /* 0 ring, 1 batch, 2 second level batch */
    bool pp[3];              /* the level's address is in the PPGTT */
    uint64_t ip[3];
    uint32_t head;
    uint32_t spins;          /* short jumps back since the last command of the ring */
    uint64_t gpr[16];
    uint64_t run_ns;         /* engine time used since the image was loaded */
    uint64_t ts_base;        /* CTX_TIMESTAMP when the image was loaded */
    QTAILQ_ENTRY(GpuCtx) next;
} GpuCtx;

typedef struct GpuCtb {
    uint64_t desc, buf;
    uint32_t size;           /* bytes */
} GpuCtb;

/* The state of a PCI function in the GuC and the scheduler of one GT. */
typedef struct GpuFn {
    uint32_t idx;            /* 0 is the PF */
    uint32_t gt;
    uint32_t at;             /* index in GpuState.fn */
    PCIDevice *pdev;         /* NULL: the VF is not enabled */
    uint64_t memirq_status, memirq_source;
    GpuCtb h2g, g2h;
    bool ct_on;
    bool ct_broken;          /* a descriptor or message was wrong: the GuC does not use the CTBs until a reset */

    /* provisioned by the PF */
    uint64_t ggtt_start, ggtt_size, lmem;
    uint32_t num_ctxs, begin_ctx, num_dbs, begin_db, tile_mask;
    uint32_t eq_ms, pt_us, prio;
    uint32_t threshold[16];  /* by key, from KLV_VF_THRESHOLD_FIRST */

    bool paused, stopped;
    bool migrated;           /* restored, and the VF driver has not sent RESFIX_DONE yet */
    uint32_t counter[16];    /* adverse events of this sample period */
    uint64_t active_ns[ENGINES];
    GHashTable *ctxs;        /* id -> GpuCtx */
} GpuFn;

typedef struct GpuEngine {
    const char *name;
    uint32_t idx, gt, gclass, instance, base, irq_bit;
    QTAILQ_HEAD(, GpuCtx) list;
    GpuCtx *cur;             /* loaded context */
    int64_t t;               /* engine time, ns of QEMU_CLOCK_VIRTUAL; may lag or lead a little */
    bool rests;              /* no context could run in the last pass: the engine does not catch up on that time */
    int32_t slice_fn;        /* function that has the slice; -1: none */
    int64_t slice_end;       /* INT64_MAX: no end */
    int64_t ctx_end;         /* end of the slice of cur */
    int64_t preempt_at;      /* when the engine is reset if cur still runs; 0: cur is not being preempted */
} GpuEngine;

/* Faults, by property (fault.c); masks have a bit for each function. */
#define GPU_MAX_H2G_FAULTS 8
typedef enum { H2G_NORMAL, H2G_FAIL, H2G_DROP, H2G_DELAY } GpuH2gMode;
typedef struct GpuH2gFault {
    unsigned action, nth, count, arg;
    GpuH2gMode mode;
} GpuH2gFault;
typedef struct GpuFaults {
    uint32_t restore_lost, kill_work, hang_work, favour, flr_stuck, pause_stuck, ctb_corrupt, ct_dead;
    uint32_t guc_status, control_delay_ms, migrate_delay_ms;
    GpuH2gFault h2g[GPU_MAX_H2G_FAULTS];
} GpuFaults;

/* A message that the GuC sends later. */
typedef struct GpuLater {
    int64_t when;
    uint32_t fn, len;
    uint16_t fence;
    uint32_t hxg[CTB_MAX_DWORDS];
    QTAILQ_ENTRY(GpuLater) next;
} GpuLater;

/* Interrupts of the PF. */
typedef struct GpuIrq {
    uint32_t intr_dw[2];
    uint16_t vec[64];
    uint32_t ident[2];
    bool mstr;
} GpuIrq;

/* The GuC of a GT, without its state of each function (GpuFn). */
typedef struct GpuGuc {
    bool up;
    uint64_t slpc;           /* GGTT address of the SLPC shared data */
    uint32_t slpc_min, slpc_max;
    uint32_t sample_ms;
    int64_t sample_end;
    uint64_t dev_meta, dev_activity, fn_meta, fn_activity;
    uint32_t fn_activity_count;
    uint32_t activity_change;
    int64_t activity_at;     /* time of the last write of the counters */
} GpuGuc;

typedef struct GpuSaved GpuSaved;

typedef struct GpuReg {
    uint32_t off, value;
} GpuReg;

/* What differs between the modelled GPUs (platform.c). */
typedef struct GpuPlatform {
    const char *name;
    uint16_t device_id;
    uint8_t revision;
    uint32_t gmd[GPU_MAX_GTS];           /* architecture and release of each GT */
    uint64_t vram;                       /* default size of the local memory; 0: an integrated GPU */
    GpuReg regs[4];                      /* values after a reset */
} GpuPlatform;

struct GpuState {
    PCIDevice parent_obj;
    MemoryRegion bar0, mmio, gsm, bar2;
    uint32_t *regs;
    GHashTable *steered;     /* instances of registers that differ from regs (mcr.c) */
    uint32_t fn_regs[GPU_FNS][FN_STRIDE / 4];
    uint64_t *ggtt;
    MemoryRegion vram_mr;
    uint8_t *vram;           /* local memory; NULL on an integrated GPU */
    GpuFn fn[GPU_MAX_GTS * GPU_FNS];     /* functions of GT0, then functions of GT1 */
    GpuEngine engine[ENGINES];

    GpuIrq irq;
    GpuGuc guc[GPU_MAX_GTS];
    QTAILQ_HEAD(, GpuLater) later;

    QEMUBH *bh;
    QEMUTimer *timer;
    uint8_t *seen;           /* by register: bit 0 read, bit 1 written (trace) */
    int last_cmds;           /* commands that the last cs_run() executed, at least 1 */
    uint64_t unknown_cmds;

    GpuFaults fault;
    VMChangeStateEntry *vm_change;
    GpuSaved *saved;         /* copy of the state, to or from a migration stream */

    const GpuPlatform *platform;
    uint32_t device_id;      /* that of the platform */

    /* properties */
    char *platform_name;
    uint64_t vram_size;      /* bytes; 0: an integrated GPU */
    uint8_t num_vfs;
    uint8_t gts;             /* 1, or 2 with a media GT */
    uint32_t trace;
};

struct GpuVf {
    PCIDevice parent_obj;
    MemoryRegion bar0, mmio, gsm, bar2;
    GpuState *pf;
    uint32_t n;              /* from 1 */
    bool in_flr;
};

enum { TRACE_ODD = 1, TRACE_GUC, TRACE_REGS, TRACE_CMDS };

void gpu_log(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
#define gpu_trace(s, level, ...) \
    do { \
        if (unlikely((s)->trace >= (level))) { \
            gpu_log(__VA_ARGS__); \
        } \
    } while (0)

static inline uint64_t u64_of(uint32_t lo, uint32_t hi)
{
    return lo | ((uint64_t)hi << 32);
}

static inline uint32_t *gpu_reg(GpuState *s, uint32_t off)
{
    assert(off < REGS_SIZE);
    return &s->regs[off / 4];
}

/* A register of a GT: registers of the media GT lie MEDIA_OFFSET higher. */
static inline uint32_t *gt_reg(GpuState *s, uint32_t gt, uint32_t off)
{
    return gpu_reg(s, off + gt * MEDIA_OFFSET);
}

static inline GpuFn *gt_fn(GpuState *s, uint32_t gt, uint32_t idx)
{
    assert(gt < GPU_MAX_GTS && idx < GPU_FNS);
    return &s->fn[gt * GPU_FNS + idx];
}

static inline bool fn_present(const GpuFn *fn)
{
    return fn->ctxs && fn->pdev;
}

static inline bool fn_runs(const GpuFn *fn)
{
    return fn_present(fn) && !fn->paused && !fn->stopped && !fn->migrated;
}

static inline uint64_t ns_to_ts(int64_t ns)
{
    return muldiv64(ns, GPU_TS_HZ, NANOSECONDS_PER_SECOND);
}

static inline int64_t gpu_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* mem.c: an access that faults returns false; a read that faults gives zeros */
bool ggtt_rw(GpuState *s, uint32_t as, uint64_t va, void *p, uint32_t len, bool write);
uint32_t ggtt_r32(GpuState *s, uint32_t as, uint64_t va);
bool ggtt_w32(GpuState *s, uint32_t as, uint64_t va, uint32_t v);
typedef struct PpgttEntry {
    uint64_t va, pa;
    bool valid, null, rw;
    bool local;              /* pa is in local memory */
} PpgttEntry;
bool ppgtt_walk(GpuState *s, GpuFn *fn, uint64_t root, uint64_t va, PpgttEntry *e);
bool fn_rw(GpuState *s, GpuFn *fn, bool local, uint64_t pa, void *p, uint32_t len, bool write);

/* lmem.c */
bool lmem_rw(GpuState *s, const GpuFn *fn, uint64_t addr, void *p, uint32_t len, bool write);
void lmem_reset(GpuState *s);
bool lmem_init(GpuState *s, MemoryRegion *bar, Error **errp);
void lmem_vf_init(GpuVf *v);
uint64_t lmem_bar_size(const GpuState *s);

/* platform.c */
const GpuPlatform *platform_find(const char *name);
void platform_reset(GpuState *s);
void platform_pci(const GpuPlatform *p, PCIDevice *d);

/* irq.c */
void irq_guc(GpuState *s, GpuFn *fn, int bit);
void irq_engine(GpuState *s, GpuCtx *c, GpuEngine *e);
void irq_reset(GpuState *s);
bool irq_read(GpuState *s, uint32_t off, uint32_t *v);
bool irq_write(GpuState *s, uint32_t off, uint32_t v);

/* pf.c */
void gpu_reset(GpuState *s);

/* mmio.c */
extern const MemoryRegionOps gpu_mmio_ops;
void mmio_reset(GpuState *s);
void fn_mmio_write(GpuState *s, uint32_t n, uint32_t off, uint32_t v);

/* mcr.c */
uint32_t reg_masked(uint32_t old, uint32_t v);
uint32_t mcr_read(GpuState *s, uint32_t gt, uint32_t off);
void mcr_write(GpuState *s, uint32_t gt, uint32_t off, uint32_t v);
bool mcr_set(GpuState *s, uint32_t key, uint32_t v);
bool mcr_key_valid(const GpuState *s, uint32_t key);

/* guc.c */
void guc_reset(GpuState *s, uint32_t gt);
void guc_load(GpuState *s, uint32_t gt);
void guc_mailbox(GpuState *s, GpuFn *fn, bool media);
void fn_reset(GpuState *s, GpuFn *fn);

/* ct.c */
bool g2h_send(GpuState *s, GpuFn *fn, uint16_t fence, const uint32_t *hxg, uint32_t len);
void g2h_event(GpuState *s, GpuFn *fn, uint32_t action, const uint32_t *data, uint32_t len);
void g2h_later(GpuState *s, GpuFn *fn, int64_t when, uint16_t fence, const uint32_t *hxg, uint32_t len);
void g2h_run_later(GpuState *s);
void g2h_drop_later(GpuState *s, const GpuFn *fn);
void h2g_run(GpuState *s, GpuFn *fn);

/* h2g.c: one message out of the CTB */
void h2g_handle(GpuState *s, GpuFn *fn, uint16_t fence, uint32_t *hxg, uint32_t len);

/* gucpf.c */
uint32_t pf_update_cfg(GpuState *s, GpuFn *vf, uint64_t addr, uint32_t dwords, uint32_t *count);
uint32_t pf_update_policy(GpuState *s, uint32_t gt, uint64_t addr, uint32_t dwords, uint32_t *count);
uint32_t pf_control(GpuState *s, GpuFn *vf, uint32_t cmd);
void pf_control_done(GpuState *s, GpuFn *vf, uint32_t cmd);
void pf_notify(GpuState *s, GpuFn *vf, uint32_t event);
void pf_adverse(GpuState *s, GpuFn *fn, uint32_t key);
uint32_t vf_query_klv(GpuState *s, GpuFn *fn, uint32_t key, uint32_t *value);

/* migrate.c */
uint32_t vf_save(GpuState *s, GpuFn *fn, uint64_t addr, uint32_t dwords, uint32_t *used);
uint32_t vf_restore(GpuState *s, GpuFn *fn, uint64_t addr, uint32_t dwords, uint32_t *used);

/* vmstate.c */
extern const VMStateDescription gpu_vmstate, gpu_vf_vmstate;
void vmstate_forget(GpuState *s);

/* slpc.c */
void slpc_reset(GpuGuc *g);
void slpc_request(GpuState *s, GpuGuc *g, const uint32_t *d, uint32_t n);
void activity_update(GpuState *s, uint32_t gt);
void activity_tick(GpuState *s);

/* fault.c */
void fault_init(GpuState *s);
GpuH2gMode fault_h2g(GpuState *s, uint32_t action, uint32_t *arg);
uint32_t fault_quantum_factor(GpuState *s, const GpuFn *fn);

/* ctx.c */
GpuCtx *ctx_get(GpuFn *fn, uint32_t id);
GpuCtx *ctx_ring(GpuState *s, const GpuCtx *c, uint32_t ring);
GpuCtx *ctx_new(GpuState *s, GpuFn *fn, uint32_t id, uint32_t ring);
bool fn_ctxs_whole(GpuState *s, GpuFn *fn);
void ctx_engine_off(GpuEngine *e);
void ctx_unqueue(GpuState *s, GpuCtx *c);
void ctx_mode_done(GpuState *s, GpuCtx *c, uint32_t on);
void ctx_policy(GpuState *s, GpuCtx *c, uint32_t which, uint32_t value);
void ctx_remove(GpuState *s, GpuCtx *c);
void ctx_remove_all(GpuState *s, GpuFn *fn);
void ctx_submit(GpuState *s, GpuCtx *c);
void ctx_enable(GpuState *s, GpuCtx *c, bool on);
void ctx_reset(GpuState *s, GpuCtx *c, GpuEngine *e, bool cat_error);
void ctx_page_fault(GpuState *s, GpuCtx *c);
void ctx_page_fault_done(GpuState *s, GpuCtx *c, uint32_t gclass, uint32_t instance, bool failed);
void fn_resume_work(GpuState *s, GpuFn *fn);
GpuEngine *ctx_engine(GpuState *s, GpuCtx *c);

/* sched.c */
void sched_init(GpuState *s);
void sched_reset(GpuState *s, uint32_t gt);
void sched_run(GpuState *s);
void sched_drain(GpuState *s, GpuFn *fn);
void sched_kick(GpuState *s);
int64_t sched_next(GpuState *s);

/* cs.c: the command parser */
typedef enum { CS_IDLE, CS_TIME, CS_WAIT, CS_PREEMPTED, CS_FAULT, CS_PAGE_FAULT } CsResult;
CsResult cs_run(GpuState *s, GpuEngine *e, GpuCtx *c, int64_t until, bool preempt, int budget);
uint32_t ctx_image_r(GpuState *s, GpuCtx *c, uint32_t dw);
void ctx_image_w(GpuState *s, GpuCtx *c, uint32_t dw, uint32_t v);

#endif
