/* Quantization: schemes, scales and zero points, points, observers, quantizers.
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
  bool is_signed;       /* of the container; after sign adaptation */
  bool is_non_negative; /* the data that answered it were all >= 0 */
  float *scale;
  int32_t *zero_point;
  float *plain_scale; /* before it became a power of two: where a learned threshold starts; NULL or
                       * 0: not kept */
};
mq_status mq_qparams_init(struct mq_qparams *qparams, int64_t n_channels, int channel_axis,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_qparams_copy(struct mq_qparams *to, const struct mq_qparams *from,
                          struct mq_err *err) MQ_MUST_CHECK;
void mq_qparams_deinit(struct mq_qparams *qparams);
/* The clipping range (n - z) s .. (p - z) s, over channels the least and the largest; NAN without channels.
 */
void mq_qparams_clip_range(double *lo, double *hi, const struct mq_qparams *qparams);

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

/* ---- Observers -------------------------------------------------------------------------------------------
 * An observer sees data and answers a range, or a scale and zero point. One file and one const table each.
 * observe(slice) -> merge in tree order -> batch_end(running, batch) -> answer. States are flat plain data of
 * state_bytes, zeroed by the caller before init; no pointers inside; merge must be associative over the tree,
 * and exact where the span is more than a slice.
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

/* What an observer's parameter, or a quantizer's option, may be. */
struct mq_observer_limits {
  bool exists;
  bool excludes_min, excludes_max; /* the ends themselves */
  bool is_whole;
  double min, max;
};
bool mq_limits_take(const struct mq_observer_limits *limits, double value); /* false where it is NAN */
/* "a number above 0 and below 1" */
#define MQ_LIMITS_TEXT 96
void mq_limits_format(char text[MQ_LIMITS_TEXT], const struct mq_observer_limits *limits);

/* How much one state may take, by whichever worker and in whichever order, without a change of bits: sums of
 * doubles need the tree of slices; counts and extrema do not. */
typedef enum mq_observer_span {
  MQ_SPAN_SLICE, /* a slice; states are merged as a fixed tree of the slice index */
  MQ_SPAN_BATCH, /* slices of a batch, in any order; states are merged in any order */
  MQ_SPAN_ALL    /* of all batches: one batch_end for all data is as good as one for each */
} mq_observer_span;

struct mq_observer_ops {
  const char *name, *describes;
  uint32_t revision; /* part of a run's identity; raise when results change */
  bool is_for_weights, is_for_activations;
  struct mq_observer_limits parameter;
  mq_observer_span (*span)(const struct mq_observer_config *config); /* of activations; NULL: slice */
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

/* ---- Quantizers ------------------------------------------------------------------------------------------
 * The algorithms of quantization-aware training: one file and one const table each, or a plug-in's. A
 * training step passes a point through
 *
 *   observe (statistics of this batch, merged in tree order)         - only where a method looks at its data
 *   derive  (parameters, statistics -> form: the numbers that forward and backward need)
 *   forward (rows -> rows on the grid)
 *   backward (gradients of rows; sums for the parameters, added in tree order)
 *   finish  (sums -> gradients of the parameters), then the optimiser, then project (allowed range)
 *   update  (what no gradient learns: moving averages, LQ-Net's basis)
 *
 * Rows are contiguous. A weight comes whole: n_rows output channels, row r with the scale of channel r (or of
 * channel 0 where n_channels is 1). An activation comes slice by slice, one row per image; forward and
 * backward also get it in parts of rows, every value being for itself. All functions may run in several
 * workers at once. `form`, `statistics` and `sums` are flat arrays of doubles that the caller owns, zeroed
 * before their first use; parameters are flat too, one parameter's values after the other's.
 *
 * A weight's statistics are gathered before every derive, in evaluation too (they are a function of the
 * weight as it stands: DoReFa, minmax) unless the method `freezes_weights`; an activation's in training only.
 */
#define MQ_QUANTIZER_VERSION 1

struct mq_quantizer_config {
  struct mq_scheme scheme; /* after sign adaptation: is_signed says which range it is */
  bool is_weight;
  bool is_non_negative; /* activations: the calibration data were all >= 0 */
  bool is_published;    /* the variant `published` of the paper's released code */
  int64_t n_channels;   /* scales: 1, or a weight's output channels */
  int64_t n_rows;       /* weights: output channels; activations: not used */
  double n_elements;    /* LSQ's N: of one scale's share of the tensor */
  double option;        /* the method's own (its `option` says what); NAN: default */
  bool is_own_observer; /* calibrated by the method's own w_observer or a_observer, not by one that the run
                           chose: init may follow the paper exactly (LSQ+, TQT: from the rows) */
};

struct mq_quantizer_parameter {
  const char *name;
  bool is_state;    /* changed by `update` only: no gradient, no decay */
  bool has_decay;   /* weight decay acts on it unless the plan says otherwise */
  bool is_scale;    /* what a plan's decay of the scale alone means */
  double adam_rate; /* > 0: learned by Adam (0.9, 0.999) at this rate without decay; 0: like the weights */
};

struct mq_quantizer_ops {
  uint32_t version; /* MQ_QUANTIZER_VERSION */
  uint32_t bytes;   /* sizeof (struct mq_quantizer_ops): a plug-in of an older size is refused */
  const char *name, *describes;
  uint32_t revision; /* part of a run's identity; raise when results change */
  bool is_for_weights, is_for_activations;
  const char *w_quantizer;             /* what takes the weights in a run of this method; NULL: itself */
  const char *w_observer, *a_observer; /* calibrate its initial values unless the run says otherwise */
  bool is_academic;                    /* only per-tensor symmetric float scales: no hardware */
  bool is_uniform_at_ends_w, is_uniform_at_ends_a; /* academic: 8-bit first and last layer by `minmax` */
  bool has_published;                              /* config.is_published changes what it does */
  bool freezes_weights; /* statistics NULL in evaluation for weights too: the last step's ranges stay */
  struct mq_observer_limits option; /* of config.option */
  int n_parameters;
  const struct mq_quantizer_parameter *parameters;

  /* MQ_BAD_INPUT says why the method is not defined for the scheme; `what` names the tensor. */
  mq_status (*check)(const struct mq_quantizer_config *config, const char *what, struct mq_err *err);
  size_t (*parameter_count)(const struct mq_quantizer_config *config, int parameter); /* NULL: n_channels */
  size_t (*statistics_count)(const struct mq_quantizer_config *config);               /* NULL: none */
  size_t (*form_count)(const struct mq_quantizer_config *config);
  size_t (*sum_count)(const struct mq_quantizer_config *config); /* NULL: none */

  /* Initial values from what the observer answered, and (weights) from the rows; rows NULL for activations.
   */
  mq_status (*init)(float *parameters, const struct mq_quantizer_config *config,
                    const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                    struct mq_err *err);
  /* Adds rows to the statistics of a batch; NULL without statistics. `statistics` begins zeroed: a minimum is
   * kept as the maximum of -x beside a count. */
  void (*observe)(double *statistics, const struct mq_quantizer_config *config, const float *x,
                  int64_t n_rows, int64_t row_count);
  void (*merge)(double *into, const double *from, const struct mq_quantizer_config *config);
  /* statistics: of the batch in training, never NULL there (a method without any: a pointer to nothing in
   * particular); in evaluation NULL for activations and where the method `freezes_weights` (parameters and
   * states as they stand), for other weights the weight's own. Scales are made safe and at least
   * least_scale[c] (NULL: none), through quant/qparams. A parameter that is not finite makes the outputs NaN:
   * the loss then tells. */
  void (*derive)(double *form, const struct mq_quantizer_config *config, const float *parameters,
                 const double *statistics, const float *least_scale);
  /* y: real values on the grid; codes: the same as integers (uint8 where the grid's quant_min >= 0, else
   * int8); either may be NULL, codes only where `grid` says true and its bounds fit. y may be x. */
  void (*forward)(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                  const float *x, int64_t n_rows, int64_t row_count);
  /* dx = (adds: +=) the gradient at x for the gradient g at y; `sums` added to. dx may be g. */
  void (*backward)(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                   const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count);
  /* The parameters' gradients (states: left alone) from the sums over the whole batch. NULL: none learned. */
  void (*finish)(float *gradients, const struct mq_quantizer_config *config, const float *parameters,
                 const double *form, const double *sums);
  void (*project)(float *parameters, const struct mq_quantizer_config *config); /* NULL: any value will do */
  /* After backward and before the optimiser: new states, and what the method itself corrects in its
   * parameters (QIL). NULL: nothing. */
  void (*update)(float *parameters, const struct mq_quantizer_config *config, const double *form,
                 const double *statistics, const double *sums);
  /* True: outputs are s (q - z) on this grid (out is inited with n_channels and filled); its bounds are those
   * of the codes, which need not be the scheme's (APoT), and may need more than 8 bits. False: on no integer
   * grid. */
  bool (*grid)(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form);
  /* What a deployable weight is: rows such that plain fake quantization with `out` gives what forward gives.
   * Weights only; NULL: the rows stay and `grid` answers the scales. False: there are none (the quantized
   * rows themselves are handed over). */
  bool (*freeze)(float *frozen, struct mq_qparams *out, const struct mq_quantizer_config *config,
                 const double *form, const float *rows, int64_t n_rows, int64_t row_count);
};

size_t mq_quantizer_count(void);
const struct mq_quantizer_ops *mq_quantizer_at(size_t i);
/* NULL if there is none of that name. `lsqplus` is lsq_plus too: names that are kept are the tables' own. */
const struct mq_quantizer_ops *mq_quantizer_find(const char *name);
/* Whether config.option may be this: NAN (the default) always. */
bool mq_quantizer_takes(const struct mq_quantizer_ops *quantizer, double option);
/* Loads a plug-in: a shared object with `const struct mq_quantizer_ops mq_plugin_quantizer`. It stays loaded
 * and is found by its name; the same object once more changes nothing. MQ_BAD_INPUT: no such symbol, another
 * version, an incomplete table, a name that is taken. Call before other threads start. */
mq_status mq_quantizer_load(const char *path, struct mq_err *err) MQ_MUST_CHECK;
/* MQ_BAD_INPUT unless the file's content is that of a loaded plug-in. Reads the file, runs nothing of it. */
mq_status mq_quantizer_check_loaded(const char *path, struct mq_err *err) MQ_MUST_CHECK;
/* SHA-256 in hex of the file that a plug-in came from; NULL for what is built in. */
const char *mq_quantizer_plugin_sha256(const struct mq_quantizer_ops *quantizer);
/* Floats of all parameters together, and where parameter i begins. */
size_t mq_quantizer_parameter_total(const struct mq_quantizer_ops *quantizer,
                                    const struct mq_quantizer_config *config);
size_t mq_quantizer_parameter_offset(const struct mq_quantizer_ops *quantizer,
                                     const struct mq_quantizer_config *config, int parameter);

/* ---- Arithmetics ----------------------------------------------------------------------------------------
 * How the exact simulation makes codes of sums, as a target's integer program does (docs/arithmetic.md). */
struct mq_exact_arithmetic;
/* "tflite_ref", "xnnpack", "fbgemm", "ort", "pot_shift", "pot_shift_even", "trt_model", "dequant_f32"; NULL
 * if there is none of that name. */
const struct mq_exact_arithmetic *mq_exact_arithmetic_find(const char *name);

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
  bool is_at_end; /* the weight or input of the first or last quantized conv or linear, on a target that gives
                     those bits of their own (academic) */
  /* Quantization-aware training: NULL for points that keep their calibrated scales. */
  const struct mq_quantizer_ops *quantizer;
  struct mq_quantizer_config quantizer_config;
  float *parameters; /* mq_quantizer_parameter_total floats, owned by whoever owns the points (mq_free) */
};

#endif
