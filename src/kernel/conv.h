/* What convolution and matrix product share: checks of what comes from files, and a look at what was chosen.
 */
#ifndef MQ_KERNEL_CONV_H
#define MQ_KERNEL_CONV_H

#include "mqbench/kernel.h"

/* Sizes that fit together and into the library's 32-bit loops; the output's shape. */
mq_status mq_conv_check(struct mq_shape *output, const struct mq_conv_desc *desc,
                        struct mq_err *err) MQ_MUST_CHECK;
/* Scratch memory is cut into parts of this size, so that each is aligned. */
static inline size_t mq_scratch_round(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}
/* The name of the implementation behind a prepared kernel, such as "brgconv:avx512_core" (tests, benchmarks).
 */
const char *mq_conv_implementation(const struct mq_conv *conv);
const char *mq_matmul_implementation(const struct mq_matmul *matmul);

#endif
