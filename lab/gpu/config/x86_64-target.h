/*
 * The part of QEMU's x86_64-softmmu-config-target.h that nested.c needs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Debian's QEMU has CONFIG_PLUGIN.  It adds a field to CPUState.
 */
#define TARGET_X86_64 1
#define TARGET_I386 1
#define TARGET_NAME "x86_64"
#define TARGET_LONG_BITS 64
#define TARGET_BIG_ENDIAN 0
#define CONFIG_TCG 1
#define CONFIG_KVM 1
#define CONFIG_PLUGIN 1
