/* One training step of a quantizer on one tensor, as the engine does it: activations slice by slice, what is
 * merged is merged in tree order. */
#ifndef MQ_TESTS_HELP_QUANTIZER_H
#define MQ_TESTS_HELP_QUANTIZER_H

#include "mqbench/quant.h"

struct step {
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  size_t n_parameters, n_statistics, n_form, n_sums;
  float *parameters, *gradients;
  double *statistics, *form, *sums;
  int64_t rows_per_slice; /* 0: all rows at once */
  int64_t n;
  float *y, *dx;
  uint8_t *codes; /* valid where has_grid */
  bool has_grid;  /* of 8 bits */
  struct mq_qparams grid;
  const float *least_scale;
  const char *observer; /* NULL: the method's own */
};

void step_init(struct step *step, const struct mq_quantizer_ops *ops,
               const struct mq_quantizer_config *config);
void step_deinit(struct step *step);
/* Initial values from the observer over x. */
void step_calibrate(struct step *step, const float *x, int64_t n_rows, int64_t row_count);
/* statistics, form, y, codes, grid. */
void step_forward(struct step *step, bool is_training, const float *x, int64_t n_rows, int64_t row_count);
/* All of it with dx, sums and gradients; parameters stay. */
void step_train(struct step *step, const float *x, const float *g, int64_t n_rows, int64_t row_count);
/* Which of the quantizer's parameters float i belongs to. */
int step_parameter_of(const struct step *step, int i);

struct mq_quantizer_config quantizer_config(const struct mq_scheme *scheme, bool is_weight, int64_t n_rows,
                                            int64_t row_count);
/* The grid's plain fake quantization of x equals `y` bit for bit, and codes their y. */
void check_on_grid(const struct step *step, const float *x, int64_t n_rows, int64_t row_count);

#endif
