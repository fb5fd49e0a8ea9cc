/* Convolutions 3x3 of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv
 * 1509.09308), exact in whole numbers: a tile of 4x4 outputs takes 36 products of a channel instead of 144.
 *
 * With d the tile's 6x6 codes, g the 3x3 weights of a pair of channels, everything below modulo 2^32:
 *
 *   y = F A [sum over channels (G g G^T) . (B d B^T)] A^T F
 *
 *       4  0 -5  0  1  0         6  0  0
 *       0 -4 -4  1  1  0         1  1  1        1  1  1  1  1  0   with -4, -4 for 1, 1 of the
 *   B = 0  4 -4 -1  1  0     G = 1 -1  1    A = 0 -2  2  1 -1  0   first row's second and third
 *       0 -2 -1  2  1  0         1  2  4        0 -1 -1  1  1  0
 *       0  2 -1 -2  1  0         1 -2  4        0 -1  1  2 -2  1   F = diag(1/24, 1/12, 1/6, 1/6)
 *       0  4  0 -5  0  1         0  0  6
 *
 * B and G are the usual matrices with denominators taken out, which A and F take in. B d B^T lies in
 * [-17340, 17340] for codes of 0..255, G g G^T in [-6272, 6223]: 16 bits. A's sums are whole multiples of 9
 * 2^e, e = 2 to 6: multiplied by 9's inverse modulo 2^32 and shifted by e they are the sums of products
 * themselves, if these fit 26 bits. */
#ifndef MQ_RUNTIME_SIMD_WINOGRAD_H
#define MQ_RUNTIME_SIMD_WINOGRAD_H

#include "runtime/simd/dot.h"

#define RUNTIME_WINOGRAD_PLACES 36 /* of a tile's 6x6 */
#define RUNTIME_WINOGRAD_TILE 4    /* outputs by outputs */
#define RUNTIME_WINOGRAD_TILES 6   /* multiplied at once */
#define RUNTIME_WINOGRAD_WIDE 32   /* input channels transformed at once */
#define RUNTIME_WINOGRAD_BITS 26   /* of the sums, with the sign */
#define RUNTIME_WINOGRAD_POWERS \
  { 3, 2, 1, 1 }                                      /* of 2 in 1 / F */
#define RUNTIME_WINOGRAD_INVERSE UINT32_C(0x38e38e39) /* 9 times this is 1 modulo 2^32 */

/* m[t, c] = sum over channels k of v[t, k] u[k, c], for some tiles and blocks of 16 output channels. */
struct runtime_winograd_product {
  const int16_t *v; /* tile x channels */
  int64_t n_pairs;  /* of channels */
  const int16_t *u; /* pair x blocks x 16 x 2 */
  int32_t *m;       /* tile x blocks x 16 */
};
typedef void (*runtime_winograd_product_fn)(const struct runtime_winograd_product *job);

struct runtime_winograd {
  int max_blocks;
  /* B d B^T of 32 codes each of 6x6 pixels: v[place place_step + channel]. */
  void (*transform_codes)(int16_t *v, int64_t place_step, const unsigned char *x, int64_t row_bytes,
                          int64_t pixel_bytes);
  runtime_winograd_product_fn multiply[RUNTIME_MAX_BLOCKS + 1]
                                      [RUNTIME_WINOGRAD_TILES + 1]; /* blocks, tiles */
  /* The sums of 16 channels: y[(4 row + column) y_step + channel] from m[place place_step + channel]. */
  void (*transform_sums)(int32_t *y, int64_t y_step, const int32_t *m, int64_t place_step);
};
MQ_SIMD_DECLARE(runtime_winograd)
const struct runtime_winograd *runtime_winograd_vnni(void);

static inline const struct runtime_winograd *runtime_winograd_of(runtime_level level) {
  return level == RUNTIME_VNNI ? runtime_winograd_vnni() : runtime_winograd_at(runtime_simd(level));
}

#endif
