/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's exec/poison.h includes this file; there is nothing to poison here. */
