/* The cache of a grid: lists of a few entries each. */
#include "bench/cache.h"

#include <string.h>

#include "base/file.h"
#include "mqbench/load.h"
#include "mqbench/target.h"

struct mq_trial_cache {
  char *directory; /* keeps hashes of data sets, or NULL */
  struct mq_cache_model *models;
  struct mq_cache_data *data;
  struct mq_cache_float *floats;
};

static char *copy_text(const char *text) {
  char *copy = mq_alloc(strlen(text) + 1, 1);
  if (copy) {
    strcpy(copy, text);
  }
  return copy;
}

mq_status mq_trial_cache_create(struct mq_trial_cache **cache, const char *directory, struct mq_err *err) {
  *cache = mq_alloc(1, sizeof **cache);
  if (*cache && directory && !((*cache)->directory = copy_text(directory))) {
    mq_free(*cache);
    *cache = NULL;
  }
  return *cache ? MQ_OK : mq_fail_memory(err, "cache");
}

static void free_model(struct mq_cache_model *model) {
  if (model) {
    mq_graph_destroy(model->graph);
    mq_free(model->path);
    mq_free(model);
  }
}

static void free_data(struct mq_cache_data *data) {
  if (data) {
    mq_dataset_close(data->dataset);
    mq_data_spec_deinit(&data->spec);
    mq_free(data->argument);
    mq_free(data);
  }
}

void mq_trial_cache_destroy(struct mq_trial_cache *cache) {
  if (!cache) {
    return;
  }
  while (cache->models) {
    struct mq_cache_model *model = cache->models;
    cache->models = model->next;
    free_model(model);
  }
  while (cache->data) {
    struct mq_cache_data *data = cache->data;
    cache->data = data->next;
    free_data(data);
  }
  while (cache->floats) {
    struct mq_cache_float *known = cache->floats;
    cache->floats = known->next;
    mq_free(known);
  }
  mq_free(cache->directory);
  mq_free(cache);
}

/* ---- Models ----------------------------------------------------------------------------------------- */

/* The constants of the loaded graph: weights in external files are no part of the model file. */
static mq_status hash_weights(char hex[65], const struct mq_graph *graph, struct mq_err *err) {
  struct mq_sha256 *hash = NULL;
  mq_status status = mq_sha256_create(&hash, err);
  if (status != MQ_OK) {
    return status;
  }
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_tensor *constant = graph->values[i]->constant;
    if (!constant) continue;
    const char *name = graph->values[i]->name;
    size_t bytes = (size_t)mq_shape_count(&constant->shape) * mq_dtype_get(constant->dtype)->bytes;
    mq_sha256_update(hash, name, strlen(name) + 1);
    mq_sha256_update(hash, &constant->dtype, sizeof constant->dtype);
    mq_sha256_update(hash, constant->shape.dim, (size_t)constant->shape.rank * sizeof constant->shape.dim[0]);
    mq_sha256_update(hash, constant->data, bytes);
  }
  mq_sha256_finish(hex, hash);
  return MQ_OK;
}

static struct mq_cache_model *find_model(struct mq_trial_cache *cache, const char *path) {
  struct mq_cache_model *model = cache->models;
  while (model && strcmp(model->path, path) != 0) {
    model = model->next;
  }
  return model;
}

static mq_status add_model(struct mq_cache_model **added, struct mq_trial_cache *cache, const char *path,
                           struct mq_err *err) {
  struct mq_cache_model *model = mq_alloc(1, sizeof *model);
  *added = NULL;
  if (!model || !(model->path = copy_text(path))) {
    mq_free(model);
    return mq_fail_memory(err, path);
  }
  mq_status status = mq_sha256_file(model->sha256, path, err);
  if (status == MQ_OK) {
    status = mq_onnx_read(&model->graph, path, NULL, err);
  }
  if (status == MQ_OK) {
    status = hash_weights(model->weights, model->graph, err);
  }
  if (status != MQ_OK) {
    free_model(model);
    return status;
  }
  model->next = cache->models;
  cache->models = *added = model;
  return MQ_OK;
}

static void unload_others(struct mq_trial_cache *cache, const struct mq_cache_model *kept) {
  for (struct mq_cache_model *other = cache->models; other; other = other->next) {
    if (other != kept) {
      mq_graph_destroy(other->graph);
      other->graph = NULL;
    }
  }
}

mq_status mq_cache_get_model_hashes(const struct mq_cache_model **out, struct mq_trial_cache *cache,
                                    const char *path, struct mq_err *err) {
  struct mq_cache_model *model = find_model(cache, path);
  *out = model;
  if (model) {
    return MQ_OK;
  }
  mq_status status = add_model(&model, cache, path, err);
  if (status == MQ_OK) {
    unload_others(cache, model);
  }
  *out = model;
  return status;
}

mq_status mq_cache_get_model(const struct mq_cache_model **out, struct mq_trial_cache *cache,
                             const char *path, struct mq_err *err) {
  mq_status status = mq_cache_get_model_hashes(out, cache, path, err);
  struct mq_cache_model *model = status == MQ_OK ? find_model(cache, path) : NULL;
  if (model && !model->graph) {
    unload_others(cache, model);
    status = mq_onnx_read(&model->graph, path, NULL, err);
  }
  return status;
}

/* ---- Data ------------------------------------------------------------------------------------------- */

mq_status mq_cache_get_data(struct mq_cache_data **out, struct mq_trial_cache *cache, const char *argument,
                            struct mq_err *err) {
  for (*out = cache->data; *out; *out = (*out)->next) {
    if (!strcmp((*out)->argument, argument)) {
      return MQ_OK;
    }
  }
  struct mq_cache_data *data = mq_alloc(1, sizeof *data);
  mq_status status = MQ_OK;
  if (!data || !(data->argument = copy_text(argument))) {
    status = mq_fail_memory(err, argument);
  }
  if (status == MQ_OK) {
    status = mq_data_spec_parse(&data->spec, argument, err);
  }
  if (status == MQ_OK) {
    status = mq_dataset_open(&data->dataset, &data->spec, err);
  }
  if (status == MQ_OK) {
    status = cache->directory ? mq_dataset_hash_kept(data->sha256, data->dataset, cache->directory, err)
                              : mq_dataset_hash(data->sha256, data->dataset, err);
  }
  if (status != MQ_OK) {
    free_data(data);
    return status;
  }
  data->next = cache->data;
  cache->data = *out = data;
  return MQ_OK;
}

/* ---- Float accuracies ------------------------------------------------------------------------------- */

const struct mq_cache_float *mq_cache_find_float(const struct mq_trial_cache *cache, const char *identity) {
  const struct mq_cache_float *known = cache->floats;
  while (known && strcmp(known->identity, identity) != 0) {
    known = known->next;
  }
  return known;
}

mq_status mq_cache_put_float(struct mq_trial_cache *cache, const struct mq_cache_float *known,
                             struct mq_err *err) {
  struct mq_cache_float *copy = mq_alloc(1, sizeof *copy);
  if (!copy) {
    return mq_fail_memory(err, "cache");
  }
  *copy = *known;
  copy->next = cache->floats;
  cache->floats = copy;
  return MQ_OK;
}

/* ---- Identity --------------------------------------------------------------------------------------- */

static mq_status hash_target(char hex[65], const char *name, struct mq_err *err) {
  struct mq_target *target = NULL;
  mq_status status = mq_target_load(&target, name, err);
  if (status == MQ_OK) {
    memcpy(hex, target->sha256, 65);
  }
  mq_target_destroy(target);
  return status;
}

static mq_status hash_inputs(struct mq_cell_inputs *inputs, struct mq_trial_cache *cache,
                             const struct mq_cell *cell, struct mq_err *err) {
  const struct mq_cache_model *model = NULL;
  struct mq_cache_data *data = NULL;
  memset(inputs, 0, sizeof *inputs);
  mq_status status = cell->arch ? MQ_OK : mq_cache_get_model_hashes(&model, cache, cell->model_path, err);
  if (status == MQ_OK && model) {
    memcpy(inputs->model, model->sha256, sizeof inputs->model);
    memcpy(inputs->weights, model->weights, sizeof inputs->weights);
  }
  if (status == MQ_OK) {
    status = mq_cache_get_data(&data, cache, cell->eval_data, err);
  }
  if (status == MQ_OK) {
    memcpy(inputs->eval, data->sha256, sizeof inputs->eval);
  }
  if (status == MQ_OK && cell->calib_data) {
    status = mq_cache_get_data(&data, cache, cell->calib_data, err);
    if (status == MQ_OK) {
      memcpy(inputs->calib, data->sha256, sizeof inputs->calib);
    }
  }
  return status == MQ_OK && cell->target ? hash_target(inputs->target, cell->target, err) : status;
}

mq_status mq_cache_identify(char identity[65], char float_identity[65], struct mq_cell_inputs *inputs,
                            struct mq_trial_cache *cache, const struct mq_cell *cell, struct mq_arena *arena,
                            struct mq_err *err) {
  struct mq_cell float_cell = mq_cell_float(cell);
  mq_status status = hash_inputs(inputs, cache, cell, err);
  if (status == MQ_OK) {
    status = mq_cell_identity(identity, cell, inputs, arena, err);
  }
  struct mq_cell_inputs float_inputs = *inputs;
  float_inputs.calib[0] = float_inputs.target[0] = '\0';
  if (status == MQ_OK) {
    status = mq_cell_identity(float_identity, &float_cell, &float_inputs, arena, err);
  }
  return status;
}
