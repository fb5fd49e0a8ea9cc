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
  bool is_published;                   /* observers as in the paper's released code */
  const int64_t *indices;              /* images of the data set, in order */
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

/* ---- Training --------------------------------------------------------------------------------------------
 * The unified pipeline (paper section 2.1): shuffled epochs of augmented images, warm-up and cosine, label
 * smoothing, decay groups. Everything random is keyed by (seed, purpose, epoch, sample); a run's bits depend
 * on its options and the instruction set only, and a resumed run is the uninterrupted one. */
#define MQ_TRAIN_SLICE_IMAGES 8
struct mq_train_options {
  double epochs;
  int64_t batch, slice_images, bn_groups, batch_per_gpu; /* see mq_trainer_options */
  double rate;                                           /* peak; its schedule: mq_train_rate */
  double warmup_epochs, warmup_rate;                     /* linear from warmup_rate to rate */
  mq_optimiser optimiser;
  double momentum;
  bool is_nesterov;
  double weight_decay, bias_decay, bn_decay, quantizer_decay, scale_decay; /* NAN: like weights */
  double label_smoothing;
  double ema; /* decay of a moving average of all variables, which is judged and kept instead; 0: none */
  mq_precision precision;
  bool has_float_forward;
  bool has_published_variance;      /* see mq_trainer_options */
  const struct mq_augment *augment; /* NULL: none */
  uint64_t seed;
  unsigned loader_threads;
  struct mq_collective *collective; /* ranks that share every batch; NULL: none */
  const char *checkpoint;           /* a file; NULL: none. Written to a temporary name and renamed. */
  double checkpoint_seconds; /* when that much time has passed since the last one, and at the end of epochs;
                              * 0: there only */
  bool resumes;              /* takes the checkpoint up if the file is there */
  const char *identity;      /* of the run: a checkpoint of another one is MQ_BAD_INPUT */
  double evaluate_epochs;    /* how often `evaluate` is called; 0: at the end of every epoch */
  const char *label;         /* of the progress bar */
  void *context;
  /* Judges the network as it stands: the trainer's variables hold what is judged (the moving average where
   * there is one). Answers the test accuracy. NULL: none. */
  mq_status (*evaluate)(void *context, struct mq_trainer *trainer, double *top1, struct mq_err *err);
  /* What `evaluate` noted on its way, for checkpoints: bytes that are the context's, and back from them, so
   * that a resumed run has them too. Both NULL: nothing. */
  mq_status (*note)(void **bytes, size_t *n, void *context, struct mq_err *err);
  mq_status (*recall)(void *context, const void *bytes, size_t n, struct mq_err *err);
};
/* The state of a run after some step: about a hundred of them, and wherever it was judged. */
struct mq_curve_point {
  int64_t step; /* done so far */
  double epoch, rate;
  double loss, train_top1; /* means over the images since the point before */
  double test_top1;        /* NAN: not judged here */
};
struct mq_train_result {
  struct mq_curve_point *curve; /* owned */
  size_t n_curve;
  int64_t steps, images;
  double last_top1, best_top1; /* of the judgements; NAN without any */
  double loss;                 /* of the last curve point */
  bool is_diverged;            /* the loss was not finite: training stopped there */
  bool is_resumed;
  double seconds; /* of this process, evaluation and checkpoints not counted */
  double images_per_second;
};
void mq_train_result_deinit(struct mq_train_result *result);
/* The learning rate of a step (from 0): linear warm-up, then cosine to 0 at the last step's end. */
double mq_train_rate(const struct mq_train_options *options, int64_t step, int64_t n_steps,
                     int64_t steps_per_epoch);
/* Could guessing have reached this accuracy? True unless `correct` of n images lies above the 99.9% bound of
 * the binomial distribution of 1 / n_classes: such a run counts as not converged (NC). */
bool mq_train_is_chance(int64_t correct, int64_t n, int64_t n_classes);
/* Trains `graph` (a training form, or float) on `data`; what is learned is written back into it and into
 * `points` (NULL: float). The last partial batch of an epoch is dropped. A run whose loss was not finite is
 * MQ_OK with is_diverged. */
mq_status mq_train(struct mq_train_result *result, struct mq_graph *graph, struct mq_point *points,
                   size_t n_points, struct mq_dataset *data, const struct mq_train_options *options,
                   struct mq_pool *pool, struct mq_err *err) MQ_MUST_CHECK;

/* Quantization-aware training as one piece: `model` (float, with its BN) for `target`: prepared in the
 * deployed form, calibrated, given the method's quantizers, trained in the folding strategy's form, written
 * back, folded, frozen. Test accuracies are those of the deployed form. */
struct mq_qat_options {
  struct mq_prepare_options prepare; /* bn_fold: the training form; MQ_BN_FOLD_TARGET: strategy 4 where the
                                      * target folds */
  struct mq_calibrate_options calibrate;
  struct mq_method method;
  bool is_published_fold; /* folding 2 and 3 are trained as 1: so does the paper's released code, where they
                           * inherit a flag that freezes the statistics */
  bool observes_in_evaluation; /* judged with mq_observing in batches of training's size */
  bool is_handed_over; /* MQ_BAD_USAGE, before the first step, where a point will be on no integer grid */
  struct mq_train_options train; /* evaluate and context are set here */
};
/* The clipping ranges of all points when the run was judged. */
struct mq_range_record {
  int64_t step;
  struct mq_range *ranges; /* n_points of the prepared form: least and largest over channels; owned */
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
struct mq_qat_result {
  struct mq_prepared prepared; /* deployable, scales frozen; owned */
  struct mq_graph *trained;    /* float weights as learned; owned */
  struct mq_train_result train;
  struct mq_range_record *records; /* owned */
  size_t n_records;
  double calibrate_seconds;
  bool
      is_evaluated; /* `evaluation`, owned, is that of `prepared` itself: the judgement after the last step */
  struct mq_evaluation evaluation;
};
mq_status mq_qat(struct mq_qat_result *result, const struct mq_graph *model, const struct mq_target *target,
                 struct mq_dataset *data, struct mq_dataset *eval_data, const struct mq_qat_options *options,
                 struct mq_pool *pool, struct mq_err *err) MQ_MUST_CHECK;
void mq_qat_result_deinit(struct mq_qat_result *result);

/* ---- Evaluation --------------------------------------------------------------------------------- */
/* Observers of activations that go on while the network is evaluated, as the paper's released code has it for
 * PACT and DoReFa. Each batch of `batch` images, in the order of the data, updates the ranges with its values
 * before they are quantized: a range that follows the data (the inputs of the first and last layer in the
 * academic setting) takes its average on; one that a method clips at zero takes in negative values from the
 * first batch on that has some. An evaluation starts from the learned ranges. Points that share a scale, and
 * scales that follow from others (int32 biases), stay. */
struct mq_observing;
/* learned: a deployable form with its quantizers, before mq_freeze_quantizers; copied. For evaluations of the
 * frozen form. */
mq_status mq_observing_create(struct mq_observing **observing, const struct mq_prepared *learned,
                              int64_t batch, struct mq_err *err) MQ_MUST_CHECK;
void mq_observing_destroy(struct mq_observing *observing);

/* How quantization is simulated. */
typedef enum mq_simulation {
  MQ_SIMULATION_FLOAT, /* `simulate`: float32 values, fake-quantized at the points */
  /* `exact`: integer sums, and the target's own arithmetic (docs/arithmetic.md) wherever a value becomes a
   * code: input, bias, requantization, add, average, mean. Written apart from the integer program, whose
   * every code it equals. */
  MQ_SIMULATION_EXACT
} mq_simulation;

/* What of a target the exact simulation needs beside the graph and its points. Borrowed. */
struct mq_exact_rules {
  const char *arithmetic; /* as in struct mq_target */
  bool pot_half_even;
  mq_pool_rule pool;               /* which averages keep their input's scale */
  const struct mq_island *islands; /* of struct mq_prepared: adds and averages that are computed in floats */
  size_t n_islands;
};

struct mq_evaluate_options {
  const struct mq_point *points; /* NULL: float */
  size_t n_points;
  const struct mq_exact_rules *exact;   /* NULL: MQ_SIMULATION_FLOAT */
  int64_t slice_images;                 /* 0: 8 */
  unsigned loader_threads;              /* that decode ahead; 0: workers decode what they take */
  const char *label;                    /* of the progress bar */
  const struct mq_observing *observing; /* NULL: ranges stay as they are */
};
mq_status mq_evaluate(struct mq_evaluation *evaluation, const struct mq_graph *graph, struct mq_dataset *data,
                      const struct mq_evaluate_options *options, struct mq_pool *pool,
                      struct mq_err *err) MQ_MUST_CHECK;
void mq_evaluation_deinit(struct mq_evaluation *evaluation);
/* The first `n_images` (0: all) images' logits as float32 [n x classes], owned: agreement, tests, tools. */
mq_status mq_predict(struct mq_tensor *logits, const struct mq_graph *graph, struct mq_dataset *data,
                     int64_t n_images, const struct mq_evaluate_options *options, struct mq_pool *pool,
                     struct mq_err *err) MQ_MUST_CHECK;
/* One point, or one output of the network that is none, in one image of a simulation. */
struct mq_seen {
  const struct mq_point *point; /* NULL: a float output */
  const char *tensor;           /* the user's name */
  int64_t image;                /* index in the data set */
  /* float32, s (q - z) at a point: logical shape with a batch of 1, strides as they come. */
  struct mq_tensor values;
  /* int32 q, as in the point's qparams (quant_min..quant_max), row-major in the same logical shape; data NULL
   * without a point. A program may keep q and z shifted by 128: compare q - z. */
  struct mq_tensor codes;
  /* float32, what was rounded to the point: MQ_SIMULATION_FLOAT only, otherwise data NULL. The same shape,
   * strides of its own. */
  struct mq_tensor before;
};
struct mq_see_options {
  const struct mq_point *points; /* calibrated, on grids of integers */
  size_t n_points;
  const struct mq_exact_rules *exact; /* NULL: MQ_SIMULATION_FLOAT */
  int64_t n_images;                   /* the first ones; 0: all */
  int64_t slice_images;               /* 0: 8 */
  void *context;
  /* Called for every activation point and every output, for one image after the other, in the order of the
   * graph within an image's slice; in workers, for different slices at the same time. With `replaces` it may
   * write `values` (on the point's grid): the rest of the network then goes on from those, so that what one
   * layer does can be looked at with everything before it as something else computed it. */
  mq_status (*see)(void *context, const struct mq_seen *seen, unsigned worker, struct mq_err *err);
  bool replaces;
};
/* Runs a simulation over images and shows it. */
mq_status mq_simulate_and_see(const struct mq_graph *graph, struct mq_dataset *data,
                              const struct mq_see_options *options, struct mq_pool *pool,
                              struct mq_err *err) MQ_MUST_CHECK;
/* The figures of logits [n x classes] that something else made of the first n images of `data`; `graph` tells
 * what its first output is. Times are 0. */
mq_status mq_evaluate_logits(struct mq_evaluation *evaluation, const struct mq_tensor *logits,
                             const struct mq_graph *graph, struct mq_dataset *data,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Model and data fit: channels, size, classes; the message says what to set. */
mq_status mq_check_model_data(const struct mq_graph *graph, const struct mq_dataset *data,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Warns where a list's labels look as though they lacked a background class. For a model and data that fit;
 * callers say it once, the functions above not at all. */
void mq_warn_of_labels(const struct mq_graph *graph, const struct mq_dataset *data);

#endif
