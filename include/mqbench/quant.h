/* Quantization: schemes, scales and zero points, points, observers. (QAT quantizers will join: one const
 * table per algorithm, as observers have.)
 *
 * Notation as in the literature: real x, scale s > 0, zero point z, integers q in [n, p].
 *   q = clip(rne(x / s) + z, n, p),   x^ = s (q - z)
 * rne rounds half to even; the division is a division (not times 1/s); the clip is taken in float before the
 * conversion. */
#ifndef MQBENCH_QUANT_H
#define MQBENCH_QUANT_H

#include "mqbench/tensor.h"

typedef enum mq_scale_form {
  MQ_SCALE_FLOAT,
  MQ_SCALE_POT
} mq_scale_form; /* POT: power of two */

struct mq_scheme {
  uint8_t bits; /* 2..8, activations also 16 */
  bool is_signed;
  bool is_narrow; /* signed: without -2^(b-1) */
  bool is_symmetric;
  bool is_per_channel;
  bool is_sign_adaptive; /* data that is all >= 0 takes the unsigned range; decided at calibration */
  mq_scale_form scale_form;
};

/* [n, p] of a scheme: signed [-2^(b-1), 2^(b-1)-1], narrow [-(2^(b-1)-1), ..], unsigned [0, 2^b-1]. */
void mq_scheme_bounds(int32_t *quant_min, int32_t *quant_max, const struct mq_scheme *scheme);
/* The p of LSQ's rules (s = 2 mean|x| / sqrt(p), gradient scale 1/sqrt(N p)): 2^b-1 for a symmetric scheme on
 * an unsigned range, else 2^(b-1)-1, whatever the storage. */
int32_t mq_scheme_norm_max(const struct mq_scheme *scheme, bool is_unsigned);
mq_status mq_scheme_check(const struct mq_scheme *scheme, bool is_weight, const char *what,
                          struct mq_err *err) MQ_MUST_CHECK;
/* "int8 symmetric per-channel", "uint4 asymmetric per-tensor power-of-two": caller storage, returned. */
char *mq_scheme_format(char *text, size_t text_bytes, const struct mq_scheme *scheme);

/* A range that data answered: one per tensor or channel, lo <= hi, finite. */
struct mq_range {
  float lo, hi;
};

/* What a scheme and data come to. Arrays of n_channels, owned (mq_qparams_deinit). Plain data otherwise. */
struct mq_qparams {
  int64_t n_channels; /* 1: per tensor */
  int channel_axis;   /* of the tensor; -1: per tensor */
  int32_t quant_min, quant_max;
  bool is_signed; /* of the container; after sign adaptation */
  float *scale;
  int32_t *zero_point;
};
mq_status mq_qparams_init(struct mq_qparams *qparams, int64_t n_channels, int channel_axis,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_qparams_copy(struct mq_qparams *to, const struct mq_qparams *from,
                          struct mq_err *err) MQ_MUST_CHECK;
void mq_qparams_deinit(struct mq_qparams *qparams);

/* The only place that turns ranges into scales and zero points. For each channel c:
 *   asymmetric: lo = min(lo, 0), hi = max(hi, 0), s = (hi - lo)/(p - n), z = clip(n - rne(lo/s), n, p)
 *   symmetric:  s = max(|lo|, |hi|) / ((p - n)/2), z = 0; unsigned data in an unsigned range: s = hi/(p - n)
 * computed in float32 in the order written; then power of two: s = 2^rne(log2 s); s of an all-zero range is
 * 1; s is at least `least_scale[c]` (NULL: none; power of two: the next power above). Sign adaptation: lo >=
 * 0 everywhere takes [0, 2^b - 1]. `out` must be initialised with n_channels; range has n_channels entries.
 */
void mq_qparams_from_range(struct mq_qparams *out, const struct mq_scheme *scheme,
                           const struct mq_range *range, const float *least_scale);
/* From a scale and zero point that an observer found itself (norm, minmax_floor): the same form, safety and
 * limits applied. */
void mq_qparams_from_scale(struct mq_qparams *out, const struct mq_scheme *scheme, const float *scale,
                           const float *zero_point, bool is_non_negative, const float *least_scale);

/* Reference definitions (fast paths are in kernel/ and give the same bits). */
int32_t mq_quantize_value(float x, float scale, int32_t zero_point, int32_t quant_min, int32_t quant_max);
float mq_fake_quantize_value(float x, float scale, int32_t zero_point, int32_t quant_min, int32_t quant_max);
/* y = fake quantization of x, both float32, same shape, any strides; per channel along channel_axis. */
void mq_fake_quantize(struct mq_tensor *y, const struct mq_tensor *x, const struct mq_qparams *qparams);
/* q (int32, row-major, same shape) of x. */
void mq_quantize(struct mq_tensor *q, const struct mq_tensor *x, const struct mq_qparams *qparams);

/* ---- Points ---------------------------------------------------------------------------------------------
 * A quantization point: a tensor fake-quantized once and shared by its consumers. */
typedef enum mq_point_kind {
  MQ_POINT_WEIGHT,
  MQ_POINT_ACTIVATION,
  MQ_POINT_BIAS
} mq_point_kind;

struct mq_point {
  const char *tensor; /* the user's name of the tensor */
  const char *reason; /* why it is here, for people: "output of Conv conv1 after Relu relu1 (graph 2)" */
  mq_point_kind kind;
  struct mq_scheme scheme;
  int64_t n_channels;   /* of the scheme: 1, or the weight's output channels */
  int channel_axis;     /* -1: per tensor */
  int share;            /* points with the same share >= 0 have one scale and zero point (concat); -1: own */
  const char *observer; /* override of the run's observer, or NULL */
  struct mq_qparams qparams; /* n_channels 0 until calibrated */
};

/* ---- Observers -------------------------------------------------------------------------------------------
 * An observer sees data and answers a range, or a scale and zero point. One file and one const table each.
 * observe(slice) -> merge in tree order -> batch_end(running, batch) -> answer. States are flat plain data of
 * state_bytes, zeroed by the caller before init; no pointers inside; merge must be associative over the tree.
 * Data comes as rows: activations one row per image, weights one row per channel (per tensor: one row). */
struct mq_observer_config {
  struct mq_scheme scheme;
  bool is_weight;
  bool is_network_input;
  bool is_published;  /* the variant `published` of the paper's released code */
  int64_t n_channels; /* > 1: per channel, weights only */
  double parameter;   /* k, keep or a; NAN: the default of the observer */
  double parameter2;  /* second one where there is (quantile's EMA keep); NAN: default */
};

/* What an observer's parameter may be. */
struct mq_observer_limits {
  bool exists;
  bool excludes_min, excludes_max; /* the ends themselves */
  bool is_whole;
  double min, max;
};

struct mq_observer_ops {
  const char *name, *describes;
  uint32_t revision; /* part of a run's identity; raise when results change */
  bool is_for_weights, is_for_activations;
  struct mq_observer_limits parameter;
  size_t (*state_bytes)(const struct mq_observer_config *config);
  void (*init)(void *state, const struct mq_observer_config *config);
  /* rows[r * row_stride .. + row_count): n_rows rows. */
  void (*observe)(void *state, const struct mq_observer_config *config, const float *rows, int64_t n_rows,
                  int64_t row_count, int64_t row_stride);
  void (*merge)(void *into, const void *from, const struct mq_observer_config *config);
  /* Folds one batch's merged state into the running state; first: the running state is freshly inited. */
  void (*batch_end)(void *running, const void *batch, const struct mq_observer_config *config, bool is_first);
  /* `data` holds the weights' rows for observers that search exhaustively (NULL for activations).
   * MQ_BAD_INPUT when no data, or non-finite data, was seen. `out` is inited with config->n_channels. */
  mq_status (*answer)(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                      const float *data, int64_t row_count, const float *least_scale, struct mq_err *err);
};

size_t mq_observer_count(void);
const struct mq_observer_ops *mq_observer_at(size_t i);
/* NULL if there is none of that name. */
const struct mq_observer_ops *mq_observer_find(const char *name);

/* Whether a given parameter is one the observer takes: false for all where it has none, and for NAN. */
bool mq_observer_takes(const struct mq_observer_ops *observer, double parameter);

/* Weights in one call: rows of a constant (n_channels rows of row_count), all data at once. */
mq_status mq_observe_weights(struct mq_qparams *out, const struct mq_observer_ops *observer,
                             const struct mq_observer_config *config, const float *rows, int64_t row_count,
                             const float *least_scale, struct mq_err *err) MQ_MUST_CHECK;

#endif
