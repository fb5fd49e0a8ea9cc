/* Sums of a depthwise convolution: neighbouring pixels of a row by a block of 32 channels, exact at every
 * level. */
#ifndef MQ_RUNTIME_SIMD_DEPTHWISE_H
#define MQ_RUNTIME_SIMD_DEPTHWISE_H

#include "runtime/simd.h"

#define RUNTIME_DEPTHWISE_BLOCK 32
#define RUNTIME_DEPTHWISE_PIXELS 12

/* acc[p, c] = sum over taps t of x[taps[t] + p step + c] w[t, c]. Taps come in fours ("quads"): weights
 * behind the last are 0, and its address is that of some tap. Of a quad the weights of 4 taps lie beside each
 * other for each channel, channels in the order in which interleaved bytes come (runtime_depthwise_place). */
struct runtime_depthwise_job {
  const unsigned char *x; /* channels may be read past the last one that counts */
  const int64_t *taps;    /* 4 n_quads */
  int64_t n_quads, step;
  const signed char *weights; /* quad x 32 channels x 4 */
  int n_pixels;
  int32_t *acc; /* pixels x 32; aligned to 64 */
};

/* Where in a quad's weights tap t (0..3) of channel c (0..31) stands: 16-byte halves of 4 channels of each 16
 * side by side. */
static inline int64_t runtime_depthwise_place(int64_t t, int64_t c) {
  return c % 16 / 4 * 32 + c / 16 * 16 + c % 4 * 4 + t;
}

struct runtime_depthwise {
  void (*sums)(const struct runtime_depthwise_job *job);
  /* acc[p, c] -= w_zero[c] box[p, c] */
  void (*correct)(int32_t *acc, const int32_t *box, const int32_t *w_zero, int n_pixels);
};
MQ_SIMD_DECLARE(runtime_depthwise)
const struct runtime_depthwise *runtime_depthwise_vnni(void);

static inline const struct runtime_depthwise *runtime_depthwise_of(runtime_level level) {
  return level == RUNTIME_VNNI ? runtime_depthwise_vnni() : runtime_depthwise_at(runtime_simd(level));
}

#endif
