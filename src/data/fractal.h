/* Formula-driven images: classes are random iterated function systems.
 *
 * Kataoka et al., "Pre-training without Natural Images", ACCV 2020: an image is the attractor of an iterated
 * function system, drawn by the chaos game; a class is a system, its instances vary the parameters. Only
 * integers and double-precision + - * / sqrt in a fixed order are used, so an image has the same bytes
 * everywhere. */
#ifndef MQ_DATA_FRACTAL_H
#define MQ_DATA_FRACTAL_H

#include "mqbench/data.h"

/* Changes whenever the images of the same parameters change; part of the data set's hash. */
#define MQ_FRACTAL_REVISION 1
#define MQ_FRACTAL_MAX_MAPS 8
#define MQ_FRACTAL_MIN_SIZE 8
#define MQ_FRACTAL_MAX_SIZE 512

/* (x, y) -> (m[0] x + m[1] y + m[4], m[2] x + m[3] y + m[5]) */
struct mq_fractal_map {
  double m[6];
  uint32_t below; /* drawn when a uniform 32-bit number is below this and not below the previous map's */
};
struct mq_fractal {
  int n_maps;
  struct mq_fractal_map maps[MQ_FRACTAL_MAX_MAPS];
};

/* The system of a class: the first random one of its stream whose attractor fills enough of its box. */
void mq_fractal_find(struct mq_fractal *fractal, uint64_t seed, int64_t class_index);

struct mq_fractal_instance {
  uint64_t seed;
  int64_t index; /* of the image within its split */
  bool is_test;
  int64_t size; /* pixels of a side */
};
/* Draws an instance into pixels[size x size x 3]. */
mq_status mq_fractal_draw(uint8_t *pixels, const struct mq_fractal *fractal,
                          const struct mq_fractal_instance *instance, struct mq_err *err) MQ_MUST_CHECK;

#endif
