/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of the additional bindgen run, for declarations that kernel::bindings lacks. bindgen
 * does not see macros with a cast, so a variable here holds the value of each.
 */

#include <linux/blk-cgroup.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/compat.h>
#include <linux/falloc.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <uapi/linux/loop.h>

#include "helpers.h"

const blk_status_t RUST_LOOP_CONST_BLK_STS_OK = BLK_STS_OK;
const blk_status_t RUST_LOOP_CONST_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
const blk_status_t RUST_LOOP_CONST_BLK_STS_IOERR = BLK_STS_IOERR;

const blk_features_t RUST_LOOP_CONST_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
const blk_features_t RUST_LOOP_CONST_BLK_FEAT_FUA = BLK_FEAT_FUA;
const blk_features_t RUST_LOOP_CONST_BLK_FEAT_ROTATIONAL = BLK_FEAT_ROTATIONAL;
const blk_features_t RUST_LOOP_CONST_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
const blk_features_t RUST_LOOP_CONST_BLK_FEAT_IO_STAT = BLK_FEAT_IO_STAT;
const blk_features_t RUST_LOOP_CONST_BLK_FEAT_ADD_RANDOM = BLK_FEAT_ADD_RANDOM;

const blk_flags_t RUST_LOOP_CONST_BLK_FLAG_WRITE_CACHE_DISABLED = BLK_FLAG_WRITE_CACHE_DISABLED;
const blk_flags_t RUST_LOOP_CONST_BLK_FLAG_IOSTATS_PASSTHROUGH = BLK_FLAG_IOSTATS_PASSTHROUGH;

const size_t RUST_LOOP_CONST_THREAD_SIZE = THREAD_SIZE;

const unsigned int RUST_LOOP_CONST_BLK_MQ_F_STACKING = BLK_MQ_F_STACKING;
const unsigned int RUST_LOOP_CONST_BLK_MQ_F_NO_SCHED_BY_DEFAULT = BLK_MQ_F_NO_SCHED_BY_DEFAULT;
const unsigned int RUST_LOOP_CONST_BLK_MQ_F_TAG_HCTX_SHARED = BLK_MQ_F_TAG_HCTX_SHARED;

const blk_mode_t RUST_LOOP_CONST_BLK_OPEN_WRITE = BLK_OPEN_WRITE;
const blk_mode_t RUST_LOOP_CONST_BLK_OPEN_EXCL = BLK_OPEN_EXCL;

const u32 RUST_LOOP_CONST_REQ_NOUNMAP = (__force u32)REQ_NOUNMAP;
const u32 RUST_LOOP_CONST_REQ_OP_MASK = (__force u32)REQ_OP_MASK;
const u32 RUST_LOOP_CONST_REQ_FUA = (__force u32)REQ_FUA;
const u32 RUST_LOOP_CONST_REQ_SWAP = (__force u32)REQ_SWAP;

const req_flags_t RUST_LOOP_CONST_RQF_QUIET = RQF_QUIET;
const req_flags_t RUST_LOOP_CONST_RQF_IO_STAT = RQF_IO_STAT;

const fmode_t RUST_LOOP_CONST_FMODE_WRITE = FMODE_WRITE;
const fmode_t RUST_LOOP_CONST_FMODE_CAN_ODIRECT = FMODE_CAN_ODIRECT;

const fmode_t RUST_LOOP_CONST_FMODE_NOWAIT = FMODE_NOWAIT;

const int RUST_LOOP_CONST_IOCB_NOWAIT = IOCB_NOWAIT;
const int RUST_LOOP_CONST_IOCB_DIRECT = IOCB_DIRECT;
const int RUST_LOOP_CONST_IOCB_DSYNC = IOCB_DSYNC;

const gfp_t RUST_LOOP_CONST_GFP_IO_FS = __GFP_IO | __GFP_FS;

const unsigned int RUST_LOOP_CONST_PF_LOCAL_THROTTLE = PF_LOCAL_THROTTLE;
const unsigned int RUST_LOOP_CONST_PF_MEMALLOC_NOIO = PF_MEMALLOC_NOIO;
const unsigned int RUST_LOOP_CONST_PF_MEMALLOC = PF_MEMALLOC;

const unsigned int RUST_LOOP_CONST_KERNEL_PARAM_OPS_FL_NOARG = KERNEL_PARAM_OPS_FL_NOARG;

const unsigned int RUST_LOOP_CONST_TIMER_DEFERRABLE = TIMER_DEFERRABLE;

const unsigned int RUST_LOOP_CONST_WQ_UNBOUND = WQ_UNBOUND;
const unsigned int RUST_LOOP_CONST_WQ_PERCPU = WQ_PERCPU;
const unsigned int RUST_LOOP_CONST_WQ_CPU_INTENSIVE = WQ_CPU_INTENSIVE;
const unsigned int RUST_LOOP_CONST_WQ_FREEZABLE = WQ_FREEZABLE;
const unsigned int RUST_LOOP_CONST_WQ_MEM_RECLAIM = WQ_MEM_RECLAIM;
const unsigned int RUST_LOOP_CONST_WQ_LEGACY = __WQ_LEGACY;
const unsigned int RUST_LOOP_CONST_WQ_MAX_ACTIVE = WQ_MAX_ACTIVE;

const unsigned int RUST_LOOP_CONST_DISK_EVENT_MEDIA_CHANGE = DISK_EVENT_MEDIA_CHANGE;
const unsigned int RUST_LOOP_CONST_DISK_EVENT_FLAG_UEVENT = DISK_EVENT_FLAG_UEVENT;
