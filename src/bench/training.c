#include "bench/training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct mq_cell, field)
#define LARGE 1e9

static const char *const folds[] = {
    [MQ_BN_FOLD_TARGET] = "target", [MQ_BN_FOLD_NONE] = "none", [MQ_BN_FOLD_0] = "0", [MQ_BN_FOLD_1] = "1",
    [MQ_BN_FOLD_2] = "2",           [MQ_BN_FOLD_3] = "3",       [MQ_BN_FOLD_4] = "4", NULL};
static const char *const optimisers[] = {[MQ_OPTIMISER_SGD] = "sgd", [MQ_OPTIMISER_ADAM] = "adam", NULL};
static const char *const precisions[] = {[MQ_PRECISION_F32] = "float32", [MQ_PRECISION_BF16] = "bf16", NULL};
static const char *const augments[] = {[MQ_AUGMENTS_STANDARD] = "standard",
                                       [MQ_AUGMENTS_NOT] = "none",
                                       [MQ_AUGMENTS_CROP_FLIP] = "crop_flip",
                                       [MQ_AUGMENTS_RESIZED_CROP] = "resized_crop",
                                       [MQ_AUGMENTS_RESIZED_CROP_JITTER] = "resized_crop_jitter",
                                       NULL};

static const struct mq_training_key keys[] = {
    {"epochs", MQ_TRAINING_REAL, AT(train.epochs), 0, 1e6, NULL},
    {"batch", MQ_TRAINING_WHOLE, AT(train.batch), 1, 1 << 20, NULL},
    {"lr", MQ_TRAINING_REAL, AT(train.rate), 1e-12, LARGE, NULL},
    {"warmup_epochs", MQ_TRAINING_REAL, AT(train.warmup_epochs), 0, 1e6, NULL},
    {"warmup_lr", MQ_TRAINING_REAL, AT(train.warmup_rate), 0, LARGE, NULL},
    {"weight_decay", MQ_TRAINING_REAL, AT(train.weight_decay), 0, LARGE, NULL},
    {"bias_decay", MQ_TRAINING_REAL, AT(train.bias_decay), 0, LARGE, NULL},
    {"bn_decay", MQ_TRAINING_REAL, AT(train.bn_decay), 0, LARGE, NULL},
    {"quantizer_decay", MQ_TRAINING_REAL, AT(train.quantizer_decay), 0, LARGE, NULL},
    {"scale_decay", MQ_TRAINING_REAL, AT(train.scale_decay), 0, LARGE, NULL},
    {"optimiser", MQ_TRAINING_WORD, AT(train.optimiser), 0, 0, optimisers},
    {"momentum", MQ_TRAINING_REAL, AT(train.momentum), 0, 1, NULL},
    {"nesterov", MQ_TRAINING_FLAG, AT(train.is_nesterov), 0, 1, NULL},
    {"label_smoothing", MQ_TRAINING_REAL, AT(train.label_smoothing), 0, 0.999, NULL},
    {"ema", MQ_TRAINING_REAL, AT(train.ema), 0, 0.999999, NULL},
    {"augment", MQ_TRAINING_WORD, AT(augment), 0, 0, augments},
    {"bn_fold", MQ_TRAINING_WORD, AT(bn_fold), 0, 0, folds},
    {"bn_groups", MQ_TRAINING_WHOLE, AT(train.bn_groups), 1, 1 << 16, NULL},
    {"batch_per_gpu", MQ_TRAINING_WHOLE, AT(train.batch_per_gpu), 1, 1 << 20, NULL},
    {"slice_images", MQ_TRAINING_WHOLE, AT(slice_images), 1, 1 << 16, NULL},
    {"precision", MQ_TRAINING_WORD, AT(train.precision), 0, 0, precisions},
    {"float_forward", MQ_TRAINING_FLAG, AT(train.has_float_forward), 0, 1, NULL},
    {"evaluate_epochs", MQ_TRAINING_REAL, AT(train.evaluate_epochs), 0, 1e6, NULL},
};

_Static_assert(sizeof keys / sizeof *keys == MQ_TRAINING_KEYS, "axes of the grid");

size_t mq_training_key_count(void) {
  return sizeof keys / sizeof *keys;
}
const struct mq_training_key *mq_training_key_at(size_t i) {
  return &keys[i];
}
size_t mq_training_key_find(const char *name) {
  size_t i = 0;
  while (i < mq_training_key_count() && strcmp(keys[i].name, name) != 0)
    i++;
  return i;
}

/* ---- Values ----------------------------------------------------------------------------------------- */
bool mq_training_is_of_all(const struct mq_training_key *key) {
  return key->offset == AT(bn_fold) || key->offset == AT(slice_images);
}

double mq_training_get(const struct mq_cell *cell, const struct mq_training_key *key) {
  const char *field = (const char *)cell + key->offset;
  switch (key->kind) {
    case MQ_TRAINING_REAL:
      return *(const double *)(const void *)field;
    case MQ_TRAINING_WHOLE:
      return (double)*(const int64_t *)(const void *)field;
    case MQ_TRAINING_FLAG:
      return *(const bool *)field ? 1 : 0;
    case MQ_TRAINING_WORD:
      break;
  }
  return *(const int *)(const void *)field;
}

void mq_training_set(struct mq_cell *cell, const struct mq_training_key *key, double value) {
  char *field = (char *)cell + key->offset;
  switch (key->kind) {
    case MQ_TRAINING_REAL:
      *(double *)(void *)field = value;
      break;
    case MQ_TRAINING_WHOLE:
      *(int64_t *)(void *)field = (int64_t)value;
      break;
    case MQ_TRAINING_FLAG:
      *(bool *)field = value != 0;
      break;
    case MQ_TRAINING_WORD:
      *(int *)(void *)field = (int)value;
      break;
  }
}

void mq_training_format(char text[40], const struct mq_training_key *key, double value) {
  if (key->kind == MQ_TRAINING_WORD) {
    snprintf(text, 40, "%s", key->words[(int)value]);
  } else if (key->kind == MQ_TRAINING_FLAG) {
    snprintf(text, 40, "%s", value != 0 ? "true" : "false");
  } else {
    char number[40] = "";
    int digits = 6; /* as many as it takes */
    do {
      snprintf(number, sizeof number, "%.*g", digits, value);
    } while (strtod(number, NULL) != value && !isnan(value) && digits++ < 17);
    memcpy(text, number, sizeof number);
  }
}

mq_status mq_training_read(double *value, const struct mq_training_key *key, const struct mq_yaml_node *node,
                           struct mq_err *err) {
  mq_status status = MQ_OK;
  int64_t whole = 0;
  bool flag = false;
  int index = 0;
  switch (key->kind) {
    case MQ_TRAINING_REAL:
      status = mq_yaml_get_double(value, node, err);
      if (status == MQ_OK && !(*value >= key->least && *value <= key->most)) {
        status = mq_yaml_fail(err, node, "%s: found %g, expected %g to %g", key->name, *value, key->least,
                              key->most);
      }
      return status;
    case MQ_TRAINING_WHOLE:
      status = mq_yaml_get_int(&whole, node, (int64_t)key->least, (int64_t)key->most, err);
      *value = (double)whole;
      return status;
    case MQ_TRAINING_FLAG:
      status = mq_yaml_get_bool(&flag, node, err);
      *value = flag;
      return status;
    case MQ_TRAINING_WORD:
      break;
  }
  status = mq_yaml_get_choice(&index, node, key->words, err);
  *value = index;
  return status;
}

static mq_status parse_word(double *value, const struct mq_training_key *key, const char *text,
                            struct mq_err *err) {
  static const char *const flags[] = {"false", "true", NULL};
  const char *const *words = key->kind == MQ_TRAINING_FLAG ? flags : key->words;
  char list[256] = "";
  for (int i = 0; words[i]; i++) {
    size_t used = strlen(list);
    if (!strcmp(words[i], text)) {
      *value = i;
      return MQ_OK;
    }
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
  }
  return mq_fail(err, MQ_BAD_USAGE, "%s %s: expected one of %s", key->name, text, list);
}

mq_status mq_training_parse(double *value, const struct mq_training_key *key, const char *text,
                            struct mq_err *err) {
  char *end = NULL;
  if (key->kind == MQ_TRAINING_FLAG || key->kind == MQ_TRAINING_WORD) {
    return parse_word(value, key, text, err);
  }
  *value = strtod(text, &end);
  bool is_whole = key->kind == MQ_TRAINING_WHOLE;
  if (end == text || *end || !(*value >= key->least && *value <= key->most) ||
      (is_whole && *value != floor(*value))) {
    return mq_fail(err, MQ_BAD_USAGE, "%s %s: expected a %snumber from %g to %g", key->name, text,
                   is_whole ? "whole " : "", key->least, key->most);
  }
  return MQ_OK;
}

/* ---- The whole -------------------------------------------------------------------------------------- */
void mq_training_defaults(struct mq_cell *cell) {
  cell->augment = MQ_AUGMENTS_STANDARD;
  cell->train = (struct mq_train_options){.epochs = 1,
                                          .batch = 128,
                                          .bn_groups = 1,
                                          .rate = 0.01,
                                          .warmup_epochs = 0.1,
                                          .warmup_rate = 1e-4,
                                          .optimiser = MQ_OPTIMISER_SGD,
                                          .momentum = 0.9,
                                          .is_nesterov = true,
                                          .weight_decay = 1e-4,
                                          .bias_decay = (double)NAN,
                                          .bn_decay = (double)NAN,
                                          .quantizer_decay = (double)NAN,
                                          .scale_decay = (double)NAN,
                                          .label_smoothing = 0.1,
                                          .precision = MQ_PRECISION_F32};
}

bool mq_cell_trains(const struct mq_cell *cell) {
  return cell->trains_float || mq_quantizer_find(cell->method) != NULL;
}

void mq_training_fill_observers(struct mq_cell *cell) {
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(cell->method), *of_weights = quantizer;
  if (quantizer && quantizer->w_quantizer) {
    of_weights = mq_quantizer_find(quantizer->w_quantizer);
  }
  cell->has_own_observers = quantizer && !cell->w_observer && !cell->a_observer;
  if (!cell->w_observer) {
    cell->w_observer = of_weights && of_weights->w_observer ? of_weights->w_observer : "minmax";
  }
  if (!cell->a_observer) {
    cell->a_observer = quantizer && quantizer->a_observer ? quantizer->a_observer : "minmax";
  }
}

mq_status mq_training_check_option(const char *method, double option, struct mq_err *err) {
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(method);
  char expected[MQ_LIMITS_TEXT];
  if (isnan(option) || (quantizer && mq_quantizer_takes(quantizer, option))) {
    return MQ_OK;
  }
  if (!quantizer || !quantizer->option.exists) {
    return mq_fail(err, MQ_BAD_USAGE, "option %g: method %s has no option", option, method);
  }
  mq_limits_format(expected, &quantizer->option);
  return mq_fail(err, MQ_BAD_USAGE, "option %g of method %s, expected %s", option, method, expected);
}

mq_status mq_training_check(const struct mq_cell *cell, struct mq_err *err) {
  if (!mq_cell_trains(cell)) {
    return cell->bn_fold > MQ_BN_FOLD_0
               ? mq_fail(err, MQ_BAD_USAGE,
                         "bn_fold %s: expected target, none or 0 for method %s, which trains "
                         "nothing",
                         folds[cell->bn_fold], cell->method)
               : MQ_OK;
  }
  int64_t group = cell->slice_images * cell->train.bn_groups;
  if (cell->train.batch % group != 0) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "batch %lld, expected a multiple of %lld (slice_images %lld x bn_groups %lld)",
                   (long long)cell->train.batch, (long long)group, (long long)cell->slice_images,
                   (long long)cell->train.bn_groups);
  }
  return MQ_OK;
}
