#include <assert.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "quant/quantizers/quantizers.h"

static const struct mq_quantizer_ops *const quantizers[] = {
    &mq_quantizer_lsq,   &mq_quantizer_lsq_plus, &mq_quantizer_pact,   &mq_quantizer_dorefa,
    &mq_quantizer_dsq,   &mq_quantizer_qil,      &mq_quantizer_apot,   &mq_quantizer_tqt,
    &mq_quantizer_lqnet, &mq_quantizer_nnie,     &mq_quantizer_minmax, NULL,
};

#define MAX_PLUGINS 32
#define MAX_NAME_BYTES 48

/* Filled before other threads start, then only read. */
static struct {
  const struct mq_quantizer_ops *quantizer;
  char sha256[65]; /* of its file */
} plugins[MAX_PLUGINS];
static size_t n_plugins;

/* Other spellings of a name. */
static const struct { const char *spelling, *name; } spellings[] = {{"lsqplus", "lsq_plus"}};

static size_t count_builtin(void) {
  return sizeof quantizers / sizeof *quantizers - 1;
}

size_t mq_quantizer_count(void) {
  return count_builtin() + n_plugins;
}

const struct mq_quantizer_ops *mq_quantizer_at(size_t i) {
  assert(i < mq_quantizer_count());
  size_t n = count_builtin();
  return i < n ? quantizers[i] : plugins[i - n].quantizer;
}

const struct mq_quantizer_ops *mq_quantizer_find(const char *name) {
  for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
    if (strcmp(spellings[i].spelling, name) == 0) name = spellings[i].name;
  for (size_t i = 0; i < mq_quantizer_count(); i++)
    if (strcmp(mq_quantizer_at(i)->name, name) == 0) return mq_quantizer_at(i);
  return NULL;
}

bool mq_quantizer_takes(const struct mq_quantizer_ops *quantizer, double option) {
  return isnan(option) || mq_limits_take(&quantizer->option, option);
}

const char *mq_quantizer_plugin_sha256(const struct mq_quantizer_ops *quantizer) {
  for (size_t i = 0; i < n_plugins; i++)
    if (plugins[i].quantizer == quantizer) return plugins[i].sha256;
  return NULL;
}

static size_t parameter_count(const struct mq_quantizer_ops *quantizer,
                              const struct mq_quantizer_config *config, int parameter) {
  return quantizer->parameter_count ? quantizer->parameter_count(config, parameter)
                                    : (size_t)config->n_channels;
}

size_t mq_quantizer_parameter_offset(const struct mq_quantizer_ops *quantizer,
                                     const struct mq_quantizer_config *config, int parameter) {
  assert(parameter >= 0 && parameter <= quantizer->n_parameters);
  size_t offset = 0;
  for (int i = 0; i < parameter; i++)
    offset += parameter_count(quantizer, config, i);
  return offset;
}

size_t mq_quantizer_parameter_total(const struct mq_quantizer_ops *quantizer,
                                    const struct mq_quantizer_config *config) {
  return mq_quantizer_parameter_offset(quantizer, config, quantizer->n_parameters);
}

/* Names stand in plans, rows of tables and file names. */
static bool is_name(const char *name) {
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
  return n > 0 && n < MAX_NAME_BYTES && name[n] == '\0';
}

static const char *parameters_defect(const struct mq_quantizer_ops *quantizer) {
  if (quantizer->n_parameters < 0 || (quantizer->n_parameters > 0 && !quantizer->parameters))
    return "parameters";
  bool has_learned = false, has_state = false;
  for (int i = 0; i < quantizer->n_parameters; i++) {
    const struct mq_quantizer_parameter *parameter = &quantizer->parameters[i];
    if (!parameter->name || !is_name(parameter->name)) return "a parameter's name";
    if (parameter->is_state)
      has_state = true;
    else
      has_learned = true;
  }
  if (has_learned && (!quantizer->finish || !quantizer->sum_count)) return "finish and sum_count";
  if (has_state && !quantizer->update) return "update";
  return NULL;
}

static bool is_observer(const char *name) {
  return name && mq_observer_find(name);
}

const char *mq_quantizer_defect(const struct mq_quantizer_ops *quantizer) {
  if (!quantizer->name || !is_name(quantizer->name)) return "name (lower-case letters, digits and _)";
  if (!quantizer->describes) return "describes";
  if (!quantizer->is_for_weights && !quantizer->is_for_activations)
    return "is_for_weights or is_for_activations";
  if (quantizer->is_for_weights && !is_observer(quantizer->w_observer)) return "w_observer";
  if (quantizer->is_for_activations && !is_observer(quantizer->a_observer)) return "a_observer";
  if (!quantizer->is_for_weights && !quantizer->w_quantizer) return "w_quantizer";
  if (!quantizer->check || !quantizer->init || !quantizer->form_count || !quantizer->derive)
    return "check, init, form_count and derive";
  if (!quantizer->forward || !quantizer->backward || !quantizer->grid) return "forward, backward and grid";
  bool has_statistics = quantizer->statistics_count;
  if (has_statistics != !!quantizer->observe || has_statistics != !!quantizer->merge)
    return "statistics_count, observe and merge, all or none";
  return parameters_defect(quantizer);
}

static mq_status check_plugin(const struct mq_quantizer_ops *quantizer, const char *path,
                              struct mq_err *err) {
  if (quantizer->version != MQ_QUANTIZER_VERSION)
    return mq_fail(err, MQ_BAD_INPUT, "%s: quantizer interface version %u; expected %u", path,
                   (unsigned)quantizer->version, (unsigned)MQ_QUANTIZER_VERSION);
  if (quantizer->bytes != sizeof *quantizer)
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: its table has %u bytes; expected %zu (built against another quant.h)", path,
                   (unsigned)quantizer->bytes, sizeof *quantizer);
  const char *defect = mq_quantizer_defect(quantizer);
  if (defect)
    return mq_fail(err, MQ_BAD_INPUT, "%s: the quantizer's table is incomplete; expected %s", path, defect);
  if (mq_quantizer_find(quantizer->name))
    return mq_fail(err, MQ_BAD_INPUT, "%s: there is a quantizer '%s' already; expected another name", path,
                   quantizer->name);
  if (quantizer->w_quantizer && !mq_quantizer_find(quantizer->w_quantizer))
    return mq_fail(err, MQ_BAD_INPUT, "%s: weights by '%s', which is no quantizer", path,
                   quantizer->w_quantizer);
  if (n_plugins == MAX_PLUGINS)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %d plug-ins are loaded; expected at most that many", path,
                   MAX_PLUGINS);
  return MQ_OK;
}

/* A name without a slash is a file here, not something to look for among the system's libraries. */
static void *open_file(const char *path) {
  if (strchr(path, '/')) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  char *here = mq_path_join(".", path);
  void *handle = here ? dlopen(here, RTLD_NOW | RTLD_LOCAL) : NULL;
  mq_free(here);
  return handle;
}

static mq_status keep_plugin(const struct mq_quantizer_ops *quantizer, const char *path, struct mq_err *err) {
  char sha256[65];
  mq_status status = mq_sha256_file(sha256, path, err);
  if (status == MQ_OK) {
    memcpy(plugins[n_plugins].sha256, sha256, sizeof sha256);
    plugins[n_plugins++].quantizer = quantizer;
  }
  return status;
}

mq_status mq_quantizer_load(const char *path, struct mq_err *err) {
  if (!mq_file_exists(path)) return mq_fail(err, MQ_BAD_INPUT, "%s: no such file", path);
  void *handle = open_file(path);
  if (!handle) {
    const char *reason = dlerror();
    return mq_fail(err, MQ_BAD_INPUT, "%s: not loadable as a plug-in: %s", path, reason ? reason : "unknown");
  }
  mq_status status = MQ_OK;
  bool is_kept = false;
  const struct mq_quantizer_ops *quantizer = dlsym(handle, "mq_plugin_quantizer");
  if (!quantizer)
    status =
        mq_fail(err, MQ_BAD_INPUT, "%s: no symbol mq_plugin_quantizer; expected a quantizer's table", path);
  else if (!mq_quantizer_plugin_sha256(quantizer)) {
    status = check_plugin(quantizer, path, err);
    if (status == MQ_OK) status = keep_plugin(quantizer, path, err);
    is_kept = status == MQ_OK;
  }
  if (!is_kept) dlclose(handle);
  return status;
}

mq_status mq_quantizer_check_loaded(const char *path, struct mq_err *err) {
  char sha256[65];
  if (!mq_file_exists(path)) return mq_fail(err, MQ_BAD_INPUT, "%s: no such file", path);
  mq_status status = mq_sha256_file(sha256, path, err);
  for (size_t i = 0; i < n_plugins && status == MQ_OK; i++)
    if (strcmp(plugins[i].sha256, sha256) == 0) return MQ_OK;
  return status != MQ_OK ? status
                         : mq_fail(err, MQ_BAD_INPUT,
                                   "%s is code that no --plugin names; expected --plugin %s", path, path);
}
