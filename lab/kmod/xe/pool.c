// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous ranges out of a space: GGTT addresses, context and doorbell ids.
 * The caller holds the PF's lock.
 */

#include <linux/errno.h>
#include <linux/minmax.h>

#include "pool.h"

u64 xs_pool_used(const struct xs_pool *pool)
{
	u64 sum = 0;
	unsigned int fn;

	for (fn = 0; fn < XS_NUM_FNS; fn++)
		sum += pool->used[fn].size;
	return sum;
}

/* The used range that begins lowest among those that end after @from. */
static const struct xs_range *next_used(const struct xs_pool *pool, u64 from)
{
	const struct xs_range *best = NULL;
	unsigned int fn;

	for (fn = 0; fn < XS_NUM_FNS; fn++) {
		const struct xs_range *r = &pool->used[fn];

		if (r->size && r->start + r->size > from && (!best || r->start < best->start))
			best = r;
	}
	return best;
}

/**
 * xs_pool_next_hole - iterate over the free ranges in ascending order
 * @pool: the space
 * @cursor: 0 before the first call; position of the iteration
 * @hole: the free range found
 *
 * Return: true while there is one.
 */
bool xs_pool_next_hole(const struct xs_pool *pool, u64 *cursor, struct xs_range *hole)
{
	u64 from = max(*cursor, pool->lo);

	while (from < pool->hi) {
		const struct xs_range *r = next_used(pool, from);
		u64 end = r ? r->start : pool->hi;

		if (from < end) {
			hole->start = from;
			hole->size = end - from;
			*cursor = end;
			return true;
		}
		from = r->start + r->size;
	}
	return false;
}

u64 xs_pool_largest_hole(const struct xs_pool *pool)
{
	struct xs_range hole;
	u64 cursor = 0, best = 0;

	while (xs_pool_next_hole(pool, &cursor, &hole))
		best = max(best, hole.size);
	return best;
}

static int take(struct xs_pool *pool, unsigned int fn, u64 size, bool highest)
{
	struct xs_range hole, found = {};
	u64 cursor = 0;

	while (xs_pool_next_hole(pool, &cursor, &hole)) {
		if (hole.size < size)
			continue;
		found = hole;
		if (!highest)
			break;
	}
	if (!found.size)
		return -ENOSPC;

	pool->used[fn].start = highest ? found.start + found.size - size : found.start;
	pool->used[fn].size = size;
	return 0;
}

/**
 * xs_pool_take_highest - give a function the end of the highest hole that fits
 * @pool: the space
 * @fn: the function, which must have no range
 * @size: more than 0
 *
 * Return: 0, or -ENOSPC if no hole is large enough.
 */
int xs_pool_take_highest(struct xs_pool *pool, unsigned int fn, u64 size)
{
	return take(pool, fn, size, true);
}

/**
 * xs_pool_take_lowest - give a function the start of the lowest hole that fits
 * @pool: the space
 * @fn: the function, which must have no range
 * @size: more than 0
 *
 * Return: 0, or -ENOSPC if no hole is large enough.
 */
int xs_pool_take_lowest(struct xs_pool *pool, unsigned int fn, u64 size)
{
	return take(pool, fn, size, false);
}

void xs_pool_release(struct xs_pool *pool, unsigned int fn)
{
	pool->used[fn].start = 0;
	pool->used[fn].size = 0;
}
