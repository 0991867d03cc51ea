/*
 * Numbers of the GuC's interface: HXG messages, actions, KLVs, errors.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VMTB_GPU_GUC_H
#define VMTB_GPU_GUC_H

#define GUC_VF_MAJOR            1
#define GUC_VF_MINOR            27

/* HXG header */
#define HXG_ORIGIN_GUC          (1u << 31)
#define HXG_TYPE(dw)            (((dw) >> 28) & 7)
#define HXG_DATA0(dw)           (((dw) >> 16) & 0xfff)
#define HXG_ACTION(dw)          ((dw) & 0xffff)
enum {
    HXG_REQUEST = 0, HXG_EVENT = 1, HXG_FAST_REQUEST = 2,
    HXG_BUSY = 3, HXG_RETRY = 5, HXG_FAILURE = 6, HXG_SUCCESS = 7,
};
#define HXG_GUC(type, data)     (HXG_ORIGIN_GUC | ((uint32_t)(type) << 28) | (data))

#define CTB_MAX_DWORDS          255
#define CTB_STATUS_UNUSED       (1u << 4)

/* host to GuC */
enum {
    H2G_REQUEST_ENGINE_RESET    = 0x0003,
    H2G_LOG_FLUSH_COMPLETE      = 0x0030,
    H2G_LOG_ENABLE              = 0x0040,
    H2G_LOG_FORCE_FLUSH         = 0x0302,
    H2G_GLOBAL_SCHED_POLICY     = 0x0506,
    H2G_SELF_CFG                = 0x0508,
    H2G_SCHED_POLICIES_KLV      = 0x0509,
    H2G_SCHED_CONTEXT           = 0x1000,
    H2G_SCHED_CONTEXT_MODE_SET  = 0x1001,
    H2G_UPDATE_CONTEXT_POLICIES = 0x100b,
    H2G_SLPC_REQUEST            = 0x3003,
    H2G_SETUP_GUCRC             = 0x3004,
    H2G_AUTHENTICATE_HUC        = 0x4000,
    H2G_GET_HWCONFIG            = 0x4100,
    H2G_REGISTER_CONTEXT        = 0x4502,
    H2G_DEREGISTER_CONTEXT      = 0x4503,
    H2G_CONTROL_CTB             = 0x4509,
    H2G_REGISTER_MULTI_LRC      = 0x4601,
    H2G_RELAY_TO_VF             = 0x5101,
    H2G_RELAY_TO_PF             = 0x5103,
    H2G_MATCH_VERSION           = 0x5500,
    H2G_UPDATE_VGT_POLICY       = 0x5502,
    H2G_UPDATE_VF_CFG           = 0x5503,
    H2G_VF_CONTROL              = 0x5506,
    H2G_VF_RESET                = 0x5507,
    H2G_RESFIX_DONE             = 0x5508,
    H2G_QUERY_SINGLE_KLV        = 0x5509,
    H2G_SET_ENG_UTIL_BUFF       = 0x550a,
    H2G_SAVE_RESTORE_VF         = 0x550b,
    H2G_DEVICE_ACTIVITY_BUFFER  = 0x550c,
    H2G_FUNCTION_ACTIVITY_BUFFER = 0x550d,
    H2G_OPT_IN_FEATURE_KLV      = 0x550e,
    H2G_RESFIX_START            = 0x550f,
    H2G_PAGE_FAULT_RESPONSE     = 0x6003,
    H2G_TLB_INVALIDATION        = 0x7000,
    H2G_TLB_INVALIDATION_ALL    = 0x7002,
};

/* GuC to host */
enum {
    G2H_SCHED_CONTEXT_MODE_DONE = 0x1002,
    G2H_CONTEXT_RESET           = 0x1008,
    G2H_DEREGISTER_DONE         = 0x4600,
    G2H_RELAY_FROM_VF           = 0x5100,
    G2H_RELAY_FROM_PF           = 0x5102,
    G2H_ADVERSE_EVENT           = 0x5104,
    G2H_VF_STATE                = 0x5106,
    G2H_MEMORY_CAT_ERROR        = 0x6000,
    G2H_PAGE_FAULT              = 0x6002,
    G2H_TLB_INVALIDATION_DONE   = 0x7001,
};

enum { VF_STATE_FLR = 1, VF_STATE_FLR_DONE, VF_STATE_PAUSE_DONE, VF_STATE_FIXUP_DONE };
enum { VF_PAUSE = 1, VF_RESUME, VF_STOP, VF_FLR_START, VF_FLR_FINISH };

/* error codes in the GuC's answers */
enum {
    GUC_OK                      = 0,
    GUC_ERR_PROTOCOL            = 0x04,
    GUC_ERR_STATE               = 0x0a,
    GUC_ERR_VERSION             = 0x0b,
    GUC_ERR_VFID                = 0x0c,
    GUC_ERR_UNPROVISIONED       = 0x0d,
    GUC_ERR_UNKNOWN_ACTION      = 0x30,
    GUC_ERR_NO_PERMISSION       = 0x40,
    GUC_ERR_KLV_DATA            = 0x50,
    GUC_ERR_PARAMS              = 0x60,
    GUC_ERR_CONTEXT_INDEX       = 0x61,
    GUC_ERR_ENGINE              = 0x64,
    GUC_ERR_GGTT_ADDRESS        = 0x80,
    GUC_ERR_NO_CONTEXT          = 0x100,
    GUC_ERR_SIZE                = 0x102,
    GUC_ERR_MALFORMED_KLV       = 0x103,
    GUC_ERR_KLV_KEY             = 0x105,
    GUC_ERR_UNAUTHORIZED        = 0x302,
};

/* keys of KLVs */
enum {
    KLV_SELF_MEMIRQ_STATUS      = 0x0900,
    KLV_SELF_MEMIRQ_SOURCE      = 0x0901,
    KLV_SELF_H2G_BUF            = 0x0902,
    KLV_SELF_H2G_DESC           = 0x0903,
    KLV_SELF_H2G_SIZE           = 0x0904,
    KLV_SELF_G2H_BUF            = 0x0905,
    KLV_SELF_G2H_DESC           = 0x0906,
    KLV_SELF_G2H_SIZE           = 0x0907,

    KLV_CTX_EXEC_QUANTUM        = 0x2001,
    KLV_CTX_PREEMPT_TIMEOUT     = 0x2002,
    KLV_CTX_PRIORITY            = 0x2003,

    KLV_GLOBAL_GMD_ID           = 0x3000,
    KLV_GLOBAL_GROUP_SCHED      = 0x3001,
    KLV_GLOBAL_PAGING_ENGINES   = 0x3003,

    KLV_POLICY_SCHED_IF_IDLE    = 0x8001,
    KLV_POLICY_SAMPLE_PERIOD    = 0x8002,
    KLV_POLICY_RESET_SWITCH     = 0x8d00,

    KLV_VF_GGTT_START           = 0x0001,
    KLV_VF_GGTT_SIZE            = 0x0002,
    KLV_VF_LMEM_SIZE            = 0x0003,
    KLV_VF_NUM_CONTEXTS         = 0x0004,
    KLV_VF_TILE_MASK            = 0x0005,
    KLV_VF_NUM_DOORBELLS        = 0x0006,
    KLV_VF_EXEC_QUANTUM         = 0x8a01,
    KLV_VF_PREEMPT_TIMEOUT      = 0x8a02,
    KLV_VF_THRESHOLD_FIRST      = 0x8a03,
    KLV_VF_THRESHOLD_CAT_ERR    = 0x8a03,
    KLV_VF_THRESHOLD_RESET      = 0x8a04,
    KLV_VF_THRESHOLD_PAGE_FAULT = 0x8a05,
    KLV_VF_THRESHOLD_H2G        = 0x8a06,
    KLV_VF_THRESHOLD_IRQ        = 0x8a07,
    KLV_VF_THRESHOLD_DOORBELL   = 0x8a08,
    KLV_VF_BEGIN_DOORBELL       = 0x8a0a,
    KLV_VF_BEGIN_CONTEXT        = 0x8a0b,
    KLV_VF_SCHED_PRIORITY       = 0x8a0c,
    KLV_VF_THRESHOLD_MULTI_LRC  = 0x8a0d,
    KLV_VF_GROUP_EXEC_QUANTUM   = 0x8a0e,
    KLV_VF_GROUP_PREEMPT        = 0x8a0f,
};

#endif
