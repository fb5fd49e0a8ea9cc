/* An export of a small network's bundle, and its plain model. */
#ifndef MQ_TESTS_HELP_EXPORT_H
#define MQ_TESTS_HELP_EXPORT_H

#include "help_bundle.h"

struct exported {
  struct mq_bundle bundle;
  struct mq_graph *model; /* STEM.onnx; NULL where the reader does not take it */
  char stem[900];
};

/* Quantizes for the target, writes the bundle and exports it; fails the test if that fails. `change` (may be
 * NULL) may alter the points before. */
void export_bundle(struct exported *exported, const char *format, const char *target, int w_bits, int a_bits,
                   void (*change)(struct mq_prepared *prepared));
void drop_export(struct exported *exported);
/* STEM and suffix: freed with json_decref, free. */
json_t *load_exported(const struct exported *exported, const char *suffix);
char *read_exported(const struct exported *exported, const char *suffix);

/* The integers that weights of the export give on a grid are those of the bundle. `scale` and `zero` one for
 * each of the point's channels. */
void assert_same_integers(const struct exported *exported, const struct mq_point *point, const float *scale,
                          const int32_t *zero, int32_t lo, int32_t hi);
/* The point's tensor is clipped to its range in the model: behind it, or it is itself the clipped one. */
void assert_clipped(const struct exported *exported, const struct mq_point *point, bool is_clipped);
const struct mq_point *find_point(const struct exported *exported, const char *tensor);

#endif
