/* Reads a bundle back: model.onnx with the points of quant.json put in. Everything is checked: a bundle is a
 * file from outside like any other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "deploy/json.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"

bool mq_bundle_is(const char *path) {
  char *quant = mq_path_join(path, "quant.json");
  bool is_bundle = quant && mq_file_is_directory(path) && mq_file_exists(quant);
  mq_free(quant);
  return is_bundle;
}

struct reader {
  const char *directory;
  struct mq_bundle *bundle;
  struct mq_graph *graph;
  struct mq_err *err;
};

static mq_status fail_point(const struct reader *r, const char *tensor, const char *what) {
  return mq_fail(r->err, MQ_BAD_INPUT, "%s/quant.json: point '%.200s': %s", r->directory, tensor, what);
}

static int64_t get_int(const json_t *object, const char *key, int64_t fallback) {
  const json_t *item = json_object_get(object, key);
  return json_is_integer(item) ? json_integer_value(item) : fallback;
}

/* Scheme and range: bits 2..16, quant_min <= 0 <= quant_max, no wider than the bits allow. */
static mq_status read_scheme(struct mq_point *point, const struct reader *r, const json_t *object) {
  const char *kind = json_string_value(json_object_get(object, "kind"));
  int64_t bits = get_int(object, "bits", 0), low = get_int(object, "quant_min", 1),
          high = get_int(object, "quant_max", -1);
  if (!kind || (strcmp(kind, "weight") != 0 && strcmp(kind, "activation") != 0)) {
    return fail_point(r, point->tensor, "kind is neither weight nor activation");
  }
  if (bits < 2 || bits > 16 || low > 0 || high <= 0 || high - low >= (int64_t)1 << bits || low < -32768 ||
      high > 65535) {
    return fail_point(r, point->tensor, "bits, quant_min and quant_max do not fit together");
  }
  point->kind = !strcmp(kind, "weight") ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION;
  point->scheme = (struct mq_scheme){
      .bits = (uint8_t)bits,
      .is_signed = json_is_true(json_object_get(object, "signed")),
      .is_narrow = json_is_true(json_object_get(object, "narrow")),
      .is_symmetric = json_is_true(json_object_get(object, "symmetric")),
      .is_per_channel = json_array_size(json_object_get(object, "scale")) > 1,
      .scale_form = json_is_true(json_object_get(object, "power_of_two")) ? MQ_SCALE_POT : MQ_SCALE_FLOAT,
  };
  point->qparams.quant_min = (int32_t)low;
  point->qparams.quant_max = (int32_t)high;
  point->qparams.is_signed = point->scheme.is_signed;
  return MQ_OK;
}

static mq_status read_scales(struct mq_point *point, const struct reader *r, const json_t *object,
                             const struct mq_value *value) {
  const json_t *scales = json_object_get(object, "scale"), *zeros = json_object_get(object, "zero_point");
  size_t n = json_array_size(scales);
  int64_t axis = get_int(object, "channel_axis", -1);
  if (n == 0 || json_array_size(zeros) != n) {
    return fail_point(r, point->tensor, "scale and zero_point are not lists of one length");
  }
  if (axis < -1 || axis >= value->shape.rank || (axis < 0 && n != 1) ||
      (axis >= 0 && value->shape.dim[axis] != (int64_t)n)) {
    return fail_point(r, point->tensor, "the number of scales does not fit the tensor's channels");
  }
  int32_t low = point->qparams.quant_min, high = point->qparams.quant_max;
  bool is_signed = point->qparams.is_signed;
  mq_status status = mq_qparams_init(&point->qparams, (int64_t)n, (int)axis, r->err);
  if (status != MQ_OK) {
    return status;
  }
  point->qparams.quant_min = low;
  point->qparams.quant_max = high;
  point->qparams.is_signed = is_signed;
  for (size_t i = 0; i < n; i++) {
    double scale = json_number_value(json_array_get(scales, i));
    int64_t zero = json_integer_value(json_array_get(zeros, i));
    if (!(scale > 0) || !isfinite((float)scale) || (float)scale == 0 || zero < low || zero > high) {
      return fail_point(r, point->tensor, "a scale is not positive or a zero point is out of range");
    }
    point->qparams.scale[i] = (float)scale;
    point->qparams.zero_point[i] = (int32_t)zero;
  }
  point->n_channels = (int64_t)n;
  point->channel_axis = (int)axis;
  return MQ_OK;
}

static void hand_output_over(struct mq_graph *graph, struct mq_value *from, struct mq_value *to) {
  for (size_t i = 0; i < graph->n_outputs; i++) {
    if (graph->outputs[i] == from) {
      graph->outputs[i] = to;
    }
  }
  from->is_output = false;
  to->is_output = true;
}

/* A FakeQuantize node behind `value`, whose output is read by the named nodes and, if asked, by the network's
 * output. */
static mq_status insert_node(const struct reader *r, const json_t *object, struct mq_value *value,
                             size_t index) {
  struct mq_graph *graph = r->graph;
  struct mq_value *quantized = NULL;
  struct mq_node *node = NULL;
  const char *name = mq_arena_printf(&graph->arena, "%s_quantized", value->name);
  if (!name) {
    return mq_fail_memory(r->err, r->directory);
  }
  mq_status status = mq_graph_add_value(&quantized, graph, name, MQ_F32, &value->shape, r->err);
  if (status == MQ_OK) {
    status = mq_graph_add_node(&node, graph, MQ_OP_FakeQuantize, name, &value, 1, &quantized, 1, r->err);
  }
  if (status == MQ_OK) {
    status = mq_node_set_int(graph, node, "point", (int64_t)index, r->err);
  }
  const json_t *consumers = json_object_get(object, "consumers");
  size_t n_moved = 0;
  for (size_t i = 0; status == MQ_OK && i < json_array_size(consumers); i++) {
    const char *consumer = json_string_value(json_array_get(consumers, i));
    for (size_t u = 0; status == MQ_OK && consumer && u < value->n_uses; u++) {
      struct mq_use use = value->uses[u];
      if (use.node != node && !strcmp(use.node->name, consumer)) {
        status = mq_graph_set_input(graph, use.node, use.input, quantized, r->err);
        n_moved++;
        break;
      }
    }
  }
  if (status == MQ_OK && json_is_true(json_object_get(object, "network_output")) && value->is_output) {
    hand_output_over(graph, value, quantized);
    n_moved++;
  }
  if (status == MQ_OK && n_moved == 0) {
    return fail_point(r, value->name, "none of its consumers is in model.onnx");
  }
  return status;
}

static mq_status read_point(const struct reader *r, const json_t *object, size_t index) {
  struct mq_point *point = &r->bundle->prepared.points[index];
  const char *tensor = json_string_value(json_object_get(object, "tensor"));
  struct mq_value *value = tensor ? mq_graph_find_value(r->graph, tensor) : NULL;
  if (!tensor || !value) {
    return fail_point(r, tensor ? tensor : "?", "no such tensor in model.onnx");
  }
  const char *reason = json_string_value(json_object_get(object, "reason"));
  point->tensor = value->name;
  point->reason = mq_arena_strdup(&r->graph->arena, reason ? reason : "");
  point->share = -1;
  point->channel_axis = -1;
  mq_status status = read_scheme(point, r, object);
  if (status == MQ_OK) {
    status = read_scales(point, r, object, value);
  }
  return status == MQ_OK ? insert_node(r, object, value, index) : status;
}

static mq_status read_points(const struct reader *r, const json_t *quant) {
  const json_t *points = json_object_get(quant, "points");
  const char *target = json_string_value(json_object_get(quant, "target"));
  if (!json_is_array(points) || !target) {
    return mq_fail(r->err, MQ_BAD_INPUT, "%s/quant.json: target or points is missing", r->directory);
  }
  snprintf(r->bundle->target, sizeof r->bundle->target, "%s", target);
  size_t n = json_array_size(points);
  struct mq_prepared *prepared = &r->bundle->prepared;
  prepared->points = mq_alloc(n + 1, sizeof *prepared->points);
  if (!prepared->points) {
    return mq_fail_memory(r->err, "points");
  }
  for (size_t i = 0; i < n; i++) {
    prepared->n_points = i + 1;
    mq_status status = read_point(r, json_array_get(points, i), i);
    if (status != MQ_OK) {
      return status;
    }
  }
  mq_status status = mq_graph_sort(r->graph, r->err);
  return status == MQ_OK ? mq_graph_verify(r->graph, r->err) : status;
}

static mq_status check_preprocess(const struct reader *r, const struct mq_preprocess *p) {
  const int64_t most = 65536, sizes[] = {p->resize, p->crop, p->size[0], p->size[1]};
  for (int i = 0; i < 4; i++) {
    if (sizes[i] < 0 || sizes[i] > most) {
      return mq_fail(r->err, MQ_BAD_INPUT, "%s/preprocess.json: a size is not within 0 to 65536",
                     r->directory);
    }
  }
  for (int i = 0; i < 3; i++) {
    if (!(p->std[i] > 0) || !isfinite(p->std[i]) || !isfinite(p->mean[i])) {
      return mq_fail(r->err, MQ_BAD_INPUT, "%s/preprocess.json: mean or std is not usable", r->directory);
    }
  }
  return MQ_OK;
}

static mq_status read_preprocess(const struct reader *r, json_t *object) {
  if (!json_object_get(object, "layout")) {
    return MQ_OK; /* the data was taken as it is */
  }
  const char *layout = NULL, *channels = "rgb";
  json_int_t resize = 0, crop = 0, size[2] = {0};
  double mean[3] = {0}, std[3] = {1, 1, 1};
  int applies_exif = 1;
  json_error_t where;
  if (json_unpack_ex(object, &where, 0, "{s:s, s?s, s?I, s?I, s?[I,I!], s?[F,F,F!], s?[F,F,F!], s?b}",
                     "layout", &layout, "channels", &channels, "resize", &resize, "crop", &crop, "size",
                     &size[0], &size[1], "mean", &mean[0], &mean[1], &mean[2], "std", &std[0], &std[1],
                     &std[2], "apply_exif", &applies_exif) != 0) {
    return mq_fail(r->err, MQ_BAD_INPUT, "%s/preprocess.json: %s", r->directory, where.text);
  }
  if (strcmp(layout, "nhwc") != 0 && strcmp(layout, "nchw") != 0) {
    return mq_fail(r->err, MQ_BAD_INPUT, "%s/preprocess.json: layout '%.40s', expected nhwc or nchw",
                   r->directory, layout);
  }
  if (strcmp(channels, "rgb") != 0 && strcmp(channels, "bgr") != 0) {
    return mq_fail(r->err, MQ_BAD_INPUT, "%s/preprocess.json: channels '%.40s', expected rgb or bgr",
                   r->directory, channels);
  }
  struct mq_preprocess *p = &r->bundle->preprocess;
  *p = (struct mq_preprocess){.resize = resize,
                              .crop = crop,
                              .size = {size[0], size[1]},
                              .mean = {(float)mean[0], (float)mean[1], (float)mean[2]},
                              .std = {(float)std[0], (float)std[1], (float)std[2]},
                              .is_nhwc = !strcmp(layout, "nhwc"),
                              .is_bgr = !strcmp(channels, "bgr"),
                              .ignores_exif = !applies_exif};
  mq_status status = check_preprocess(r, p);
  r->bundle->has_preprocess = status == MQ_OK;
  return status;
}

static double get_real(const json_t *object, const char *key) {
  const json_t *item = json_object_get(object, key);
  return json_is_number(item) ? json_number_value(item) : NAN;
}

static mq_status verify_file(const struct reader *r, const json_t *hashes, const char *name) {
  const char *expected = json_string_value(json_object_get(hashes, name));
  char hex[65], *path = mq_path_join(r->directory, name);
  mq_status status = path ? mq_sha256_file(hex, path, r->err) : mq_fail_memory(r->err, name);
  if (status == MQ_OK && !expected) {
    status = mq_fail(r->err, MQ_BAD_INPUT, "%s/manifest.json: no hash of %s in files", r->directory, name);
  } else if (status == MQ_OK && strcmp(expected, hex) != 0) {
    status = mq_fail(r->err, MQ_BAD_INPUT,
                     "%s: differs from the manifest's hash: the bundle is mixed or damaged", path);
  }
  mq_free(path);
  return status;
}

/* The files are those the manifest was written for: a model with another bundle's scales would run and be
 * wrong. */
static mq_status read_manifest(const struct reader *r) {
  static const char *const names[] = {"model.onnx", "preprocess.json", "quant.json"};
  json_t *manifest = NULL;
  mq_status status = deploy_json_read(&manifest, r->directory, "manifest.json", r->err);
  const json_t *hashes = json_object_get(manifest, "files");
  if (status == MQ_OK && !json_is_object(hashes)) {
    status = mq_fail(r->err, MQ_BAD_INPUT, "%s/manifest.json: files (the hashes) is missing", r->directory);
  }
  for (size_t i = 0; status == MQ_OK && i < sizeof names / sizeof names[0]; i++) {
    status = verify_file(r, hashes, names[i]);
  }
  if (status == MQ_OK) {
    r->bundle->float_top1 = get_real(manifest, "float_top1");
    r->bundle->top1 = get_real(manifest, "top1");
  }
  json_decref(manifest);
  return status;
}

static mq_status read_model(struct reader *r) {
  char *path = mq_path_join(r->directory, "model.onnx");
  mq_status status =
      path ? mq_onnx_read(&r->graph, path, NULL, r->err) : mq_fail_memory(r->err, r->directory);
  r->bundle->prepared.graph = r->graph;
  mq_free(path);
  return status;
}

static mq_status read_files(struct reader *r) {
  json_t *quant = NULL, *preprocess = NULL;
  mq_status status = read_manifest(r);
  if (status == MQ_OK) {
    status = read_model(r);
  }
  if (status == MQ_OK) {
    status = deploy_json_read(&quant, r->directory, "quant.json", r->err);
  }
  if (status == MQ_OK) {
    status = read_points(r, quant);
  }
  if (status == MQ_OK) {
    status = deploy_json_read(&preprocess, r->directory, "preprocess.json", r->err);
  }
  if (status == MQ_OK) {
    status = read_preprocess(r, preprocess);
  }
  json_decref(quant);
  json_decref(preprocess);
  return status;
}

mq_status mq_bundle_read(struct mq_bundle *bundle, const char *directory, struct mq_err *err) {
  *bundle = (struct mq_bundle){0};
  if (!mq_bundle_is(directory)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: not a bundle: there is no quant.json in it", directory);
  }
  struct reader reader = {.directory = directory, .bundle = bundle, .err = err};
  mq_status status = read_files(&reader);
  if (status != MQ_OK) {
    mq_bundle_deinit(bundle);
  }
  return status;
}

void mq_bundle_deinit(struct mq_bundle *bundle) {
  mq_prepared_deinit(&bundle->prepared);
}
