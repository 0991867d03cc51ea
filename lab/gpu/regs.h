/*
 * Offsets and bits of the registers that the model knows, in BAR0.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VMTB_GPU_REGS_H
#define VMTB_GPU_REGS_H

/* BAR0: registers, then the page table entries of the GGTT */
#define REGS_SIZE               (4 * MiB)
#define GSM_OFFSET              (8 * MiB)
#define GSM_SIZE                (8 * MiB)
#define BAR0_SIZE               (16 * MiB)
#define GGTT_SIZE               (4 * GiB)

/* a block of 1 KiB for each function: interrupts and GuC scratch registers */
#define FN_BASE                 0x190000u
#define FN_STRIDE               0x400u
#define FN_MSTR_TILE_INTR       0x008
#define FN_GFX_MSTR_INTR        0x010
#define FN_GT_INTR_DW0          0x018
#define FN_GT_INTR_DW1          0x01c
#define FN_IIR_SELECTOR0        0x070
#define FN_IIR_SELECTOR1        0x074
#define FN_INTR_IDENTITY0       0x060
#define FN_INTR_IDENTITY1       0x064
#define FN_VF_SW_FLAG           0x240
#define FN_GUC_HOST_INTERRUPT   0x1f0
#define FN_VF_CAP               0x1f8
#define FN_MED_HOST_INTERRUPT   0x304
#define FN_MED_VF_SW_FLAG       0x310

/* registers of a GT, below GT_REGS_SIZE; those of the media GT lie MEDIA_OFFSET higher */
#define GT_REGS_SIZE            0x040000u
#define MEDIA_OFFSET            0x380000u

#define GMD_ID                  0x000d8c
#define RPM_CONFIG0             0x000d00
#define MISC_STATUS_0           0x00a500
#define FORCEWAKE_ACK_GT        0x000dfc
#define FORCEWAKE_ACK_RENDER    0x000d84
#define FORCEWAKE_ACK_MEDIA_VDBOX 0x000d50
#define FORCEWAKE_ACK_MEDIA_VEBOX 0x000d70
#define MTL_STEER_SEMAPHORE     0x000fd0
#define MCR_SELECTOR            0x000fd4
#define MCR_MULTICAST           (1u << 31)
#define FORCEWAKE_GT            0x00a188
#define FORCEWAKE_RENDER        0x00a278
#define FORCEWAKE_MEDIA_VDBOX   0x00a540
#define FORCEWAKE_MEDIA_VEBOX   0x00a560
#define XEHP_FUSE4              0x009114
#define MIRROR_FUSE3            0x009118
#define MIRROR_L3BANK_ENABLE    0x009130
#define XELP_EU_ENABLE          0x009134
#define XELP_GT_GEOMETRY_DSS    0x00913c
#define XEHP_GT_COMPUTE_DSS     0x009144
#define GT_VEBOX_VDBOX          0x009140
#define FUSE_PRODUCTION         0x009120
#define GDRST                   0x00941c
#define GDRST_FULL              (1u << 0)
#define GDRST_GUC               (1u << 3)
#define AUX_INV                 0x004274
#define LMEM_CFG                0x0048b0
#define LMEM_CFG_EN             (1u << 31)
#define LMEM_CFG_DIR            0x7fffffffull
#define XELPMP_GSC_INV          0x00b404
#define L3_INV                  0x00b418
#define GUC_STATUS              0x00c000
#define GUC_STATUS_MIA_IN_RESET (1u << 0)
#define GUC_STATUS_READY        ((2u << 30) | (0xf0u << 8) | (0x76u << 1))
#define GUC_WOPCM_SIZE          0x00c050
#define HUC_KERNEL_LOAD_INFO    0x00c1dc
#define HUC_LOADED              (1u << 0)
#define DMA_CTRL                0x00c314
#define DMA_START               ((1u << 4) | (1u << 0))
#define DMA_GUC_WOPCM_OFFSET    0x00c340
#define GUC_PMTIMESTAMP_LO      0x00c3e8
#define GUC_PMTIMESTAMP_HI      0x00c3ec
#define GUC_SEND_INTERRUPT      0x00c4c8
#define GUC_TLB_INV_CR          0x00cee8
#define PVC_GUC_TLB_INV_DESC0   0x00cf7c
#define PVC_GUC_TLB_INV_DESC1   0x00cf80
#define DE_PIPE_IIR             0x0444e8
#define PCU_IIR                 0x0444f8
#define DRIVER_FLR              0x10100c
#define GU_CNTL                 0x101010
#define GU_CNTL_LMEM_INIT       (1u << 7)
#define GU_CNTL_DRIVERFLR       (1u << 31)
#define DRIVERFLR_DONE          0x101018
#define GGC                     0x108040
#define DSMBASE                 0x1080c0
#define GSMBASE                 0x108100
#define SG_TILE_ADDR_RANGE      0x1083a0
#define PCODE_MAILBOX           0x138124
#define PCODE_READY             (1u << 31)
#define PCODE_INIT_STATUS       0x7e
#define PCODE_DATA0             0x138128
#define PCODE_DATA1             0x13812c
#define VF_WA_DUMMY             0x130030
#define RP_STATE_CAP            0x138000
#define RP_STATE_RPE            0x138008
#define RP_STATE_RPA            0x13800c
#define MEDIA_STATE_CAP         0x138020
#define MEDIA_STATE_RPA         0x138028
#define MEDIA_STATE_RPE         0x13802c
#define PUNIT_TELEMETRY_GUID    0x35b004
#define HECI2_FWSTS2            0x374c48
#define HECI2_FWSTS2_NVM_LOCKED (1u << 3)

/* engine registers, relative to the engine's base */
#define RING_IDLEDLY_MAXCNT     0x054
#define RING_WATCHDOG_CTL       0x178
#define RING_TIMESTAMP          0x358
#define RING_TIMESTAMP_UDW      0x35c
#define RING_CTX_TIMESTAMP      0x3a8
#define RING_CTX_TIMESTAMP_UDW  0x3ac
#define RING_GPR0               0x600
#define RING_GPR_END            0x680

/* dwords of the register state page of a context image */
#define LRC_RING_HEAD           0x05
#define LRC_RING_TAIL           0x07
#define LRC_RING_START          0x09
#define LRC_RING_CTL            0x0b
#define LRC_CTX_TIMESTAMP       0x23
#define LRC_CTX_TIMESTAMP_UDW   0x25
#define LRC_ASID                0x2f
#define LRC_PDP0_UDW            0x31
#define LRC_PDP0_LDW            0x33
#define LRC_INT_STATUS_PTR      0x57
#define LRC_INT_SRC_PTR         0x59

/* page table entries of GGTT and PPGTT */
#define PTE_PRESENT             (1ull << 0)
#define PPGTT_PTE_RW            (1ull << 1)
#define PTE_LARGE               (1ull << 7)
#define PTE_NULL                (1ull << 9)
#define PTE_ADDR                0x000ffffffffff000ull
#define PPGTT_PTE_LOCAL         (1ull << 11)
#define GGTT_PTE_LOCAL          (1ull << 1)
#define GGTT_PTE_VFID_SHIFT     2
#define GGTT_PTE_VFID           (0x3ffull << GGTT_PTE_VFID_SHIFT)

#endif
