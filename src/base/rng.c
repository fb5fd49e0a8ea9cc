/* Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "base/philox.h"

#include <assert.h>

#include "mqbench/base.h"

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

void mq_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p0;
    k0 += PHILOX_W0;
    k1 += PHILOX_W1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* The stream's key is seed and purpose mixed by one Philox call; its counter is (a, b) hashed likewise in the
 * upper words and a running number in the lowest. */
void mq_rng_init(struct mq_rng *rng, uint64_t seed, mq_rng_purpose purpose, uint64_t a, uint64_t b) {
  uint32_t mixed[4];
  const uint32_t seed_words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  const uint32_t purpose_words[4] = {(uint32_t)purpose, (uint32_t)a, (uint32_t)(a >> 32), 0};
  mq_philox(mixed, purpose_words, seed_words);
  rng->key[0] = mixed[0];
  rng->key[1] = mixed[1];
  rng->counter[0] = 0;
  rng->counter[1] = (uint32_t)b;
  rng->counter[2] = (uint32_t)(b >> 32);
  rng->counter[3] = mixed[2];
  rng->n_left = 0;
}

uint32_t mq_rng_u32(struct mq_rng *rng) {
  if (rng->n_left == 0) {
    mq_philox(rng->block, rng->counter, rng->key);
    rng->counter[0]++;
    rng->n_left = 4;
  }
  return rng->block[4 - rng->n_left--];
}

/* Lemire's multiplication with rejection: unbiased. */
uint32_t mq_rng_below(struct mq_rng *rng, uint32_t n) {
  assert(n >= 1);
  uint32_t threshold = (0u - n) % n;
  for (;;) {
    uint64_t product = (uint64_t)mq_rng_u32(rng) * n;
    if ((uint32_t)product >= threshold) {
      return (uint32_t)(product >> 32);
    }
  }
}

float mq_rng_float(struct mq_rng *rng) {
  return (float)(mq_rng_u32(rng) >> 8) * 0x1p-24f;
}

double mq_rng_double(struct mq_rng *rng) {
  uint64_t high = mq_rng_u32(rng) >> 5, low = mq_rng_u32(rng) >> 6; /* 27 + 26 bits */
  return (double)((high << 26) | low) * 0x1p-53;
}
