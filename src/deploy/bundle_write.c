/* Writes the bundle directory. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "deploy/bundle_export.h"
#include "deploy/bundle_program.h"
#include "deploy/json.h"
#include "deploy/rules.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"
#include "target/words.h"

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

static const char *kind_name(mq_point_kind kind) {
  return kind == MQ_POINT_WEIGHT ? "weight" : kind == MQ_POINT_BIAS ? "bias" : "activation";
}

/* The names of the nodes that read the quantized tensor of point `index`; whether the network's output does.
 */
static json_t *point_consumers(bool *is_output, const struct mq_graph *graph, size_t index) {
  json_t *names = json_array();
  *is_output = false;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    int64_t point = -1;
    if (node->op != MQ_OP_FakeQuantize || mq_node_get_int(&point, node, "point", -1, NULL) != MQ_OK ||
        point != (int64_t)index) {
      continue;
    }
    const struct mq_value *quantized = node->outputs[0];
    *is_output = *is_output || quantized->is_output;
    for (size_t u = 0; u < quantized->n_uses; u++) {
      json_array_append_new(names, json_string(quantized->uses[u].node->name));
    }
  }
  return names;
}

/* What found the range; where a method learned it afterwards, what it began with. The parameter is null where
 * it is the observer's default or there is none. */
static void add_observer(json_t *object, const struct mq_point *point, const struct mq_bundle_record *r) {
  bool is_activation = point->kind == MQ_POINT_ACTIVATION;
  const char *name = is_activation ? r->a_observer : r->w_observer;
  double parameter = is_activation ? r->a_parameter : r->w_parameter;
  if (point->observer) { /* its own, at its default */
    name = point->observer;
    parameter = (double)NAN;
  }
  json_object_set_new(object, "observer", text_or_null(name));
  json_object_set_new(object, "observer_parameter", deploy_json_real(parameter));
  json_object_set_new(object, "observer_variant",
                      text_or_null(r->variant && r->variant[0] ? r->variant : NULL));
}

/* A learned grid may end elsewhere than its bits do. */
static bool has_custom_range(const struct mq_scheme *scheme, const struct mq_qparams *q) {
  int32_t low, high;
  mq_scheme_bounds(&low, &high, scheme);
  return q->quant_min != low || q->quant_max != high;
}

/* The scheme that the scales were made for: signed as the data turned out to be. */
static struct mq_scheme taken_scheme(const struct mq_point *point) {
  struct mq_scheme scheme = point->scheme;
  scheme.is_signed = point->qparams.is_signed;
  scheme.is_narrow = scheme.is_narrow && scheme.is_signed;
  return scheme;
}

static json_t *point_json(const struct mq_bundle_contents *contents, size_t index) {
  const struct mq_prepared *prepared = contents->prepared;
  const struct mq_point *point = &prepared->points[index];
  const struct mq_qparams *q = &point->qparams;
  const struct mq_scheme scheme = taken_scheme(point);
  bool is_output = false;
  json_t *consumers = point_consumers(&is_output, prepared->graph, index);
  json_t *scales = json_array(), *zeros = json_array();
  for (int64_t c = 0; c < q->n_channels; c++) {
    json_array_append_new(scales, json_real((double)q->scale[c]));
    json_array_append_new(zeros, json_integer(q->zero_point[c]));
  }
  json_t *object = json_pack(
      "{s:s, s:s, s:i, s:b, s:o, s:o, s:i, s:i, s:o, s:b, s:b, s:b, s:s, s:o, s:b}", "tensor", point->tensor,
      "kind", kind_name(point->kind), "bits", (int)scheme.bits, "signed", (int)scheme.is_signed, "scale",
      scales, "zero_point", zeros, "quant_min", q->quant_min, "quant_max", q->quant_max, "channel_axis",
      q->channel_axis < 0 ? json_null() : json_integer(q->channel_axis), "narrow", (int)scheme.is_narrow,
      "symmetric", (int)scheme.is_symmetric, "power_of_two", scheme.scale_form == MQ_SCALE_POT, "reason",
      point->reason, "consumers", consumers, "network_output", (int)is_output);
  add_observer(object, point, &contents->record);
  if (has_custom_range(&scheme, q)) {
    json_object_set_new(object, "custom_range", json_true());
  }
  return object;
}

/* A weight without scales lies in model.onnx as its method left it, on no grid of integers: no point. */
static bool is_written(const struct mq_point *point) {
  return point->qparams.n_channels > 0 || point->kind != MQ_POINT_WEIGHT;
}

/* What cannot be read back is not written. */
static mq_status check_points(const struct mq_bundle_contents *contents, struct mq_err *err) {
  const struct mq_prepared *prepared = contents->prepared;
  size_t n = 0;
  for (size_t i = 0; i < prepared->n_points; i++) {
    if (prepared->points[i].qparams.n_channels == 0 && is_written(&prepared->points[i])) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "a bundle for %s: tensor '%.200s' has no scale on a grid of integers, expected a method "
                     "whose activations have one",
                     contents->target->name, prepared->points[i].tensor);
    }
    n += is_written(&prepared->points[i]);
  }
  if (n == 0) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "a bundle for %s: found no quantized tensor in %s, expected at least one (is all of it kept "
        "float?)",
        contents->target->name, prepared->graph->name);
  }
  return MQ_OK;
}

static mq_status write_quant(const char *directory, const struct mq_bundle_contents *contents,
                             struct mq_err *err) {
  json_t *points = json_array();
  for (size_t i = 0; i < contents->prepared->n_points; i++) {
    if (is_written(&contents->prepared->points[i])) {
      json_array_append_new(points, point_json(contents, i));
    }
  }
  const char *arithmetic = contents->target->arithmetic;
  json_t *quant = json_pack("{s:s, s:o, s:o, s:s}", "target", contents->target->name, "points", points,
                            "arithmetic", arithmetic ? json_string(arithmetic) : json_null(), "bias",
                            mq_bias_names[contents->target->bias]);
  if (quant) {
    deploy_write_rules(quant, contents);
  }
  return deploy_json_write(directory, "quant.json", quant, err);
}

static json_t *floats_json(const float *x, int n) {
  json_t *array = json_array();
  for (int i = 0; i < n; i++) {
    json_array_append_new(array, json_real((double)x[i]));
  }
  return array;
}

static json_t *labels_json(const struct mq_dataset *dataset) {
  json_t *labels = json_array();
  int64_t n = dataset ? mq_dataset_get_info(dataset)->n_classes : 0;
  for (int64_t i = 0; i < n; i++) {
    const char *name = mq_dataset_class_name(dataset, i);
    if (!name) {
      json_array_clear(labels);
      break;
    }
    json_array_append_new(labels, json_string(name));
  }
  return labels;
}

static mq_status write_preprocess(const char *directory, const struct mq_bundle_contents *contents,
                                  struct mq_err *err) {
  const struct mq_preprocess *p = contents->preprocess;
  json_t *object =
      p ? json_pack("{s:s, s:s, s:I, s:I, s:[I,I], s:o, s:o, s:b}", "layout", p->is_nhwc ? "nhwc" : "nchw",
                    "channels", p->is_bgr ? "bgr" : "rgb", "resize", (json_int_t)p->resize, "crop",
                    (json_int_t)p->crop, "size", (json_int_t)p->size[0], (json_int_t)p->size[1], "mean",
                    floats_json(p->mean, 3), "std", floats_json(p->std, 3), "apply_exif",
                    (int)!p->ignores_exif)
        : json_object();
  if (object) {
    json_object_set_new(object, "labels", labels_json(contents->record.calibration));
  }
  return deploy_json_write(directory, "preprocess.json", object, err);
}

static json_t *lines_json(const char *text) {
  json_t *lines = json_array();
  while (text && *text) {
    size_t n = strcspn(text, "\n");
    json_array_append_new(lines, json_stringn(text, n));
    text += n + (text[n] == '\n');
  }
  return lines;
}

static json_t *renames_json(const struct mq_prepared *prepared) {
  json_t *renames = json_array();
  for (size_t i = 0; i < prepared->n_renames; i++) {
    json_array_append_new(renames, json_pack("{s:s, s:o}", "from", prepared->renames[i].from, "to",
                                             text_or_null(prepared->renames[i].to)));
  }
  return renames;
}

static json_t *calibration_json(const struct mq_bundle_record *record) {
  json_t *names = json_array();
  for (int64_t i = 0; record->calibration && i < record->n_indices; i++) {
    json_array_append_new(names, json_string(mq_dataset_name(record->calibration, record->indices[i])));
  }
  return names;
}

static json_t *manifest_json(const struct mq_bundle_contents *contents) {
  const struct mq_bundle_record *r = &contents->record;
  json_t *object = json_object();
  json_object_set_new(object, "mqbench", json_string(MQ_VERSION));
  json_object_set_new(object, "target", json_string(contents->target->name));
  json_object_set_new(object, "target_sha256", json_string(contents->target->sha256));
  json_object_set_new(object, "method", text_or_null(r->method));
  json_object_set_new(object, "w_observer", text_or_null(r->w_observer));
  json_object_set_new(object, "a_observer", text_or_null(r->a_observer));
  json_object_set_new(object, "seed", json_integer((json_int_t)r->seed));
  json_object_set_new(object, "plan", lines_json(r->cell));
  json_object_set_new(object, "model", text_or_null(r->model_path));
  json_object_set_new(object, "model_sha256", text_or_null(r->model_sha256));
  json_object_set_new(object, "data", text_or_null(r->data));
  json_object_set_new(object, "data_sha256", text_or_null(r->data_sha256));
  json_object_set_new(object, "eval_data", text_or_null(r->eval_data));
  json_object_set_new(object, "eval_sha256", text_or_null(r->eval_sha256));
  json_object_set_new(object, "float_top1", deploy_json_real(r->float_top1));
  json_object_set_new(object, "top1", deploy_json_real(r->top1));
  json_object_set_new(object, "correct", json_integer(r->correct));
  json_object_set_new(object, "images", json_integer(r->images));
  json_object_set_new(object, "seconds", deploy_json_real(r->seconds));
  json_object_set_new(object, "calib_seconds", deploy_json_real(r->calib_seconds));
  json_object_set_new(object, "started", text_or_null(r->started));
  json_object_set_new(object, "cpu", text_or_null(r->cpu));
  json_object_set_new(object, "isa", text_or_null(r->isa));
  json_object_set_new(object, "onednn", text_or_null(r->onednn));
  json_object_set_new(object, "calibration_images", calibration_json(r));
  json_object_set_new(object, "renamed_tensors", renames_json(contents->prepared));
  return object;
}

static mq_status write_onnx(const char *directory, const char *name, const struct mq_graph *graph,
                            struct mq_err *err) {
  char *path = mq_path_join(directory, name);
  mq_status status = path ? mq_onnx_write(path, graph, err) : mq_fail_memory(err, name);
  mq_free(path);
  return status;
}

/* ---- All or nothing ------------------------------------------------------------------------------ */
/* In the order in which they are put in place: the manifest last. */
static const char *const file_names[] = {"model.onnx", "float.onnx",   "preprocess.json",
                                         "quant.json", DEPLOY_PROGRAM, "manifest.json"};
enum {
  N_FILES = sizeof file_names / sizeof file_names[0],
  N_HASHED = N_FILES - 1 /* the manifest holds the hashes of the others */
};

/* Of the files that there may or may not be. */
static bool is_optional(const char *name) {
  return strcmp(name, DEPLOY_PROGRAM) == 0;
}

static mq_status hashes_json(json_t **hashes, const char *directory, struct mq_err *err) {
  *hashes = json_object();
  mq_status status = *hashes ? MQ_OK : mq_fail_memory(err, directory);
  for (size_t i = 0; status == MQ_OK && i < N_HASHED; i++) {
    char hex[65], *path = mq_path_join(directory, file_names[i]);
    bool is_missing = path && is_optional(file_names[i]) && !mq_file_exists(path);
    status = !path ? mq_fail_memory(err, directory) : is_missing ? MQ_OK : mq_sha256_file(hex, path, err);
    if (status == MQ_OK && !is_missing) {
      json_object_set_new(*hashes, file_names[i], json_string(hex));
    }
    mq_free(path);
  }
  return status;
}

static mq_status write_manifest(const char *directory, const struct mq_bundle_contents *contents,
                                json_t *program, json_t *exports, struct mq_err *err) {
  json_t *hashes = NULL;
  mq_status status = hashes_json(&hashes, directory, err);
  if (status != MQ_OK) {
    json_decref(hashes);
    return status;
  }
  json_t *manifest = manifest_json(contents);
  json_object_set_new(manifest, "files", hashes);
  json_object_set(manifest, "program", program);
  json_object_set(manifest, "exports", exports);
  return deploy_json_write(directory, "manifest.json", manifest, err);
}

static mq_status write_files(const char *directory, const struct mq_bundle_contents *contents,
                             struct mq_err *err) {
  struct mq_graph *handover = NULL;
  json_t *exports = NULL, *program = NULL;
  mq_status status = mq_prepare_handover(&handover, contents->prepared, err);
  if (status == MQ_OK) {
    status = write_onnx(directory, "model.onnx", handover, err);
  }
  if (status == MQ_OK) {
    status = write_onnx(directory, "float.onnx", contents->float_graph, err);
  }
  if (status == MQ_OK) {
    status = write_preprocess(directory, contents, err);
  }
  if (status == MQ_OK) {
    status = write_quant(directory, contents, err);
  }
  if (status == MQ_OK) {
    status = deploy_program_write(&program, directory, contents, err);
  }
  if (status == MQ_OK) {
    status = deploy_exports_write(&exports, directory, contents->target, err);
  }
  if (status == MQ_OK) {
    status = write_manifest(directory, contents, program, exports, err);
  }
  json_decref(program);
  json_decref(exports);
  mq_graph_destroy(handover);
  return status;
}

static mq_status remove_file(const char *directory, const char *name, struct mq_err *err) {
  char *path = mq_path_join(directory, name);
  mq_status status = path ? MQ_OK : mq_fail_memory(err, name);
  if (path && unlink(path) != 0 && errno != ENOENT) {
    status = mq_fail(err, MQ_FAILED, "%s: cannot remove: %s", path, strerror(errno));
  }
  mq_free(path);
  return status;
}

static mq_status move_file(const char *to_directory, const char *from_directory, const char *name,
                           struct mq_err *err) {
  char *to = mq_path_join(to_directory, name), *from = mq_path_join(from_directory, name);
  mq_status status = to && from ? MQ_OK : mq_fail_memory(err, name);
  if (status == MQ_OK && is_optional(name) && !mq_file_exists(from)) {
    status = remove_file(to_directory, name, err); /* of an older bundle */
  } else if (status == MQ_OK && rename(from, to) != 0) {
    status = mq_fail(err, MQ_FAILED, "%s: cannot write: %s", to, strerror(errno));
  }
  mq_free(to);
  mq_free(from);
  return status;
}

/* The old manifest goes first: whatever happens in between, there is no manifest beside files it is not of.
 */
static mq_status put_in_place(const char *directory, const char *partial, struct mq_err *err) {
  mq_status status = remove_file(directory, "manifest.json", err);
  if (status == MQ_OK) {
    status = deploy_exports_move(directory, partial, err);
  }
  for (size_t i = 0; status == MQ_OK && i < N_FILES; i++) {
    status = move_file(directory, partial, file_names[i], err);
  }
  return status;
}

static void remove_partial(const char *partial) {
  for (size_t i = 0; i < N_FILES; i++) {
    mq_status ignored = remove_file(partial, file_names[i], NULL); /* there is an older failure to tell */
    (void)ignored;
  }
  mq_status ignored = deploy_exports_remove(partial, NULL);
  (void)ignored;
  rmdir(partial);
}

/* The files are made in a directory within the final one: there it is the same file system, and no right to
 * write beside it is needed. */
mq_status mq_bundle_write(const char *directory, const struct mq_bundle_contents *contents,
                          struct mq_err *err) {
  char name[48], *partial = NULL;
  bool is_new = !mq_file_is_directory(directory);
  mq_status status = check_points(contents, err);
  if (status == MQ_OK) {
    status = mq_file_make_directories(directory, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  snprintf(name, sizeof name, "%ld.partial", (long)getpid());
  partial = mq_path_join(directory, name);
  status = partial ? mq_file_make_directories(partial, err) : mq_fail_memory(err, directory);
  if (status == MQ_OK) {
    status = write_files(partial, contents, err);
  }
  if (status == MQ_OK) {
    status = put_in_place(directory, partial, err);
  }
  if (partial) {
    remove_partial(partial);
  }
  if (status != MQ_OK && is_new) {
    rmdir(directory); /* stays if anything is in it */
  }
  mq_free(partial);
  return status;
}
