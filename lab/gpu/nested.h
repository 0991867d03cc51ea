/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMTB_NESTED_H
#define VMTB_NESTED_H

/*
 * Mends nested virtualization in this QEMU, if it runs under TCG.  Returns
 * false and sets errp if the layout of this QEMU's CPU is not known.
 */
bool nested_mend(Error **errp);

#endif
