/* Random numbers that are functions of a seed and a name. */
#include "zoo/draw.h"

#include <math.h>

#include "mqbench/kernel.h"

/* FNV-1a (Fowler, Noll, Vo), 64 bits. */
static uint64_t hash_name(const char *name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (; *name; name++) {
    hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
  }
  return hash;
}

/* Marsaglia and Tsang, "The ziggurat method for generating random variables", 2000, in Doornik's form of
 * 2005: the half bell exp(-x^2 / 2) covered by LAYERS pieces of equal area. edge[i] is where piece i ends,
 * edge[1] where the tail begins; piece 0 is a rectangle and the tail, edge[0] its width if it were all
 * rectangle. */
#define LAYERS 128

struct ziggurat {
  double edge[LAYERS + 1];
  double inside[LAYERS]; /* edge[i + 1] / edge[i]: that part of a piece lies under the curve */
};

static void build_ziggurat(struct ziggurat *z) {
  const double tail = 3.442619855899, area = 9.91256303526217e-3;
  z->edge[0] = area / mq_exp(-0.5 * tail * tail);
  z->edge[1] = tail;
  for (int i = 2; i < LAYERS; i++) {
    double x = z->edge[i - 1];
    z->edge[i] = sqrt(-2.0 * mq_log(area / x + mq_exp(-0.5 * x * x)));
  }
  z->edge[LAYERS] = 0;
  for (int i = 0; i < LAYERS; i++) {
    z->inside[i] = z->edge[i + 1] / z->edge[i];
  }
}

/* In (0, 1): a logarithm is taken of it. */
static double draw_open(struct mq_rng *rng) {
  return (mq_rng_u32(rng) + 0.5) * 0x1p-32;
}

/* Beyond edge[1]: Marsaglia 1964. */
static double draw_tail(const struct ziggurat *z, struct mq_rng *rng) {
  for (;;) {
    double x = -mq_log(draw_open(rng)) / z->edge[1], y = -mq_log(draw_open(rng));
    if (2 * y > x * x) {
      return z->edge[1] + x;
    }
  }
}

/* 7 bits choose the piece, 25 the place in it; 98 of 100 end at the first test. */
static double draw_normal(const struct ziggurat *z, struct mq_rng *rng) {
  for (;;) {
    uint32_t word = mq_rng_u32(rng), i = word % LAYERS;
    double u = (double)(word / LAYERS) * 0x1p-24 - 1.0, x = u * z->edge[i];
    if (fabs(u) < z->inside[i]) {
      return x;
    }
    if (i == 0) {
      return u < 0 ? -draw_tail(z, rng) : draw_tail(z, rng);
    }
    double outer = mq_exp(-0.5 * (z->edge[i] * z->edge[i] - x * x));
    double inner = mq_exp(-0.5 * (z->edge[i + 1] * z->edge[i + 1] - x * x));
    if (inner + draw_open(rng) * (outer - inner) < 1.0) {
      return x;
    }
  }
}

void zoo_draw(struct mq_tensor *tensor, const struct zoo_distribution *distribution, uint64_t seed,
              const char *name) {
  float *values = tensor->data;
  int64_t n = mq_shape_count(&tensor->shape);
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_INIT, hash_name(name), 0);
  if (distribution->law == ZOO_NORMAL) {
    struct ziggurat z;
    build_ziggurat(&z);
    for (int64_t i = 0; i < n; i++) {
      values[i] = (float)(distribution->scale * draw_normal(&z, &rng));
    }
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    double unit = distribution->law == ZOO_UNIFORM ? 2.0 * mq_rng_float(&rng) - 1.0 : 1.0;
    values[i] = (float)(distribution->scale * unit);
  }
}
