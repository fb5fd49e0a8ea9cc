/* The bundle directory that quantization hands over, reading it back, and the files that vendors' tools read.
 *
 *   model.onnx       the graph handed over, weights on their grid, the user's tensor names
 *   float.onnx       the same network in floats
 *   preprocess.json  what the data went through
 *   quant.json       every point: tensor, scale(s), zero point(s), range, bits, and who reads it
 *   program.mqi      the integer program, where the target has an arithmetic and the network a program in it
 *   export/          the files of the target's artefacts, FORMAT and a suffix each
 *   manifest.json    cell, versions, hashes, calibration images, renamed tensors, accuracy, times; `files`:
 *                    the SHA-256 of each of the first five, against which a bundle is checked when it is read
 * Everything but manifest.json is a function of model, data, plan and seed. */
#ifndef MQBENCH_DEPLOY_H
#define MQBENCH_DEPLOY_H

#include "mqbench/data.h"
#include "mqbench/prepare.h"
#include "mqbench/program.h"

/* What the manifest records beside the graph; strings borrowed, NULL where not applicable. */
struct mq_bundle_record {
  const char *cell; /* canonical text: one key=value a line */
  const char *method, *w_observer, *a_observer;
  double w_parameter, a_parameter; /* of the observers; NAN: their defaults */
  const char *variant;             /* of observers and method: "published", ...; NULL or "": the usual one */
  const char *model_path, *model_sha256, *data, *data_sha256, *eval_data, *eval_sha256;
  const char *cpu, *isa, *onednn, *started;
  uint64_t seed;
  struct mq_dataset *calibration; /* names of its images `indices` are listed */
  const int64_t *indices;
  int64_t n_indices;
  double float_top1, top1; /* NAN without labels */
  int64_t correct, images;
  double seconds, calib_seconds;
};

struct mq_bundle_contents {
  const struct mq_prepared *prepared; /* calibrated */
  const struct mq_graph *float_graph;
  const struct mq_target *target;
  const struct mq_preprocess *preprocess; /* NULL: the data was taken as it is */
  struct mq_bundle_record record;
};
/* A network without a point is MQ_BAD_INPUT. Creates `directory` when missing. The files are written to a
 * temporary directory <directory>/<pid>.partial and put in place when all are there, the manifest last, so
 * that a bundle with a manifest is complete. On failure an older bundle stays as it was, and nothing
 * half-made is left behind. */
mq_status mq_bundle_write(const char *directory, const struct mq_bundle_contents *contents,
                          struct mq_err *err) MQ_MUST_CHECK;

struct mq_bundle {
  struct mq_prepared prepared; /* the graph with its points, calibrated */
  struct mq_preprocess preprocess;
  bool has_preprocess;
  char target[128];
  mq_bias_form bias;   /* that the target's arithmetic adds */
  char arithmetic[32]; /* "": none */
  bool has_rules;      /* pot_half_even, pool and prepared.islands (adds and averages) are */
  bool pot_half_even;  /* known: not in bundles of before these keys */
  mq_pool_rule pool;
  double float_top1, top1;             /* as the manifest says; NAN if it does not */
  struct mq_program *program;          /* program.mqi, loaded and checked; NULL: the bundle has none */
  char no_program[256];                /* why, as the manifest says; "": it does not */
  void *program_file, *program_memory; /* private */
};
/* Whether `path` is a directory that holds a quant.json. */
bool mq_bundle_is(const char *path);
/* Refused with MQ_BAD_INPUT when a file is not the one whose hash the manifest holds, and when a field is
 * missing, has a wrong type or a senseless value, or contradicts another one or the model: the message names
 * file, point, key, what was found and what was expected. */
mq_status mq_bundle_read(struct mq_bundle *bundle, const char *directory, struct mq_err *err) MQ_MUST_CHECK;
void mq_bundle_deinit(struct mq_bundle *bundle);

/* Whose arithmetic a Q/DQ model is given when no target is named. */
#define MQ_QDQ_TARGET "onnx_qdq"
/* A Q/DQ model of someone else (mq_prepare_qdq) as the bundle it would be: points, integer program (NULL and
 * the reason in no_program where there is none), no preprocessing. `target` is a name or a YAML file; its
 * arithmetic counts, and the model's schemes must suit it (mq_prepare_fit_target). NULL: MQ_QDQ_TARGET, which
 * takes the integers in the types of the file, whatever they are. MQ_BAD_INPUT where the file is no Q/DQ
 * model. */
mq_status mq_bundle_read_qdq(struct mq_bundle *bundle, const char *path, const char *target,
                             struct mq_err *err) MQ_MUST_CHECK;

/* ---- Lowering: the integer program that a device would run ------------------------------------------------
 */
struct mq_lowered {
  struct mq_program program; /* finished: checked, no accumulator can overflow */
  struct mq_arena arena;     /* everything it points to */
};
/* `prepared`: in the deployable form, calibrated or trained, its points on grids of integers. Steps follow
 * the target's arithmetic; what it has none for (float islands, graph 1's sums) is computed in floats. Inputs
 * are float32, an output at a point are its codes. MQ_BAD_INPUT where the target has no arithmetic, the
 * program no step for a node (named), an arithmetic no answer for a layer's scales, or an accumulator may
 * overflow. */
mq_status mq_lower(struct mq_lowered *lowered, const struct mq_prepared *prepared,
                   const struct mq_target *target, struct mq_err *err) MQ_MUST_CHECK;
void mq_lowered_deinit(struct mq_lowered *lowered);

/* ---- Exports: one file of code and one table for each format --------------------------------------------
 */
#define MQ_EXPORT_FILES 3 /* at most, of one format */

/* What of a scheme a format has a form for. */
struct mq_export_scheme {
  bool takes_signed, takes_unsigned, takes_zero_point, takes_channels, takes_16, needs_pot;
};

struct mq_exporter {
  const char *name, *describes;
  const char *suffixes[MQ_EXPORT_FILES]; /* of its files, the one with the scales first; NULL: no more */
  struct mq_export_scheme weights, activations;
  /* NULL: the schemes say it all. MQ_BAD_INPUT: the first point or layer that the format has no form for. */
  mq_status (*check)(const struct mq_bundle *bundle, struct mq_err *err);
  /* Writes STEM and each suffix. */
  mq_status (*write)(const char *stem, const struct mq_bundle *bundle, struct mq_err *err);
};
size_t mq_exporter_count(void);
const struct mq_exporter *mq_exporter_at(size_t i);
const struct mq_exporter *mq_exporter_find(const char *name); /* NULL if there is none */
/* Whether the format has a form for every point: MQ_BAD_INPUT names the first it has none for. */
mq_status mq_export_check(const struct mq_exporter *exporter, const struct mq_bundle *bundle,
                          struct mq_err *err) MQ_MUST_CHECK;
/* Checks, then writes STEM and each suffix of the exporter; the directory must exist. The bytes depend on the
 * bundle's model.onnx and quant.json only. */
mq_status mq_export(const struct mq_exporter *exporter, const char *stem, const struct mq_bundle *bundle,
                    struct mq_err *err) MQ_MUST_CHECK;

#endif
