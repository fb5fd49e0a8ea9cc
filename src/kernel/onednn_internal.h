/* Shared by onednn*.c only: the library's types must not spread. */
#ifndef MQ_KERNEL_ONEDNN_INTERNAL_H
#define MQ_KERNEL_ONEDNN_INTERNAL_H

#include <dnnl.h>

#include "kernel/onednn.h"

dnnl_engine_t mq_onednn_engine(void); /* NULL before mq_onednn_start */
/* MQ_FAILED "oneDNN <call>: <why>" unless success. */
mq_status mq_onednn_check(dnnl_status_t status, const char *call, struct mq_err *err) MQ_MUST_CHECK;

#endif
