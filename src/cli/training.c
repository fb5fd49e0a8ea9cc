#include "cli/training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/training.h"

static const struct {
  const char *option, *key, *value_name, *help;
} named[CLI_TRAINING_OPTIONS] = {
    {"--epochs", "epochs", "E", "epochs of training, also parts of one (default 1)"},
    {"--batch", "batch", "N", "images of a training step (default 128)"},
    {"--lr", "lr", "X", "peak of the learning rate (default 0.01)"},
    {"--weight-decay", "weight_decay", "X", "decay of weights (default 1e-4)"},
    {"--bn-fold", "bn_fold", "F", "batch normalisation: none, 0 to 4 (default: as the target deploys it)"},
    {"--bn-groups", "bn_groups", "N", "groups of a batch with statistics of their own (default 1)"},
    {"--augment", "augment", "A", "standard (default), none, crop_flip, resized_crop, resized_crop_jitter"},
    {"--precision", "precision", "P", "of backward convolutions: float32 (default), bf16"},
    {"--slice-images", "slice_images", "N", "images of a slice, on which the last bits depend (default 8)"},
};

size_t cli_training_options(struct cli_option *options, struct cli_training *training, bool is_float) {
  size_t n = 0;
  for (int i = 0; i < CLI_TRAINING_OPTIONS; i++) {
    if (is_float && !strcmp(named[i].key, "bn_fold")) continue;
    options[n++] = (struct cli_option){.name = named[i].option,
                                       .kind = CLI_TEXT,
                                       .target = &training->text[i],
                                       .value_name = named[i].value_name,
                                       .help = named[i].help};
  }
  options[n++] = (struct cli_option){.name = "--set",
                                     .kind = CLI_TEXTS,
                                     .target = &training->settings,
                                     .value_name = "KEY=VALUE",
                                     .help = "any other key of a plan's training section"};
  return n;
}

static mq_status apply(struct mq_cell *cell, const char *name, const char *text, struct mq_err *err) {
  size_t i = mq_training_key_find(name);
  double value = 0;
  if (i == mq_training_key_count()) {
    return mq_fail(err, MQ_BAD_USAGE, "--set %s: no key of training; docs/plans.md lists them", name);
  }
  mq_status status = mq_training_parse(&value, mq_training_key_at(i), text, err);
  if (status == MQ_OK) {
    mq_training_set(cell, mq_training_key_at(i), value);
  }
  return status;
}

static mq_status apply_setting(struct mq_cell *cell, const char *setting, struct mq_err *err) {
  char name[64];
  const char *equals = strchr(setting, '=');
  size_t n = equals ? (size_t)(equals - setting) : 0;
  if (n == 0 || n >= sizeof name) {
    return mq_fail(err, MQ_BAD_USAGE, "--set %s: expected KEY=VALUE, for example --set ema=0.999", setting);
  }
  memcpy(name, setting, n);
  name[n] = '\0';
  return apply(cell, name, equals + 1, err);
}

mq_status cli_apply_training(struct mq_cell *cell, const struct cli_training *training, struct mq_err *err) {
  mq_status status = MQ_OK;
  mq_training_defaults(cell);
  for (int i = 0; i < CLI_TRAINING_OPTIONS && status == MQ_OK; i++) {
    if (training->text[i]) {
      status = apply(cell, named[i].key, training->text[i], err);
    }
  }
  for (size_t i = 0; i < training->settings.n && status == MQ_OK; i++) {
    status = apply_setting(cell, training->settings.text[i], err);
  }
  return status;
}

const char *cli_training_given(const struct cli_training *training) {
  for (int i = 0; i < CLI_TRAINING_OPTIONS; i++) {
    bool is_general = !strcmp(named[i].key, "bn_fold") || !strcmp(named[i].key, "slice_images");
    if (training->text[i] && !is_general) return named[i].option;
  }
  return training->settings.n > 0 ? "--set" : NULL;
}

bool cli_has_no_result(const struct mq_run *run) {
  return strcmp(run->status, "nc") == 0 && isnan(run->top1);
}

mq_status cli_check_converged(const struct mq_run *run, struct mq_err *err) {
  if (strcmp(run->status, "nc") != 0) {
    return MQ_OK;
  }
  if (cli_has_no_result(run)) {
    return mq_fail(err, MQ_NO, "not converged: %s", run->message);
  }
  mq_log_warn("not converged: %s", run->message);
  return MQ_OK;
}
