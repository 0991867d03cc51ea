/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_PARAMS_H_
#define _XS_PARAMS_H_

#include <linux/types.h>

struct xs_device;

/* What is imitated; fixed at load. */
extern char *xs_param_device;
extern uint xs_param_gts;
extern char *xs_param_layout;
extern uint xs_param_total_vfs;
extern uint xs_param_max_vfs;
extern bool xs_param_vram_quota;
extern bool xs_param_migration;
extern uint xs_param_state_kib;

/* Faults; may be changed at any time. */
extern bool xs_fault_refuse_load;
extern bool xs_fault_wedged;
extern uint xs_fault_favour_vf;
extern bool xs_fault_lose_state;
extern uint xs_fault_kill_work;

int xs_params_check(void);
bool xs_params_legacy(void);

int xs_fault_provision(struct xs_device *xs);
int xs_fault_enable_vfs(struct xs_device *xs);

#endif
