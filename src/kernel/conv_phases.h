/* Backward by data of a strided convolution with few input channels: a network's first one, where the
 * library pads 3 channels to 16 and multiplies with the zeros.
 *
 * Pixel (s i + p) of dx meets only every s-th tap. All s x s pixels of a cell i together are the output
 * channels of one convolution of dy with stride 1:
 *
 *   cell[i, p, c] = sum over o, t of dy[i + begin + t, o] w[o, c, k],  k = p + pad - s (begin + t)
 *
 * (along one axis; 0 where k is no tap), forward, where the library is at its best. */
#ifndef MQ_KERNEL_CONV_PHASES_H
#define MQ_KERNEL_CONV_PHASES_H

#include "kernel/onednn.h"

struct mq_conv_phases;
/* geometry: the convolution whose x is wanted. */
bool mq_conv_phases_can(const struct mq_onednn_geometry *geometry);
mq_status mq_conv_phases_create(struct mq_conv_phases **phases, const struct mq_onednn_geometry *geometry,
                                mq_onednn_numbers numbers, struct mq_err *err) MQ_MUST_CHECK;
void mq_conv_phases_destroy(struct mq_conv_phases *phases);
const char *mq_conv_phases_implementation(const struct mq_conv_phases *phases);
size_t mq_conv_phases_weights_bytes(const struct mq_conv_phases *phases);
size_t mq_conv_phases_pack_scratch_bytes(const struct mq_conv_phases *phases);
size_t mq_conv_phases_run_scratch_bytes(const struct mq_conv_phases *phases);
/* weights: row-major float32. */
mq_status mq_conv_phases_pack(const struct mq_conv_phases *phases, void *packed, const float *weights,
                              void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* dy: float32, or bfloat16 if so created. */
mq_status mq_conv_phases_run(const struct mq_conv_phases *phases, float *dx, const void *dy,
                             const void *packed, void *scratch, struct mq_err *err) MQ_MUST_CHECK;

#endif
