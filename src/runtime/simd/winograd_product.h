/* Included with TARGET, PRODUCT (a name) and MULTIPLY (sum, x, w) defined: a tile of the products, whose sums
 * stay in registers. Two loops each, so that compilers unroll them. */
TARGET MQ_ALWAYS_INLINE void PRODUCT(const struct runtime_winograd_product *job, int n_blocks, int n_tiles) {
  const int width = n_blocks * VECTORS;
  const int64_t n = 2 * job->n_pairs;
  vec sums[RUNTIME_WINOGRAD_TILES][RUNTIME_MAX_BLOCKS * VECTORS], w[RUNTIME_MAX_BLOCKS * VECTORS];
  const int16_t *v = job->v, *u = job->u;
  MQ_SIMD_UNROLL
  for (int t = 0; t < n_tiles; t++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < width; b++)
      sums[t][b] = ZERO();
  }
  for (int64_t k = 0; k < n; k += 2, u += n_blocks * RUNTIME_BLOCK * 2) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < width; b++)
      w[b] = LOAD(u + b * LANES * 2);
    MQ_SIMD_UNROLL
    for (int t = 0; t < n_tiles; t++) {
      const vec x = REPEAT(pair_at(v + t * n + k));
      MQ_SIMD_UNROLL
      for (int b = 0; b < width; b++)
        sums[t][b] = MULTIPLY(sums[t][b], x, w[b]);
    }
  }
  MQ_SIMD_UNROLL
  for (int t = 0; t < n_tiles; t++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < width; b++)
      STORE(job->m + (t * width + b) * LANES, sums[t][b]);
  }
}
#undef TARGET
#undef PRODUCT
#undef MULTIPLY
