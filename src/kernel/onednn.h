/* Everything that speaks to oneDNN (2.6, C API) is in onednn*.c; this is what the rest of kernel/ sees. */
#ifndef MQ_KERNEL_ONEDNN_H
#define MQ_KERNEL_ONEDNN_H

#include "mqbench/kernel.h"

/* Caps the instruction set and creates the engine. Before any other call of the library. */
mq_status mq_onednn_start(mq_isa cap, struct mq_err *err) MQ_MUST_CHECK;
/* oneDNN partitions work by the OpenMP thread count of the thread that creates and runs a primitive: 1. */
void mq_onednn_use_one_thread(void);

#endif
