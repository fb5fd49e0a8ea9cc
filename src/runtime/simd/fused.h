/* Products and what becomes of their sums in one loop: sums never leave the registers. Only with VNNI, for
 * full tiles of quick layers; everything else runs in two loops (dot.h, finish.h). */
#ifndef MQ_RUNTIME_SIMD_FUSED_H
#define MQ_RUNTIME_SIMD_FUSED_H

#include "runtime/simd/finish.h"

typedef void (*runtime_fused_fn)(const struct runtime_dot_job *job, const struct runtime_finish *finish,
                                 const struct runtime_tile *tile);

struct runtime_fused {
  /* For full tiles of `n_blocks` blocks (of as many pixels as runtime_dot has in one), any number of them one
   * after the other; NULL: there is none. Not for weights with zero points. */
  runtime_fused_fn (*find)(const struct runtime_finish *finish, bool has_shortcut, int n_blocks);
};
MQ_SIMD_DECLARE(runtime_fused)

#endif
