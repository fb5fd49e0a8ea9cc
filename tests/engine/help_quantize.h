/* x -> FakeQuantize -> Conv (weights fake-quantized; bias, or batch normalisation behind it) -> Relu ->
 * FakeQuantize -> logits, as a graph with its points, and the same by hand: the public quantizer functions on
 * plain buffers around a convolution in double, the chain rule step by step. */
#ifndef MQ_TESTS_HELP_QUANTIZE_H
#define MQ_TESTS_HELP_QUANTIZE_H

#include "help_gradients.h"

struct quantize_case {
  const char *method;
  int bits;
  bool is_affine;      /* activations asymmetric and unsigned; otherwise symmetric, signed and unsigned */
  bool is_per_channel; /* of weights */
  bool is_power_of_two;
  double option; /* NAN: default */
  bool is_published;
};
extern const struct quantize_case quantize_cases[];
extern const size_t n_quantize_cases;

enum {
  POINT_X,
  POINT_W,
  POINT_R,
  N_POINTS,
  POINT_NONE = N_POINTS, /* never calibrated: behind learned numbers that stay floats */
  N_GRAPH_POINTS
};

/* A quantizer at a tensor of n_rows rows; activations in slices of rows_per_slice. */
struct stage {
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  int64_t n_rows, row_count, rows_per_slice;
  size_t n_parameters;
  float *parameters, *gradients;
  double *form, *statistics, *sums;
};

struct quantize_net {
  struct net net;
  struct gradient_batch batch;
  struct mq_point points[N_GRAPH_POINTS];
  struct stage stages[N_POINTS];
  bool has_norm;
  float *x, *w, *b, *gamma;                                   /* what is quantized; bias or beta, and gamma */
  float *xq, *wq, *z, *a, *r, *y;                             /* a: z, or z normalised; y: logits */
  float *g_y, *g_r, *g_a, *g_z, *g_xq, *g_wq, *g_b, *g_gamma; /* gradients of the loss */
  float *g_x, *g_shift, *g_w; /* shift: learned numbers added to every image */
  double loss;
  int64_t n_x, n_w, n_b, n_y; /* elements; x and y of the whole batch */
};

/* Calibrated by the method's own observers over the batch. */
void quantize_net_init(struct quantize_net *q, const struct quantize_case *c, bool has_norm);
void quantize_net_deinit(struct quantize_net *q);
/* Evaluation without batch normalisation only: running statistics are not followed. */
void quantize_net_forward(struct quantize_net *q, bool is_training);
/* After a forward pass in training. */
void quantize_net_backward(struct quantize_net *q);
/* What the methods themselves change in their parameters after a step. */
void quantize_net_update(struct quantize_net *q);
struct mq_trainer_options quantize_net_options(struct quantize_net *q);

#endif
