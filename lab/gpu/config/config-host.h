/*
 * The part of QEMU's config-host.h that decides the layout of its structures.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CONFIG_INT128 matters most: without it Int128 has another alignment, and
 * with it PCIDevice another size.  pf.c compares the size at run time.
 */
#define CONFIG_LINUX 1
#define CONFIG_POSIX 1
#define CONFIG_IOVEC 1
#define CONFIG_ATOMIC64 1
#define CONFIG_INT128 1
#define CONFIG_INT128_TYPE 1
