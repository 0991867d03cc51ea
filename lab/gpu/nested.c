/*
 * Two mends of QEMU 10.0's emulation of nested virtualization (SVM) under TCG.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * 1. QEMU delivers an injected interrupt twice.  helper_vmrun() delivers an
 * external interrupt injected by the hypervisor at once, and leaves the vector
 * in exception_index.  If the CPU thread is asked to leave its loop before
 * another event sets exception_index, cpu_handle_interrupt() takes the vector
 * for a pending exception.  The guest then gets the interrupt again inside the
 * interrupt's handler, even with IF clear.  Under -icount the thread leaves its
 * loop whenever its budget is used up, and a guest of a guest dies within a
 * second.
 *
 * left_by_vmrun() recognizes such a vector by the other values that
 * helper_vmrun() sets for an injected interrupt: exception_is_int is 0 (no
 * software interrupt) and exception_next_eip is -1 (no next instruction).
 *
 * 2. QEMU reports an old exception at an exit.  handle_even_inj() stores each
 * exception of a guest in the VMCB's event_inj.  After delivery,
 * do_interrupt_all() clears only the bit VALID, and do_vmexit() copies the
 * other bits to exit_int_info.  KVM reads the type from that field
 * (svm_check_emulate_instruction(), Linux 6.14 and later) and concludes that
 * the exit interrupted a delivery.  If KVM must then emulate an access to a
 * device, it stops the guest with KVM_INTERNAL_ERROR_DELIVERY_EV.  On hardware
 * the field is zero unless an event was being delivered.
 *
 * This file is compiled for the target, unlike the others: see build.sh.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qom/object.h"
#include "hw/core/cpu.h"
#include "accel/tcg/cpu-ops.h"
#include "cpu.h"
#include "svm.h"
#include "tcg/helper-tcg.h"
#include "nested.h"

#define FIRST_IRQ 0x20  /* in protected mode; lower vectors are exceptions */
#define FIRST_BIOS_IRQ 8 /* in real mode, as the BIOS sets up the PIC */

static TCGCPUOps mended;

static bool left_by_vmrun(int vector, const CPUX86State *env)
{
    int first = env->cr[0] & CR0_PE_MASK ? FIRST_IRQ : FIRST_BIOS_IRQ;

    return (env->hflags & HF_GUEST_MASK) && vector >= first && vector <= 0xff &&
           !env->exception_is_int && env->exception_next_eip == (target_ulong)-1;
}

static void forget_delivered(CPUState *cs, CPUX86State *env)
{
    hwaddr event_inj = env->vm_vmcb + offsetof(struct vmcb, control.event_inj);

    if (!(x86_ldl_phys(cs, event_inj) & SVM_EVTINJ_VALID)) {
        x86_stl_phys(cs, event_inj, 0);
    }
}

static void do_interrupt(CPUState *cs)
{
    if (cs->exception_index == EXCP_VMEXIT) {
        forget_delivered(cs, cpu_env(cs));
    } else if (left_by_vmrun(cs->exception_index, cpu_env(cs))) {
        cs->exception_index = -1;
        cpu_exit(cs); /* the thread was asked to leave its loop: let it */
        return;
    }
    x86_cpu_do_interrupt(cs);
}

bool nested_mend(Error **errp)
{
    CPUState *cs = qemu_get_cpu(0);
    X86CPU *cpu = (X86CPU *)object_dynamic_cast(OBJECT(cs), TYPE_X86_CPU);

    if (!cpu || !cs->cc->tcg_ops || cs->cc->tcg_ops == &mended) {
        return true; /* not under TCG, or mended already */
    }
    /* all fields used here lie before phys_bits: with another layout, one of these two comparisons fails */
    if (cs->cc->tcg_ops->do_interrupt != x86_cpu_do_interrupt ||
        object_property_get_uint(OBJECT(cs), "phys-bits", NULL) != cpu->phys_bits) {
        error_setg(errp, "vmtb-gpu: compiled for another QEMU: X86CPU has another layout there: "
                   "compile lab/gpu against the source of this QEMU");
        return false;
    }
    mended = *cs->cc->tcg_ops;
    mended.do_interrupt = do_interrupt;
    for (int i = 0; (cs = qemu_get_cpu(i)); i++) {
        cs->cc->tcg_ops = &mended;
    }
    return true;
}
