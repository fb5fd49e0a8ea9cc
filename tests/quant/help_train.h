/* Training steps of a quantizer as the engine makes them, golden files with such steps (make_golden_b.py),
 * and what every quantizer has to keep to. */
#ifndef MQ_TESTS_HELP_TRAIN_H
#define MQ_TESTS_HELP_TRAIN_H

#include "mqbench/quant.h"

/* A quantizer at one tensor: n_rows of row_count values; activations in slices of rows_per_slice. */
struct train {
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  int64_t n_rows, row_count, rows_per_slice;
  size_t n_parameters; /* values of all parameters */
  float *parameters;
  double *form, *statistics, *sums;
};
/* config.n_rows and n_elements are filled in where they are 0. Parameters are 0. */
struct train train_begin(const char *method, const struct mq_quantizer_config *config, int64_t n_rows,
                         int64_t row_count, int64_t rows_per_slice);
void train_end(struct train *train);
struct mq_quantizer_config train_config(int bits, bool is_signed, bool is_weight); /* academic */

/* Parameters from the method's own observer over x. */
void train_init(struct train *train, const float *x);
/* Statistics in tree order, then the form. Evaluation looks at the data only where the contract lets it. */
void train_derive(struct train *train, const float *x, bool is_training);
void train_forward(float *y, const struct train *train, const float *x);
/* train->sums anew. dx may be g. */
void train_backward(float *dx, struct train *train, const float *g, const float *x);
/* Gradients of all parameters; NAN stays where there is none. */
void train_finish(float *gradients, struct train *train);
void train_update(struct train *train);

/* Every case of golden/<method>.txt. */
void check_golden(const char *method, double tolerance);

/* In place; added gradients; y or codes alone; codes agree with y; values that are not finite; parameters
 * that are not finite; a frozen weight under plain fake quantization; slices of other sizes; what `grid` says
 * is has_grid. The parameters are as `train` has them. */
void check_contract(struct train *train, const float *x, bool has_grid);
/* check() refuses this one with a line that has `part`. */
void check_refuses(const char *method, const struct mq_quantizer_config *config, const char *part);
/* Everything but signed or unsigned per-tensor symmetric float scales is refused. */
void check_is_academic(const char *method, int bits);

/* Slope of f at *at by central differences. */
typedef double (*train_loss_fn)(const void *context);
double numeric_slope(float *at, float step, train_loss_fn loss, const void *context);
void check_near(double got, double want, double tolerance, const char *what, int64_t at);

#endif
