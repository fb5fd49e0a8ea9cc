/* Products of u8 codes with s8 weights: a tile of pixels by blocks of 16 output channels, whose sums stay in
 * registers. Exact at every level: int32 wraps around, so that only the result must fit. */
#ifndef MQ_RUNTIME_SIMD_DOT_H
#define MQ_RUNTIME_SIMD_DOT_H

#include "runtime/simd.h"

#define RUNTIME_BLOCK 16      /* output channels */
#define RUNTIME_MAX_BLOCKS 4  /* beside each other */
#define RUNTIME_MAX_PIXELS 14 /* of a tile */
#define RUNTIME_MAX_TILE 384  /* sums of a tile: pixels x 16 blocks */

/* acc[p, c] = sum over segments s and bytes k of x[p][first + segment[s] + k] w[c, s, k]. Bytes come in fours
 * ("quads"): weights behind the last byte of a segment are 0. */
struct runtime_dot_job {
  const unsigned char *const *x; /* of each pixel */
  int64_t first;
  const int64_t *segments;
  int64_t n_segments, n_quads; /* quads of a segment */
  const signed char *weights;  /* block x segment x quad x 16 channels x 4 */
  int64_t block_bytes;
  int32_t *acc; /* pixels x 16 blocks; aligned to 64 */
};
typedef void (*runtime_dot_fn)(const struct runtime_dot_job *job);

struct runtime_dot {
  int max_blocks;
  int pixels[RUNTIME_MAX_BLOCKS + 1];                                /* of a full tile of that many blocks */
  runtime_dot_fn at[RUNTIME_MAX_BLOCKS + 1][RUNTIME_MAX_PIXELS + 1]; /* blocks, pixels */
};
MQ_SIMD_DECLARE(runtime_dot)
/* With VNNI; NULL where the compiler's target has none. */
const struct runtime_dot *runtime_dot_vnni(void);

static inline const struct runtime_dot *runtime_dot_of(runtime_level level) {
  return level == RUNTIME_VNNI ? runtime_dot_vnni() : runtime_dot_at(runtime_simd(level));
}

#endif
