/* From a prepared graph to scales, and from scales to accuracy. */
#ifndef MQBENCH_TUNE_H
#define MQBENCH_TUNE_H

#include "mqbench/data.h"
#include "mqbench/engine.h"
#include "mqbench/prepare.h"

/* ---- Calibration -------------------------------------------------------------------------------- */
struct mq_calibrate_options {
  const char *w_observer, *a_observer; /* names; NULL: minmax, minmax */
  double w_parameter, a_parameter;     /* NAN: the observer's default */
  bool is_published;
  const int64_t *indices; /* images of the data set, in order */
  int64_t n_indices;
  int64_t batch;        /* images per observer batch; 0: 32 */
  int64_t slice_images; /* 0: 8 */
  mq_bias_form bias;    /* MQ_BIAS_INT32 raises weight scales to |bias| / (2^30 s_x) */
};
struct mq_calibrate_result {
  double seconds; /* first image read to last scale known */
  int64_t n_images;
};
/* Runs the float graph once over the images, then answers every point's qparams, activations first. */
mq_status mq_calibrate(struct mq_calibrate_result *result, struct mq_prepared *prepared,
                       struct mq_dataset *data, const struct mq_calibrate_options *options,
                       struct mq_pool *pool, struct mq_err *err) MQ_MUST_CHECK;
/* Re-estimates batch normalisation for the quantized network over the same images, in one pass in training
 * mode: every batch (options->batch images; a last partial one is dropped unless it is the only one) is
 * normalised with its own statistics, so that later layers see corrected inputs, and the new statistics are
 * the mean of the batches' (mean, unbiased variance), as PyTorch does with momentum=None. BN kept in the
 * graph: new running mean and variance. BN folded, layers with quantized weights: fq(w) is held fixed and b'
 * = g (b - m_q) + m_f, with m the channel's mean over the batches of the layer's float and quantized output;
 * where weights are per channel with a float scale, w' = g fq(w) and s_w' = g s_w with g = sd_f / sd_q (kept
 * within 1/2 and 2), else g = 1. */
mq_status mq_bn_calibrate(struct mq_prepared *prepared, struct mq_dataset *data,
                          const struct mq_calibrate_options *options, struct mq_pool *pool,
                          struct mq_err *err) MQ_MUST_CHECK;

/* ---- Quantizers for training ---------------------------------------------------------------------- */
struct mq_method {
  const struct mq_quantizer_ops *quantizer; /* of activations; of weights too unless it names another */
  double option;                            /* the method's own; NAN: its default */
  bool is_published;                        /* the variant of the paper's released code */
  bool is_own_observer;                     /* the run left the choice of observers to the method */
};
/* Gives every calibrated point its quantizer with initial parameters: from its scales, and from the weights.
 * Points at the ends (is_at_end) take `minmax` where the method says so. Points whose scheme the method is
 * not defined for are MQ_BAD_INPUT. */
mq_status mq_assign_quantizers(struct mq_prepared *prepared, const struct mq_method *method,
                               struct mq_err *err) MQ_MUST_CHECK;
/* The same points of another form of the network (see mq_prepare): schemes, scales, quantizers and parameters
 * are copied. MQ_BAD_INPUT when the points differ. */
mq_status mq_copy_quantizers(struct mq_prepared *to, const struct mq_prepared *from,
                             struct mq_err *err) MQ_MUST_CHECK;
/* From learned parameters to what is deployed: every point's scales, weights on a transformed method's own
 * rows (their constants are replaced). Points of methods on no integer grid keep their quantizer for
 * evaluation. bias: MQ_BIAS_INT32 raises weight scales to |bias| / (2^30 s_x). */
mq_status mq_freeze_quantizers(struct mq_prepared *prepared, mq_bias_form bias,
                               struct mq_err *err) MQ_MUST_CHECK;

/* ---- Evaluation --------------------------------------------------------------------------------- */
struct mq_evaluate_options {
  const struct mq_point *points; /* NULL: float */
  size_t n_points;
  int64_t slice_images;    /* 0: 8 */
  unsigned loader_threads; /* that decode ahead; 0: workers decode what they take */
  const char *label;       /* of the progress bar */
};
struct mq_evaluation {
  int64_t n_images, n_labelled;
  int64_t correct, correct5;      /* ties: the lower class index counts as larger */
  double loss;                    /* mean cross entropy, summed in tree order; NAN without labels; an output
                                     that is a softmax or its logarithm already is taken as that */
  double seconds, engine_seconds; /* wall; what the engine alone takes on the cores it may use */
  uint8_t *is_correct;            /* n_images bits, image i in bit i % 8 of byte i / 8; owned */
  int32_t *predicted;             /* n_images; owned */
  bool is_finite;                 /* every pixel, weight and logit was */
};
mq_status mq_evaluate(struct mq_evaluation *evaluation, const struct mq_graph *graph, struct mq_dataset *data,
                      const struct mq_evaluate_options *options, struct mq_pool *pool,
                      struct mq_err *err) MQ_MUST_CHECK;
void mq_evaluation_deinit(struct mq_evaluation *evaluation);
/* The first `n_images` (0: all) images' logits as float32 [n x classes], owned: agreement, tests, tools. */
mq_status mq_predict(struct mq_tensor *logits, const struct mq_graph *graph, struct mq_dataset *data,
                     int64_t n_images, const struct mq_evaluate_options *options, struct mq_pool *pool,
                     struct mq_err *err) MQ_MUST_CHECK;
/* Model and data fit: channels, size, classes; the message says what to set. */
mq_status mq_check_model_data(const struct mq_graph *graph, const struct mq_dataset *data,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Warns where a list's labels look as though they lacked a background class. For a model and data that fit;
 * callers say it once, the functions above not at all. */
void mq_warn_of_labels(const struct mq_graph *graph, const struct mq_dataset *data);

#endif
