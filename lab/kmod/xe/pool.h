/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_POOL_H_
#define _XS_POOL_H_

#include <linux/types.h>

#include "device.h"

struct xs_range {
	u64 start;
	u64 size;
};

/**
 * struct xs_pool - a space of which every function has at most one range
 * @lo: first number of the space
 * @hi: one past the last
 * @used: what each function has; size 0 is nothing
 */
struct xs_pool {
	u64 lo;
	u64 hi;
	struct xs_range used[XS_NUM_FNS];
};

u64 xs_pool_used(const struct xs_pool *pool);
bool xs_pool_next_hole(const struct xs_pool *pool, u64 *cursor, struct xs_range *hole);
u64 xs_pool_largest_hole(const struct xs_pool *pool);
int xs_pool_take_highest(struct xs_pool *pool, unsigned int fn, u64 size);
int xs_pool_take_lowest(struct xs_pool *pool, unsigned int fn, u64 size);
void xs_pool_release(struct xs_pool *pool, unsigned int fn);

#endif
