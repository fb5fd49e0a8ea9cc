/* Products and what becomes of their sums in one loop: sums never leave the registers. Only with VNNI, for
 * full tiles of the commonest arithmetics; everything else runs in two loops (dot.h, finish.h). */
#ifndef MQ_RUNTIME_SIMD_FUSED_H
#define MQ_RUNTIME_SIMD_FUSED_H

#include "runtime/simd/depthwise.h"
#include "runtime/simd/finish.h"

typedef void (*runtime_fused_fn)(const struct runtime_dot_job *job, const struct runtime_finish *finish,
                                 const struct runtime_tile *tile);

typedef void (*runtime_fused_depthwise_fn)(const struct runtime_depthwise_job *job,
                                           const struct runtime_finish *finish,
                                           const struct runtime_tile *tile);

struct runtime_fused {
  /* For tiles of `n_blocks` blocks and as many pixels as runtime_dot has in one; NULL: there is none. Not for
   * weights with zero points. */
  runtime_fused_fn (*find)(runtime_form form, bool has_shortcut, int n_blocks);
  /* Of any number of pixels; without a shortcut, and for windows of at most 12 taps. */
  runtime_fused_depthwise_fn (*find_depthwise)(runtime_form form, int64_t n_quads);
};
MQ_SIMD_DECLARE(runtime_fused)

#endif
