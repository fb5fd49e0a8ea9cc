/* A cell's canonical text, and its identity made from it. */
#include "bench/cell.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "mqbench/data.h"
#include "mqbench/target.h"

#define MAX_NAMED_OVERRIDES 8 /* in the text for people */

/* Names come from files: a control character or backslash is written \xHH, so that a line stays a line. */
static void put_escaped(FILE *out, const char *value) {
  for (const unsigned char *c = (const unsigned char *)(value ? value : ""); *c; c++) {
    if (*c < 0x20 || *c == 0x7f || *c == '\\') {
      fprintf(out, "\\x%02x", *c);
    } else {
      fputc(*c, out);
    }
  }
}

static void put_text(FILE *out, const char *key, const char *value) {
  fprintf(out, "%s=", key);
  put_escaped(out, value);
  fputc('\n', out);
}

static void put_number(FILE *out, const char *key, int64_t value) {
  fprintf(out, "%s=%" PRId64 "\n", key, value);
}

/* Hexadecimal: reading it back gives the same number. */
static void put_real(FILE *out, const char *key, double value) {
  if (isnan(value)) {
    fprintf(out, "%s=\n", key);
  } else {
    fprintf(out, "%s=%a\n", key, value);
  }
}

/* A data argument without the places it names: what lies there is in the identity by its content. */
static mq_status put_data_content(FILE *out, const char *key, const char *argument, struct mq_err *err) {
  struct mq_data_spec spec = {.kind = 0};
  char *text = NULL;
  if (!argument) {
    put_text(out, key, NULL);
    return MQ_OK;
  }
  mq_status status = mq_data_spec_parse(&spec, argument, err);
  if (status == MQ_OK) {
    if (spec.path[0]) {
      strcpy(spec.path, "."); /* no kind but fractal may lack a path */
    }
    mq_free(spec.labels);
    mq_free(spec.cache);
    spec.labels = spec.cache = NULL;
    spec.memory_mib = -1; /* what stays in memory changes no result */
    status = mq_data_spec_format(&text, &spec, err);
  }
  if (status == MQ_OK) {
    put_text(out, key, text);
  }
  mq_free(text);
  mq_data_spec_deinit(&spec);
  return status;
}

static mq_status put_inputs(FILE *out, const struct mq_cell *cell, bool with_paths, struct mq_err *err) {
  put_text(out, "model_name", cell->model_name);
  if (cell->arch) {
    put_text(out, "arch", cell->arch);
    put_real(out, "arch_width", cell->arch_width);
  }
  if (with_paths) {
    put_text(out, "model", cell->model_path);
    put_text(out, "calib_data", cell->calib_data);
    put_text(out, "eval_data", cell->eval_data);
    put_text(out, "target", cell->target);
    return MQ_OK;
  }
  put_text(out, "target", cell->target ? mq_path_base(cell->target) : NULL);
  mq_status status = put_data_content(out, "calib_data", cell->calib_data, err);
  return status == MQ_OK ? put_data_content(out, "eval_data", cell->eval_data, err) : status;
}

static const char *fold_name(const struct mq_cell *cell, char text[40]) {
  const struct mq_training_key *key = mq_training_key_at(mq_training_key_find("bn_fold"));
  mq_training_format(text, key, mq_training_get(cell, key));
  return text;
}

/* Of methods that train: every key that has no line of its own. */
static void put_training(FILE *out, const struct mq_cell *cell) {
  put_number(out, "own_observers", cell->has_own_observers);
  for (size_t i = 0; i < mq_training_key_count(); i++) {
    const struct mq_training_key *key = mq_training_key_at(i);
    double value = mq_training_get(cell, key);
    char text[40], name[64];
    if (!mq_training_is_of_all(key)) {
      snprintf(name, sizeof name, "training.%s", key->name);
      mq_training_format(text, key, value);
      key->kind == MQ_TRAINING_WORD ? put_text(out, name, text) : put_real(out, name, value);
    }
  }
}

static void put_settings(FILE *out, const struct mq_cell *cell) {
  char fold[40];
  put_text(out, "method", cell->method);
  put_text(out, "variant", cell->variant);
  if (!isnan(cell->method_option)) put_real(out, "method_option", cell->method_option);
  put_text(out, "w_observer", cell->w_observer);
  put_real(out, "w_parameter", cell->w_parameter);
  put_text(out, "a_observer", cell->a_observer);
  put_real(out, "a_parameter", cell->a_parameter);
  put_number(out, "w_bits", cell->w_bits);
  put_number(out, "a_bits", cell->a_bits);
  put_number(out, "graph", cell->graph);
  put_text(out, "bn_fold", fold_name(cell, fold));
  put_number(out, "bn_calibration", cell->calibrates_bn);
  put_number(out, "calib_images", cell->calib_images);
  put_number(out, "calib_batch", cell->calib_batch);
  put_text(out, "calib_order", cell->is_calib_first ? "first" : "sampled");
  put_number(out, "slice_images", cell->slice_images);
  fprintf(out, "seed=%" PRIu64 "\n", cell->seed);
  put_text(out, "isa", mq_isa_name(cell->isa));
  put_number(out, "strict", cell->is_strict);
  if (mq_cell_trains(cell)) {
    put_training(out, cell);
  }
  for (size_t i = 0; i < cell->n_overrides; i++) {
    put_text(out, "override.layer", cell->overrides[i].layer);
    put_number(out, "override.w_bits", cell->overrides[i].w_bits);
    put_number(out, "override.a_bits", cell->overrides[i].a_bits);
    put_number(out, "override.keep_float", cell->overrides[i].keep_float);
  }
}

/* Moves what was written to a memory stream into the arena. */
static mq_status keep(const char **text, FILE *out, char **buffer, mq_status status, struct mq_arena *arena,
                      struct mq_err *err) {
  bool failed = !out || fclose(out) != 0;
  if (status == MQ_OK) {
    *text = failed ? NULL : mq_arena_strdup(arena, *buffer);
    status = *text ? MQ_OK : mq_fail_memory(err, "text of a cell");
  }
  free(*buffer);
  return status;
}

static mq_status format(const char **text, const struct mq_cell *cell, bool with_paths,
                        struct mq_arena *arena, struct mq_err *err) {
  char *buffer = NULL;
  size_t n = 0;
  *text = NULL;
  FILE *out = open_memstream(&buffer, &n);
  if (!out) {
    return mq_fail_memory(err, "text of a cell");
  }
  mq_status status = put_inputs(out, cell, with_paths, err);
  put_settings(out, cell);
  return keep(text, out, &buffer, status, arena, err);
}

mq_status mq_cell_format(const char **text, const struct mq_cell *cell, struct mq_arena *arena,
                         struct mq_err *err) {
  return format(text, cell, true, arena, err);
}

struct mq_cell mq_cell_float(const struct mq_cell *cell) {
  if (cell->trains_float) { /* nothing to be compared with but itself */
    return *cell;
  }
  return (struct mq_cell){
      .plan = cell->plan,
      .model_path = cell->model_path,
      .model_name = cell->model_name,
      .eval_data = cell->eval_data,
      .method = "float",
      .w_parameter = (double)NAN,
      .a_parameter = (double)NAN,
      .method_option = (double)NAN,
      .slice_images = cell->slice_images,
      .isa = cell->isa,
  };
}

bool mq_cell_is_float(const struct mq_cell *cell) {
  return !strcmp(cell->method, "float");
}

static void put_revision(FILE *out, const char *key, const char *observer) {
  const struct mq_observer_ops *ops = observer ? mq_observer_find(observer) : NULL;
  put_number(out, key, ops ? (int64_t)ops->revision : 0);
}

/* A method from outside has no revision to be trusted: what its file holds counts. */
static void put_plugin(FILE *out, const struct mq_quantizer_ops *quantizer) {
  const char *sha256 = quantizer ? mq_quantizer_plugin_sha256(quantizer) : NULL;
  const struct mq_quantizer_ops *of_weights =
      quantizer && quantizer->w_quantizer ? mq_quantizer_find(quantizer->w_quantizer) : NULL;
  if (sha256) put_text(out, "plugin_sha256", sha256);
  sha256 = of_weights ? mq_quantizer_plugin_sha256(of_weights) : NULL;
  if (sha256) put_text(out, "w_plugin_sha256", sha256);
}

mq_status mq_cell_identity(char hex[65], const struct mq_cell *cell, const struct mq_cell_inputs *inputs,
                           struct mq_arena *arena, struct mq_err *err) {
  const char *settings = NULL, *text = NULL;
  char *buffer = NULL;
  size_t n = 0;
  mq_status status = format(&settings, cell, false, arena, err);
  if (status != MQ_OK) {
    return status;
  }
  FILE *out = open_memstream(&buffer, &n);
  if (!out) {
    return mq_fail_memory(err, "text of a cell");
  }
  fputs(settings, out);
  put_text(out, "model_sha256", inputs->model);
  put_text(out, "weights_sha256", inputs->weights);
  put_text(out, "calib_sha256", inputs->calib);
  put_text(out, "eval_sha256", inputs->eval);
  put_text(out, "target_sha256", inputs->target);
  put_number(out, "trial_revision", MQ_TRIAL_REVISION);
  put_revision(out, "w_observer_revision", cell->w_observer);
  put_revision(out, "a_observer_revision", cell->a_observer);
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(cell->method);
  if (mq_cell_trains(cell)) {
    put_number(out, "method_revision", quantizer ? (int64_t)quantizer->revision : 0);
    put_number(out, "training_revision", MQ_TRAINING_REVISION);
    put_plugin(out, quantizer);
  }
  status = keep(&text, out, &buffer, MQ_OK, arena, err);
  if (status == MQ_OK) {
    mq_sha256_bytes(hex, text, strlen(text));
  }
  return status;
}

/* ---- For people ------------------------------------------------------------------------------------- */

static void put_option(FILE *out, const char *format_text, ...) MQ_PRINTF(2, 3);
static void put_option(FILE *out, const char *format_text, ...) {
  va_list arguments;
  va_start(arguments, format_text);
  if (ftell(out) > 0) {
    fputs(", ", out);
  }
  vfprintf(out, format_text, arguments);
  va_end(arguments);
}

/* The shortest decimal number that reads back as the same. */
static void put_parameter(FILE *out, const char *of, double value) {
  char text[40];
  int digits = 6;
  if (isnan(value)) {
    return;
  }
  do {
    snprintf(text, sizeof text, "%.*g", digits, value);
  } while (strtod(text, NULL) != value && digits++ < 17);
  put_option(out, "%s %s", of, text);
}

/* "c3=w8a8", "c1 float" */
static void put_override(FILE *out, const struct mq_layer_override *override) {
  put_option(out, "%s", "");
  put_escaped(out, override->layer);
  if (override->keep_float) {
    fputs(" float", out);
    return;
  }
  fputs(override->w_bits || override->a_bits ? "=" : " quantized", out);
  if (override->w_bits) fprintf(out, "w%d", override->w_bits);
  if (override->a_bits) fprintf(out, "a%d", override->a_bits);
}

static void put_overrides(FILE *out, const struct mq_cell *cell) {
  for (size_t i = 0; i < cell->n_overrides && i < MAX_NAMED_OVERRIDES; i++) {
    put_override(out, &cell->overrides[i]);
  }
  if (cell->n_overrides > MAX_NAMED_OVERRIDES) {
    put_option(out, "%zu more overrides", cell->n_overrides - MAX_NAMED_OVERRIDES);
  }
}

/* "lr 0.02, epochs 3": what is not the pipeline's default. */
static void put_training_options(FILE *out, const struct mq_cell *cell) {
  struct mq_cell usual = {.slice_images = MQ_SLICE_IMAGES};
  mq_training_defaults(&usual);
  for (size_t i = 0; i < mq_training_key_count(); i++) {
    const struct mq_training_key *key = mq_training_key_at(i);
    double value = mq_training_get(cell, key), default_value = mq_training_get(&usual, key);
    bool is_usual = value == default_value || (isnan(value) && isnan(default_value));
    char text[40];
    if (!mq_training_is_of_all(key) && !is_usual) {
      mq_training_format(text, key, value);
      put_option(out, "%s %s", key->name, text);
    }
  }
}

static void put_quantizing_options(FILE *out, const struct mq_cell *cell) {
  char fold[40];
  if (cell->graph) put_option(out, "graph %d", cell->graph);
  if (cell->bn_fold != MQ_BN_FOLD_TARGET) put_option(out, "bn fold %s", fold_name(cell, fold));
  if (cell->calibrates_bn) put_option(out, "bn calibrated");
  put_parameter(out, "option", cell->method_option);
  put_parameter(out, "weights' parameter", cell->w_parameter);
  put_parameter(out, "activations' parameter", cell->a_parameter);
  if (cell->calib_images != MQ_CALIB_IMAGES) put_option(out, "%" PRId64 " images", cell->calib_images);
  if (cell->calib_batch != MQ_CALIB_BATCH) put_option(out, "batch %" PRId64, cell->calib_batch);
  if (cell->is_calib_first) put_option(out, "first images");
  if (mq_cell_trains(cell)) put_training_options(out, cell);
  put_overrides(out, cell);
  if (cell->is_strict) put_option(out, "strict");
}

mq_status mq_cell_options(const char **options, const struct mq_cell *cell, struct mq_arena *arena,
                          struct mq_err *err) {
  char *buffer = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&buffer, &n);
  if (!out) {
    return mq_fail_memory(err, "text of a cell");
  }
  if (!mq_cell_is_float(cell)) {
    put_quantizing_options(out, cell);
  } else if (cell->trains_float) {
    put_option(out, "trained");
    put_training_options(out, cell);
  }
  if (cell->slice_images != MQ_SLICE_IMAGES) put_option(out, "slices of %" PRId64, cell->slice_images);
  if (cell->isa != MQ_ISA_NATIVE) put_option(out, "isa %s", mq_isa_name(cell->isa));
  mq_status status = keep(options, out, &buffer, MQ_OK, arena, err);
  if (status == MQ_OK && !**options) {
    *options = NULL;
  }
  return status;
}

/* "w4a8"; what the cell leaves open is the target's. "default bits" where that cannot be read (any more). */
static void format_bits(char text[32], const struct mq_cell *cell) {
  int w = cell->w_bits, a = cell->a_bits;
  struct mq_target *target = NULL;
  if ((!w || !a) && mq_target_load(&target, cell->target, NULL) == MQ_OK) {
    w = w ? w : target->weights.bits;
    a = a ? a : target->activations.bits;
  }
  mq_target_destroy(target);
  if (w && a) {
    snprintf(text, 32, "w%da%d", w, a);
  } else {
    snprintf(text, 32, "default bits");
  }
}

mq_status mq_cell_label(const char **label, const struct mq_cell *cell, struct mq_arena *arena,
                        struct mq_err *err) {
  const char *options = NULL;
  char bits[32];
  mq_status status = mq_cell_options(&options, cell, arena, err);
  if (status != MQ_OK) {
    return status;
  }
  const char *comma = options ? ", " : "", *rest = options ? options : "";
  if (mq_cell_is_float(cell)) {
    *label = mq_arena_printf(arena, "%s float%s%s", cell->model_name, comma, rest);
  } else {
    format_bits(bits, cell);
    *label = mq_arena_printf(arena, "%s %s %s%s%s %s %s/%s seed %" PRIu64 "%s%s", cell->model_name,
                             mq_path_base(cell->target), cell->method, cell->variant ? " " : "",
                             cell->variant ? cell->variant : "", bits, cell->w_observer, cell->a_observer,
                             cell->seed, comma, rest);
  }
  return *label ? MQ_OK : mq_fail_memory(err, "text of a cell");
}
