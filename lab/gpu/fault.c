/*
 * Faults: properties that make the device misbehave, settable with qom-set
 * while it runs.  README.md describes each.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"
#include "qemu/cutils.h"

#define FAVOUR_FACTOR   8

static const struct {
    const char *name, *what;
    size_t offset;
} numbers[] = {
    { "fault-restore-lost", "mask of VFs whose restored state has no contexts", offsetof(GpuFaults, restore_lost) },
    { "fault-kill-work", "mask of functions whose contexts are reset when they start", offsetof(GpuFaults, kill_work) },
    { "fault-hang-work", "mask of functions whose contexts make no progress", offsetof(GpuFaults, hang_work) },
    { "fault-favour", "mask of functions with 8 times their quantum, used or not", offsetof(GpuFaults, favour) },
    { "fault-flr-stuck", "mask of VFs whose FLR never ends", offsetof(GpuFaults, flr_stuck) },
    { "fault-pause-stuck", "mask of VFs whose pause never ends", offsetof(GpuFaults, pause_stuck) },
    { "fault-ctb-corrupt", "mask of functions whose next G2H message has a wrong length; clears itself",
      offsetof(GpuFaults, ctb_corrupt) },
    { "fault-ct-dead", "mask of functions whose CTB the GuC does not read", offsetof(GpuFaults, ct_dead) },
    { "fault-guc-status", "value of GUC_STATUS after a load, instead of ready; 0: none",
      offsetof(GpuFaults, guc_status) },
    { "control-delay-ms", "time that pause and FLR of a VF take", offsetof(GpuFaults, control_delay_ms) },
    { "migrate-delay-ms", "time that save and restore of a VF take", offsetof(GpuFaults, migrate_delay_ms) },
};

static const char *const modes[] = { [H2G_FAIL] = "fail", [H2G_DROP] = "drop", [H2G_DELAY] = "delay" };

/* Parses ACTION:N:MODE[:ARG].  N counts messages from now on; 0 means every message. */
static bool parse_rule(const char *text, GpuH2gFault *f, Error **errp)
{
    g_auto(GStrv) w = g_strsplit(text, ":", 0);
    unsigned n = g_strv_length(w);

    *f = (GpuH2gFault) { .arg = 0xf000 };
    if (n < 3 || n > 4 || qemu_strtoui(w[0], NULL, 0, &f->action) || qemu_strtoui(w[1], NULL, 0, &f->nth) ||
        (n == 4 && qemu_strtoui(w[3], NULL, 0, &f->arg))) {
        error_setg(errp, "fault-h2g: '%s' is not ACTION:N:MODE[:ARG], for example 0x5506:1:fail:0x30", text);
        return false;
    }
    for (int i = 0; i < ARRAY_SIZE(modes); i++) {
        if (modes[i] && !strcmp(w[2], modes[i])) {
            f->mode = i;
        }
    }
    if (!f->mode) {
        error_setg(errp, "fault-h2g: mode '%s' is unknown: use fail, drop or delay", w[2]);
        return false;
    }
    if (f->mode == H2G_FAIL && (!f->arg || f->arg > 0xffff)) {
        error_setg(errp, "fault-h2g: '%s': an error code is 1 to 0xffff", text);
        return false;
    }
    return true;
}

static void set_h2g(Object *obj, const char *value, Error **errp)
{
    GpuState *s = VMTB_GPU(obj);
    g_auto(GStrv) w = g_strsplit(value, ",", 0);
    GpuH2gFault f[GPU_MAX_H2G_FAULTS] = { 0 };

    if (g_strv_length(w) > ARRAY_SIZE(f)) {
        error_setg(errp, "fault-h2g: more than %d rules", GPU_MAX_H2G_FAULTS);
        return;
    }
    for (int i = 0; w[i]; i++) {
        if (!parse_rule(w[i], &f[i], errp)) {
            return;
        }
    }
    memcpy(s->fault.h2g, f, sizeof(f));
}

static char *get_h2g(Object *obj, Error **errp)
{
    GpuState *s = VMTB_GPU(obj);
    GString *g = g_string_new("");

    for (int i = 0; i < GPU_MAX_H2G_FAULTS && s->fault.h2g[i].mode; i++) {
        const GpuH2gFault *f = &s->fault.h2g[i];

        g_string_append_printf(g, "%s%#x:%u:%s:%#x", i ? "," : "", f->action, f->nth, modes[f->mode], f->arg);
    }
    return g_string_free(g, FALSE);
}

/* Sets VF:KEY:COUNT: the VF causes COUNT adverse events of the kind KEY, now. */
static void set_adverse(Object *obj, const char *value, Error **errp)
{
    GpuState *s = VMTB_GPU(obj);
    g_auto(GStrv) w = g_strsplit(value, ":", 0);
    unsigned vf, key, count;

    if (g_strv_length(w) != 3 || qemu_strtoui(w[0], NULL, 0, &vf) || qemu_strtoui(w[1], NULL, 0, &key) ||
        qemu_strtoui(w[2], NULL, 0, &count) || !vf || vf > s->num_vfs || key < KLV_VF_THRESHOLD_FIRST ||
        key > KLV_VF_THRESHOLD_MULTI_LRC || count > 1000000) {
        error_setg(errp, "fault-adverse: '%s' is not VF:KEY:COUNT, for example 1:0x8a03:5", value);
        return;
    }
    while (count--) {
        pf_adverse(s, &s->fn[vf], key);
    }
}

/* Returns the fault for a message.  *arg becomes the error code, or the delay in ms. */
GpuH2gMode fault_h2g(GpuState *s, uint32_t action, uint32_t *arg)
{
    for (int i = 0; i < GPU_MAX_H2G_FAULTS && s->fault.h2g[i].mode; i++) {
        GpuH2gFault *f = &s->fault.h2g[i];

        if (f->action == action && (!f->nth || ++f->count == f->nth)) {
            gpu_trace(s, TRACE_ODD, "fault: action %#x: %s", action, modes[f->mode]);
            *arg = f->arg;
            return f->mode;
        }
    }
    return H2G_NORMAL;
}

uint32_t fault_quantum_factor(GpuState *s, const GpuFn *fn)
{
    return s->fault.favour >> fn->idx & 1 ? FAVOUR_FACTOR : 1;
}

void fault_init(GpuState *s)
{
    Object *obj = OBJECT(s);

    for (int i = 0; i < ARRAY_SIZE(numbers); i++) {
        object_property_add_uint32_ptr(obj, numbers[i].name, (void *)((char *)&s->fault + numbers[i].offset),
                                       OBJ_PROP_FLAG_READWRITE);
        object_property_set_description(obj, numbers[i].name, numbers[i].what);
    }
    object_property_add_str(obj, "fault-h2g", get_h2g, set_h2g);
    object_property_set_description(obj, "fault-h2g", "ACTION:N:MODE[:ARG],... : fail, drop or delay messages");
    object_property_add_str(obj, "fault-adverse", NULL, set_adverse);
    object_property_set_description(obj, "fault-adverse", "VF:KEY:COUNT : a VF causes adverse events now");
}
