/* A cell from its canonical text: the way back of mq_cell_format, line by line in the same order. Texts come
 * from stores that anyone may have written. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cell.h"
#include "bench/training.h"
#include "bench/variant.h"

struct reader {
  const char *at;
  int line;
  struct mq_arena *arena;
  struct mq_err *err;
};

static mq_status bad(const struct reader *reader, const char *key, const char *found, const char *expected) {
  return mq_fail(reader->err, MQ_BAD_INPUT, "line %d of a cell: %s=%.60s, expected %s", reader->line, key,
                 found, expected);
}

static int digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes \xHH in place; false for an escape that is none. */
static bool unescape(char *text) {
  char *to = text;
  for (const char *c = text; *c; c++) {
    if (*c != '\\') {
      *to++ = *c;
      continue;
    }
    int high = c[1] == 'x' ? digit(c[2]) : -1, low = high < 0 ? -1 : digit(c[3]);
    if (low < 0 || 16 * high + low == 0) {
      return false;
    }
    *to++ = (char)(16 * high + low);
    c += 3;
  }
  *to = '\0';
  return true;
}

/* The next line must be `key`'s; its value in the arena, NULL where it is empty. */
static mq_status read_text(const char **value, struct reader *reader, const char *key) {
  size_t n_key = strlen(key), n = strcspn(reader->at, "\n");
  const char *line = reader->at;
  *value = NULL;
  reader->line++;
  if (line[n] != '\n' || n <= n_key || strncmp(line, key, n_key) != 0 || line[n_key] != '=') {
    return mq_fail(reader->err, MQ_BAD_INPUT, "line %d of a cell: found \"%.*s\", expected \"%s=\"",
                   reader->line, n > 60 ? 60 : (int)n, line, key);
  }
  reader->at = line + n + 1;
  size_t n_value = n - n_key - 1;
  if (n_value == 0) {
    return MQ_OK;
  }
  char *text = mq_arena_alloc(reader->arena, n_value + 1, 1);
  if (!text) {
    return mq_fail_memory(reader->err, "cell");
  }
  memcpy(text, line + n_key + 1, n_value);
  *value = text;
  return unescape(text) ? MQ_OK : bad(reader, key, text, "escapes of the form \\xHH");
}

static mq_status read_name(const char **value, struct reader *reader, const char *key) {
  mq_status status = read_text(value, reader, key);
  return status == MQ_OK && !*value ? bad(reader, key, "", "a text") : status;
}

static mq_status read_whole(int64_t *value, struct reader *reader, const char *key, int64_t least,
                            int64_t most) {
  const char *text = NULL;
  char *end = NULL;
  *value = 0;
  mq_status status = read_name(&text, reader, key);
  if (status != MQ_OK) {
    return status;
  }
  errno = 0;
  *value = strtoll(text, &end, 10);
  if (*end || errno || *value < least || *value > most) {
    return mq_fail(reader->err, MQ_BAD_INPUT, "line %d of a cell: %s=%.60s, expected %lld to %lld",
                   reader->line, key, text, (long long)least, (long long)most);
  }
  return MQ_OK;
}

static mq_status read_int(int *value, struct reader *reader, const char *key, int least, int most) {
  int64_t whole = 0;
  mq_status status = read_whole(&whole, reader, key, least, most);
  *value = (int)whole;
  return status;
}

static mq_status read_flag(bool *value, struct reader *reader, const char *key) {
  int64_t whole = 0;
  mq_status status = read_whole(&whole, reader, key, 0, 1);
  *value = whole == 1;
  return status;
}

/* NAN where the line is empty. */
static mq_status read_real(double *value, struct reader *reader, const char *key) {
  const char *text = NULL;
  char *end = NULL;
  *value = (double)NAN;
  mq_status status = read_text(&text, reader, key);
  if (status == MQ_OK && text) {
    *value = strtod(text, &end);
    status = *end || !isfinite(*value) ? bad(reader, key, text, "a number") : MQ_OK;
  }
  return status;
}

/* ---- The parts, in the order of cell.c -------------------------------------------------------------- */

/* Lines that only some cells have are told by their key. */
static bool is_next(const struct reader *reader, const char *key) {
  size_t n = strlen(key);
  return !strncmp(reader->at, key, n) && reader->at[n] == '=';
}

static mq_status read_arch(struct mq_cell *cell, struct reader *reader) {
  mq_status status = read_name(&cell->arch, reader, "arch");
  if (status == MQ_OK) {
    status = read_real(&cell->arch_width, reader, "arch_width");
  }
  return status == MQ_OK && !(cell->arch_width >= 0) ? bad(reader, "arch_width", "", "0 or more") : status;
}

static mq_status read_inputs(struct mq_cell *cell, struct reader *reader) {
  mq_status status = read_name(&cell->model_name, reader, "model_name");
  if (status == MQ_OK && is_next(reader, "arch")) {
    status = read_arch(cell, reader);
  }
  if (status == MQ_OK) {
    status = cell->arch ? read_text(&cell->model_path, reader, "model")
                        : read_name(&cell->model_path, reader, "model");
  }
  if (status == MQ_OK) status = read_text(&cell->calib_data, reader, "calib_data");
  if (status == MQ_OK) status = read_name(&cell->eval_data, reader, "eval_data");
  if (status == MQ_OK) status = read_text(&cell->target, reader, "target");
  return status;
}

static mq_status read_observer(const char **observer, double *parameter, struct reader *reader,
                               const char *key, const char *parameter_key) {
  mq_status status = read_text(observer, reader, key);
  if (status == MQ_OK && *observer && !mq_observer_find(*observer)) {
    status = bad(reader, key, *observer, "an observer of this version; see mqbench list observers");
  }
  return status == MQ_OK ? read_real(parameter, reader, parameter_key) : status;
}

/* The variant as it is written, and the method's own number where it is not the default. */
static mq_status read_variant(struct mq_cell *cell, struct reader *reader) {
  const char *variant = NULL;
  mq_status status = read_text(&cell->variant, reader, "variant");
  if (status == MQ_OK && cell->variant &&
      (mq_variant_parse(&variant, cell->variant, reader->arena, NULL) != MQ_OK ||
       strcmp(variant, cell->variant) != 0 || mq_variant_check(variant, cell->method, NULL) != MQ_OK)) {
    status = bad(reader, "variant", cell->variant, "published, or published: and parts that the method has");
  }
  if (status == MQ_OK && is_next(reader, "method_option")) {
    status = read_real(&cell->method_option, reader, "method_option");
  }
  if (status == MQ_OK && mq_training_check_option(cell->method, cell->method_option, NULL) != MQ_OK) {
    status = mq_fail(reader->err, MQ_BAD_INPUT, "line %d of a cell: method_option=%g is none of method %s",
                     reader->line, cell->method_option, cell->method);
  }
  return status;
}

static mq_status read_method(struct mq_cell *cell, struct reader *reader) {
  mq_status status = read_name(&cell->method, reader, "method");
  if (status == MQ_OK && strcmp(cell->method, "float") != 0 && strcmp(cell->method, "ptq") != 0 &&
      !mq_cell_trains(cell)) {
    status = bad(reader, "method", cell->method, "a method of this version; see mqbench list methods");
  }
  const struct mq_quantizer_ops *quantizer = status == MQ_OK ? mq_quantizer_find(cell->method) : NULL;
  if (quantizer && strcmp(quantizer->name, cell->method) != 0) {
    status = bad(reader, "method", cell->method, quantizer->name);
  }
  if (status == MQ_OK) status = read_variant(cell, reader);
  if (status == MQ_OK) {
    status = read_observer(&cell->w_observer, &cell->w_parameter, reader, "w_observer", "w_parameter");
  }
  return status == MQ_OK
             ? read_observer(&cell->a_observer, &cell->a_parameter, reader, "a_observer", "a_parameter")
             : status;
}

static mq_status read_fold(struct mq_cell *cell, struct reader *reader) {
  const struct mq_training_key *key = mq_training_key_at(mq_training_key_find("bn_fold"));
  const char *text = NULL;
  double value = 0;
  mq_status status = read_name(&text, reader, "bn_fold");
  if (status == MQ_OK && mq_training_parse(&value, key, text, NULL) != MQ_OK) {
    status = bad(reader, "bn_fold", text, "target, none or a strategy");
  }
  if (status == MQ_OK) {
    mq_training_set(cell, key, value);
  }
  return status;
}

static mq_status read_word(int *index, struct reader *reader, const char *key, const char *const *words,
                           const char *expected) {
  const char *text = NULL;
  mq_status status = read_name(&text, reader, key);
  for (*index = 0; status == MQ_OK && words[*index] && strcmp(words[*index], text) != 0;) {
    ++*index;
  }
  return status == MQ_OK && !words[*index] ? bad(reader, key, text, expected) : status;
}

static mq_status read_seed_and_isa(struct mq_cell *cell, struct reader *reader) {
  const char *text = NULL;
  char *end = NULL;
  mq_status status = read_name(&text, reader, "seed");
  if (status == MQ_OK) {
    errno = 0;
    cell->seed = strtoull(text, &end, 10);
    status = *end || errno ? bad(reader, "seed", text, "a whole number") : MQ_OK;
  }
  if (status == MQ_OK) status = read_name(&text, reader, "isa");
  if (status == MQ_OK && mq_isa_parse(&cell->isa, text, NULL) != MQ_OK) {
    status = bad(reader, "isa", text, "an instruction set");
  }
  return status;
}

static mq_status read_settings(struct mq_cell *cell, struct reader *reader) {
  static const char *const orders[] = {"sampled", "first", NULL};
  int order = 0;
  mq_status status = read_method(cell, reader);
  if (status == MQ_OK) status = read_int(&cell->w_bits, reader, "w_bits", 0, 8);
  if (status == MQ_OK) status = read_int(&cell->a_bits, reader, "a_bits", 0, 16);
  if (status == MQ_OK) status = read_int(&cell->graph, reader, "graph", 0, 3);
  if (status == MQ_OK) status = read_fold(cell, reader);
  if (status == MQ_OK) status = read_flag(&cell->calibrates_bn, reader, "bn_calibration");
  int64_t least = status == MQ_OK && mq_cell_is_float(cell) ? 0 : 1;
  if (status == MQ_OK) status = read_whole(&cell->calib_images, reader, "calib_images", least, 100000000);
  if (status == MQ_OK) status = read_whole(&cell->calib_batch, reader, "calib_batch", least, 1 << 20);
  if (status == MQ_OK) status = read_word(&order, reader, "calib_order", orders, "sampled or first");
  if (status == MQ_OK) status = read_whole(&cell->slice_images, reader, "slice_images", 1, 1 << 16);
  cell->is_calib_first = order == 1;
  if (status == MQ_OK) status = read_seed_and_isa(cell, reader);
  return status == MQ_OK ? read_flag(&cell->is_strict, reader, "strict") : status;
}

/* Words are written as such, all else as numbers. What the pipeline does by itself may lie outside what a
 * plan may say: decays that follow another, no moving average. */
static mq_status read_training_value(double *value, struct reader *reader, const struct mq_training_key *key,
                                     double usual) {
  char name[64];
  int index = 0;
  snprintf(name, sizeof name, "training.%s", key->name);
  if (key->kind == MQ_TRAINING_WORD) {
    mq_status status = read_word(&index, reader, name, key->words, "a word of this version");
    *value = index;
    return status;
  }
  mq_status status = read_real(value, reader, name);
  bool is_usual = *value == usual || (isnan(*value) && isnan(usual));
  bool is_within = *value >= key->least && *value <= key->most &&
                   (key->kind == MQ_TRAINING_REAL || *value == floor(*value));
  if (status == MQ_OK && !is_usual && !is_within) {
    status = mq_fail(reader->err, MQ_BAD_INPUT, "line %d of a cell: %s=%g, expected %g to %g", reader->line,
                     name, *value, key->least, key->most);
  }
  return status;
}

static mq_status read_training(struct mq_cell *cell, struct reader *reader) {
  mq_status status = read_flag(&cell->has_own_observers, reader, "own_observers");
  struct mq_cell usual = {.slice_images = cell->slice_images};
  mq_training_defaults(&usual);
  cell->train = usual.train;
  for (size_t i = 0; i < mq_training_key_count() && status == MQ_OK; i++) {
    const struct mq_training_key *key = mq_training_key_at(i);
    double value = 0;
    if (mq_training_is_of_all(key)) continue;
    status = read_training_value(&value, reader, key, mq_training_get(&usual, key));
    if (status == MQ_OK) {
      mq_training_set(cell, key, value);
    }
  }
  return status;
}

static mq_status read_overrides(struct mq_cell *cell, struct reader *reader) {
  static const char first[] = "override.layer=";
  size_t n = 0;
  for (const char *c = reader->at; *c; c = strchr(c, '\n') + 1) {
    n += !strncmp(c, first, sizeof first - 1);
    if (!strchr(c, '\n')) break;
  }
  struct mq_layer_override *overrides = mq_arena_alloc(reader->arena, n + 1, sizeof *overrides);
  if (!overrides) {
    return mq_fail_memory(reader->err, "cell");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = read_name(&overrides[i].layer, reader, "override.layer");
    if (status == MQ_OK) status = read_int(&overrides[i].w_bits, reader, "override.w_bits", 0, 8);
    if (status == MQ_OK) status = read_int(&overrides[i].a_bits, reader, "override.a_bits", 0, 16);
    if (status == MQ_OK) status = read_flag(&overrides[i].keep_float, reader, "override.keep_float");
  }
  cell->overrides = n ? overrides : NULL;
  cell->n_overrides = n;
  return status;
}

/* ---- The whole -------------------------------------------------------------------------------------- */

static mq_status check(const struct mq_cell *cell, const char *text, struct reader *reader) {
  const char *again = NULL;
  struct mq_err why = {.status = MQ_OK};
  if (!mq_cell_is_float(cell) &&
      !(cell->calib_data && cell->target && cell->w_observer && cell->a_observer)) {
    return mq_fail(reader->err, MQ_BAD_INPUT,
                   "a cell of method %s lacks its calibration data, target or observers", cell->method);
  }
  if (cell->trains_float ? !cell->calib_data : cell->arch != NULL) {
    return mq_fail(reader->err, MQ_BAD_INPUT, "a cell of method %s: an architecture is trained, on data",
                   cell->method);
  }
  if (mq_training_check(cell, &why) != MQ_OK) {
    return mq_fail(reader->err, MQ_BAD_INPUT, "a cell: %s", why.message);
  }
  mq_status status = mq_cell_format(&again, cell, reader->arena, reader->err);
  if (status == MQ_OK && strcmp(again, text) != 0) {
    status = mq_fail(reader->err, MQ_BAD_INPUT, "the text of a cell is not the one that mqbench writes");
  }
  return status;
}

mq_status mq_cell_parse(struct mq_cell *cell, const char *text, struct mq_arena *arena, struct mq_err *err) {
  struct reader reader = {.at = text, .arena = arena, .err = err};
  *cell =
      (struct mq_cell){.w_parameter = (double)NAN, .a_parameter = (double)NAN, .method_option = (double)NAN};
  mq_status status = read_inputs(cell, &reader);
  if (status == MQ_OK) {
    status = read_settings(cell, &reader);
  }
  if (status == MQ_OK && mq_cell_is_float(cell)) {
    cell->trains_float = is_next(&reader, "own_observers");
  }
  if (status == MQ_OK && mq_cell_trains(cell)) {
    status = read_training(cell, &reader);
  }
  if (status == MQ_OK) {
    status = read_overrides(cell, &reader);
  }
  return status == MQ_OK ? check(cell, text, &reader) : status;
}
