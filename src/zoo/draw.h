/* Initial values of parameters. */
#ifndef MQ_ZOO_DRAW_H
#define MQ_ZOO_DRAW_H

#include "mqbench/tensor.h"

typedef enum zoo_law {
  ZOO_CONSTANT, /* scale itself */
  ZOO_NORMAL,   /* mean 0, standard deviation scale */
  ZOO_UNIFORM,  /* in [-scale, scale) */
} zoo_law;

struct zoo_distribution {
  zoo_law law;
  double scale;
};

/* Fills a row-major float32 tensor. What is drawn is a function of seed, name and element: it depends neither
 * on what else was drawn nor on the CPU. */
void zoo_draw(struct mq_tensor *tensor, const struct zoo_distribution *distribution, uint64_t seed,
              const char *name);

#endif
