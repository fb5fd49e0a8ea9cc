/* Speaking the adapters' protocol: arguments out, a report in JSON and outputs as .npy back. Nothing that an
 * adapter leaves is believed. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"
#include "mqbench/verify.h"
#include "verify/process.h"
#include "verify/scratch.h"

#define MAX_INPUTS 16
#define MAX_OUTPUTS 256
#define MAX_LIST ((size_t)1 << 20)
#define MAX_REPORT_BYTES ((size_t)64 << 20)

/* ---- Finding --------------------------------------------------------------------------------------- */

static bool try_directory(char **path, const char *directory, size_t n, const char *engine) {
  char *folder = mq_alloc(n + 1, 1);
  if (folder) {
    memcpy(folder, directory, n);
  }
  *path = folder ? mq_path_join(folder, engine) : NULL;
  mq_free(folder);
  if (*path && !mq_file_is_directory(*path) && access(*path, X_OK) == 0) {
    return true;
  }
  mq_free(*path);
  *path = NULL;
  return false;
}

static bool is_plain_name(const char *name) {
  return *name && *name != '.' && !strchr(name, '/');
}

mq_status mq_adapter_find(char **path, const char *engine, struct mq_err *err) {
  const char *folders = getenv("MQBENCH_ADAPTERS");
  *path = NULL;
  const bool is_name = is_plain_name(engine) && strcmp(engine, "install") != 0;
  for (const char *at = folders; at && is_name;) {
    size_t n = strcspn(at, ":");
    if (n > 0 && try_directory(path, at, n, engine)) {
      return MQ_OK;
    }
    at = at[n] ? at + n + 1 : NULL;
  }
  char *own = mq_path_join(mq_share_directory(), "adapters");
  bool is_found = own && is_name && try_directory(path, own, strlen(own), engine);
  mq_status status =
      is_found ? MQ_OK
      : own    ? mq_fail(err, MQ_BAD_USAGE,
                         "engine '%.100s': found no adapter, expected an executable of that name in %s%s%s",
                         engine, folders ? folders : "", folders ? " or " : "", own)
               : mq_fail_memory(err, "a path");
  mq_free(own);
  return status;
}

/* ---- JSON ------------------------------------------------------------------------------------------ */

static mq_status parse(json_t **object, const char *adapter, const char *text, size_t n, struct mq_err *err) {
  json_error_t where;
  *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
  if (!json_is_object(*object)) {
    json_decref(*object);
    *object = NULL;
    return mq_fail(err, MQ_BAD_INPUT, "%s: found no JSON object in its answer, expected one", adapter);
  }
  const json_t *protocol = json_object_get(*object, "protocol");
  if (!json_is_integer(protocol) || json_integer_value(protocol) != MQ_ADAPTER_PROTOCOL) {
    mq_status status =
        mq_fail(err, MQ_BAD_INPUT, "%s: protocol: found %" PRId64 ", expected %d", adapter,
                json_is_integer(protocol) ? (int64_t)json_integer_value(protocol) : -1, MQ_ADAPTER_PROTOCOL);
    json_decref(*object);
    *object = NULL;
    return status;
  }
  return MQ_OK;
}

static mq_status read_text(char text[MQ_ADAPTER_TEXT], const char *adapter, const json_t *object,
                           const char *key, bool is_required, struct mq_err *err) {
  const json_t *item = json_object_get(object, key);
  text[0] = 0;
  if (!json_is_string(item)) {
    return item || is_required
               ? mq_fail(err, MQ_BAD_INPUT, "%s: %s: found no text, expected one", adapter, key)
               : MQ_OK;
  }
  snprintf(text, MQ_ADAPTER_TEXT, "%s", json_string_value(item));
  return MQ_OK;
}

static mq_status read_list(const json_t **list, const char *adapter, const json_t *object, const char *key,
                           bool is_required, size_t most, struct mq_err *err) {
  *list = json_object_get(object, key);
  if (!*list && !is_required) {
    return MQ_OK;
  }
  if (!json_is_array(*list) || json_array_size(*list) > most) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s: found no list, expected one of at most %zu items", adapter,
                   key, most);
  }
  return MQ_OK;
}

/* ---- Probe ----------------------------------------------------------------------------------------- */

static mq_status read_formats(char text[MQ_ADAPTER_TEXT], const char *adapter, const json_t *object,
                              struct mq_err *err) {
  const json_t *list;
  mq_status status = read_list(&list, adapter, object, "formats", true, 32, err);
  text[0] = 0;
  for (size_t i = 0; i < json_array_size(list) && status == MQ_OK; i++) {
    const char *format = json_string_value(json_array_get(list, i));
    size_t n = strlen(text);
    if (!format || n + strlen(format) + 2 > MQ_ADAPTER_TEXT) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: formats: expected names of export formats", adapter);
    }
    snprintf(text + n, MQ_ADAPTER_TEXT - n, "%s%s", n ? " " : "", format);
  }
  return status;
}

static mq_status read_probe(struct mq_adapter_info *info, const char *adapter, const json_t *object,
                            struct mq_err *err) {
  const json_t *available = json_object_get(object, "available");
  if (!json_is_boolean(available)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: available: expected true or false", adapter);
  }
  info->is_available = json_is_true(available);
  mq_status status = read_text(info->engine, adapter, object, "engine", true, err);
  if (status == MQ_OK) {
    status = read_text(info->version, adapter, object, "version", info->is_available, err);
  }
  if (status == MQ_OK) {
    status = read_text(info->reason, adapter, object, "reason", !info->is_available, err);
  }
  return status == MQ_OK ? read_formats(info->formats, adapter, object, err) : status;
}

mq_status mq_adapter_probe(struct mq_adapter_info *info, const char *path, double timeout_seconds,
                           struct mq_err *err) {
  char probe[] = "--probe";
  char *argv[] = {(char *)(uintptr_t)path, probe, NULL};
  struct process_output output;
  json_t *object = NULL;
  *info = (struct mq_adapter_info){.is_available = false};
  mq_status status = process_run(&output, argv, timeout_seconds, err);
  if (status == MQ_OK) {
    status = parse(&object, path, output.text, output.n, err);
  }
  if (status == MQ_OK) {
    status = read_probe(info, path, object, err);
  }
  json_decref(object);
  mq_free(output.text);
  return status;
}

/* ---- Run: what goes out ---------------------------------------------------------------------------- */

struct exchange {
  const struct mq_adapter_job *job;
  struct mq_adapter_result *result;
  char *directory;
  struct mq_err *err;
};

static const char *path_in(const struct exchange *x, const char *name) {
  return mq_arena_printf(&x->result->arena, "%s/%s", x->directory, name);
}

static mq_status check_job(const struct mq_adapter_job *job, struct mq_err *err) {
  if (job->n_inputs < 1 || job->n_inputs > MAX_INPUTS) {
    return mq_fail(err, MQ_BAD_USAGE, "%s: %zu inputs, expected 1 to %d", job->model, job->n_inputs,
                   MAX_INPUTS);
  }
  for (size_t i = 0; i < job->n_inputs; i++) {
    const struct mq_shape *shape = &job->inputs[i].shape;
    if (shape->rank < 1 || shape->dim[0] < 1 || shape->dim[0] != job->inputs[0].shape.dim[0]) {
      return mq_fail(err, MQ_BAD_USAGE,
                     "%s: input '%.100s': expected as many images as the others, at least 1", job->model,
                     job->input_names[i]);
    }
  }
  return MQ_OK;
}

static mq_status write_inputs(const struct exchange *x) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < x->job->n_inputs && status == MQ_OK; i++) {
    char name[32];
    snprintf(name, sizeof name, "in%zu.npy", i);
    const char *path = path_in(x, name);
    status = path ? mq_npy_write(path, &x->job->inputs[i], x->err) : mq_fail_memory(x->err, "a path");
  }
  return status;
}

static int64_t or_one(int64_t n) {
  return n > 0 ? n : 1;
}

#define MAX_ARGUMENTS (16 + 2 * MAX_INPUTS)
/* False: no memory. */
static bool make_arguments(char *argv[MAX_ARGUMENTS], const struct exchange *x) {
  const struct mq_adapter_job *job = x->job;
  struct mq_arena *arena = &x->result->arena;
  int64_t images = job->inputs[0].shape.dim[0];
  size_t n = 0;
  argv[n++] = mq_arena_strdup(arena, job->adapter);
  argv[n++] = mq_arena_strdup(arena, "--model");
  argv[n++] = mq_arena_strdup(arena, job->model);
  for (size_t i = 0; i < job->n_inputs; i++) {
    argv[n++] = mq_arena_strdup(arena, "--input");
    argv[n++] = mq_arena_printf(arena, "%s=%s/in%zu.npy", job->input_names[i], x->directory, i);
  }
  argv[n++] = mq_arena_printf(arena, "--output=%s", x->directory);
  argv[n++] = mq_arena_printf(arena, "--report=%s/report.json", x->directory);
  argv[n++] = mq_arena_printf(arena, "--batch=%" PRId64, job->batch > 0 ? job->batch : images);
  argv[n++] = mq_arena_printf(arena, "--threads=%" PRId64, or_one(job->threads));
  argv[n++] = mq_arena_printf(arena, "--warmup=%" PRId64, job->warmup > 0 ? job->warmup : 0);
  argv[n++] = mq_arena_printf(arena, "--repeat=%" PRId64, or_one(job->repeat));
  for (size_t i = 0; i < n; i++) {
    if (!argv[i]) {
      return false;
    }
  }
  argv[n] = NULL;
  return true;
}

static mq_status start(const struct exchange *x) {
  char *argv[MAX_ARGUMENTS];
  struct process_output output = {.text = NULL};
  if (!make_arguments(argv, x)) {
    return mq_fail_memory(x->err, "arguments");
  }
  mq_status status = process_run(&output, argv, x->job->timeout_seconds, x->err);
  mq_free(output.text); /* for people */
  return status;
}

/* ---- Run: what comes back -------------------------------------------------------------------------- */

static mq_status read_output(const struct exchange *x, const json_t *item, size_t i) {
  const char *adapter = x->job->adapter;
  const char *name = json_string_value(json_object_get(item, "name"));
  const char *file = json_string_value(json_object_get(item, "file"));
  if (!name || !file || !is_plain_name(file)) {
    return mq_fail(x->err, MQ_BAD_INPUT, "%s: outputs[%zu]: expected name and file, a plain file name",
                   adapter, i);
  }
  struct mq_tensor *output = &x->result->outputs[i];
  x->result->names[i] = mq_arena_strdup(&x->result->arena, name);
  const char *path = path_in(x, file);
  mq_status status =
      x->result->names[i] && path ? mq_npy_read(output, path, x->err) : mq_fail_memory(x->err, "outputs");
  int64_t images = x->job->inputs[0].shape.dim[0];
  if (status == MQ_OK && (output->shape.rank < 1 || output->shape.dim[0] != images)) {
    char shape[128];
    status = mq_fail(x->err, MQ_BAD_INPUT, "%s: output '%.100s': found shape %s, expected %" PRId64 " images",
                     adapter, name, mq_shape_format(shape, sizeof shape, &output->shape), images);
  }
  return status;
}

static mq_status read_outputs(const struct exchange *x, const json_t *report) {
  const json_t *list;
  struct mq_adapter_result *result = x->result;
  mq_status status = read_list(&list, x->job->adapter, report, "outputs", true, MAX_OUTPUTS, x->err);
  if (status != MQ_OK) {
    return status;
  }
  size_t n = json_array_size(list);
  if (n == 0) {
    return mq_fail(x->err, MQ_BAD_INPUT, "%s: outputs: found none, expected at least one", x->job->adapter);
  }
  result->outputs = mq_arena_alloc(&result->arena, n, sizeof *result->outputs);
  result->names = mq_arena_alloc(&result->arena, n, sizeof *result->names);
  if (!result->outputs || !result->names) {
    return mq_fail_memory(x->err, "outputs");
  }
  result->n_outputs = n;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = read_output(x, json_array_get(list, i), i);
  }
  return status;
}

static mq_status read_times(const struct exchange *x, const json_t *report) {
  const json_t *list;
  struct mq_adapter_result *result = x->result;
  mq_status status = read_list(&list, x->job->adapter, report, "milliseconds", true, MAX_LIST, x->err);
  if (status != MQ_OK) {
    return status;
  }
  result->n_times = json_array_size(list);
  result->milliseconds = mq_arena_alloc(&result->arena, result->n_times + 1, sizeof(double));
  if (!result->milliseconds) {
    return mq_fail_memory(x->err, "times");
  }
  for (size_t i = 0; i < result->n_times; i++) {
    const json_t *item = json_array_get(list, i);
    result->milliseconds[i] = json_number_value(item);
    if (!json_is_number(item) || !(result->milliseconds[i] >= 0) || !isfinite(result->milliseconds[i])) {
      return mq_fail(x->err, MQ_BAD_INPUT, "%s: milliseconds[%zu]: expected a time", x->job->adapter, i);
    }
  }
  return MQ_OK;
}

static mq_status read_nodes(const struct exchange *x, const json_t *report) {
  const json_t *list;
  struct mq_adapter_result *result = x->result;
  mq_status status = read_list(&list, x->job->adapter, report, "nodes", false, MAX_LIST, x->err);
  if (status != MQ_OK || !list) {
    return status;
  }
  size_t n = json_array_size(list);
  result->nodes = mq_arena_alloc(&result->arena, n + 1, sizeof *result->nodes);
  if (!result->nodes) {
    return mq_fail_memory(x->err, "nodes");
  }
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_array_get(list, i), *is_integer = json_object_get(item, "is_integer");
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *op = json_string_value(json_object_get(item, "op"));
    if (!name || !op || !json_is_boolean(is_integer)) {
      return mq_fail(x->err, MQ_BAD_INPUT, "%s: nodes[%zu]: expected name, op and is_integer",
                     x->job->adapter, i);
    }
    result->nodes[i] = (struct mq_adapter_node){.name = mq_arena_strdup(&result->arena, name),
                                                .op = mq_arena_strdup(&result->arena, op),
                                                .is_integer = json_is_true(is_integer)};
    if (!result->nodes[i].name || !result->nodes[i].op) {
      return mq_fail_memory(x->err, "nodes");
    }
    result->n_nodes = i + 1;
  }
  return MQ_OK;
}

static mq_status read_report(const struct exchange *x) {
  const char *adapter = x->job->adapter, *path = path_in(x, "report.json");
  char *text = NULL;
  size_t n = 0;
  json_t *report = NULL;
  mq_status status =
      path ? mq_file_read(&text, &n, path, MAX_REPORT_BYTES, x->err) : mq_fail_memory(x->err, "a path");
  if (status == MQ_BAD_INPUT) {
    status = mq_fail(x->err, MQ_BAD_INPUT, "%s: left no report", adapter);
  }
  if (status == MQ_OK) {
    status = parse(&report, adapter, text, n, x->err);
  }
  if (status == MQ_OK) {
    status = read_text(x->result->engine, adapter, report, "engine", true, x->err);
  }
  if (status == MQ_OK) {
    status = read_text(x->result->version, adapter, report, "version", true, x->err);
  }
  if (status == MQ_OK) {
    status = read_outputs(x, report);
  }
  if (status == MQ_OK) {
    status = read_times(x, report);
  }
  if (status == MQ_OK) {
    status = read_nodes(x, report);
  }
  json_decref(report);
  mq_free(text);
  return status;
}

mq_status mq_adapter_run(struct mq_adapter_result *result, const struct mq_adapter_job *job,
                         struct mq_err *err) {
  struct exchange x = {.job = job, .result = result, .err = err};
  *result = (struct mq_adapter_result){.n_outputs = 0};
  mq_arena_init(&result->arena, 0);
  mq_status status = check_job(job, err);
  if (status == MQ_OK) {
    status = scratch_create(&x.directory, err);
  }
  if (status == MQ_OK) {
    status = write_inputs(&x);
  }
  if (status == MQ_OK) {
    status = start(&x);
  }
  if (status == MQ_OK) {
    status = read_report(&x);
  }
  scratch_remove(x.directory);
  if (status != MQ_OK) {
    mq_adapter_result_deinit(result);
  }
  return status;
}

void mq_adapter_result_deinit(struct mq_adapter_result *result) {
  for (size_t i = 0; i < result->n_outputs; i++) {
    mq_tensor_deinit(&result->outputs[i]);
  }
  mq_arena_deinit(&result->arena);
  *result = (struct mq_adapter_result){.n_outputs = 0};
}
