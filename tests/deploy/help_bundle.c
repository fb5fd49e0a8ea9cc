#include "help_bundle.h"

#include <math.h>

#include "base/file.h"
#include "help_graphs.h"

char scratch[512];

int make_scratch(void **state) {
  (void)state;
  strcpy(scratch, make_test_directory());
  return 0;
}

int drop_scratch(void **state) {
  (void)state;
  remove_test_directory(scratch);
  return 0;
}

static void find_scales(struct mq_point *point, size_t index) {
  struct mq_err err = {0};
  struct mq_range range[64];
  bool is_positive = strstr(point->tensor, "relu") != NULL;
  assert_in_range(point->n_channels, 1, 64);
  for (int64_t c = 0; c < point->n_channels; c++) {
    float size = 0.3f + 0.17f * (float)index + 0.05f * (float)c;
    range[c] = (struct mq_range){.lo = is_positive ? 0 : -size, .hi = 1.3f * size};
  }
  assert_ok(mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, &err));
  mq_qparams_from_range(&point->qparams, &point->scheme, range, NULL);
}

void make_prepared(struct made *made, const char *target, int w_bits, int a_bits) {
  struct net net;
  struct mq_err err = {0};
  *made = (struct made){0};
  net_residual(&net, true);
  made->model = net.graph;
  assert_ok(mq_target_load(&made->target, target, &err));
  const struct mq_prepare_options options = {.w_bits = w_bits, .a_bits = a_bits};
  assert_ok(mq_prepare(&made->prepared, made->model, made->target, &options, &err));
  for (size_t i = 0; i < made->prepared.n_points; i++) {
    find_scales(&made->prepared.points[i], i);
  }
}

void drop_prepared(struct made *made) {
  mq_prepared_deinit(&made->prepared);
  mq_target_destroy(made->target);
  mq_graph_destroy(made->model);
}

static const char *path_of(const char *name, const char *file) {
  static char path[800];
  snprintf(path, sizeof path, "%s/%s%s%s", scratch, name, file ? "/" : "", file ? file : "");
  return path;
}

mq_status write_bundle(const struct made *made, const char *name, struct mq_err *err) {
  const struct mq_preprocess preprocess = {
      .resize = 9, .crop = 8, .mean = {0.1f, 0.2f, 0.3f}, .std = {1, 2, 3}, .is_bgr = true};
  const struct mq_bundle_contents contents = {.prepared = &made->prepared,
                                              .float_graph = made->model,
                                              .target = made->target,
                                              .preprocess = &preprocess,
                                              .record = {.method = "ptq",
                                                         .w_observer = "minmax",
                                                         .a_observer = "quantile",
                                                         .w_parameter = (double)NAN,
                                                         .a_parameter = 0.75,
                                                         .float_top1 = 0.75,
                                                         .top1 = (double)NAN}};
  return mq_bundle_write(path_of(name, NULL), &contents, err);
}

void make_bundle(const char *name, const char *target, int w_bits, int a_bits) {
  struct made made;
  struct mq_err err = {0};
  make_prepared(&made, target, w_bits, a_bits);
  assert_ok(write_bundle(&made, name, &err));
  drop_prepared(&made);
}

json_t *load(const char *name, const char *file) {
  json_t *object = json_load_file(path_of(name, file), 0, NULL);
  assert_non_null(object);
  return object;
}

void save(const json_t *object, const char *name, const char *file) {
  assert_int_equal(json_dump_file(object, path_of(name, file), JSON_REAL_PRECISION(9)), 0);
}

void reseal(const char *name) {
  static const char *const names[] = {"model.onnx", "preprocess.json", "quant.json", "program.mqi"};
  struct mq_err err = {0};
  char hex[65];
  json_t *manifest = load(name, "manifest.json");
  for (size_t i = 0; i < 4; i++) {
    if (!mq_file_exists(path_of(name, names[i]))) continue;
    assert_ok(mq_sha256_file(hex, path_of(name, names[i]), &err));
    json_object_set_new(json_object_get(manifest, "files"), names[i], json_string(hex));
  }
  save(manifest, name, "manifest.json");
  json_decref(manifest);
}

mq_status read_bundle(struct mq_bundle *bundle, const char *name, struct mq_err *err) {
  return mq_bundle_read(bundle, path_of(name, NULL), err);
}

void expect_read(const char *name, const char *says, const char *after) {
  struct mq_bundle bundle;
  struct mq_err err = {0};
  mq_status status = read_bundle(&bundle, name, &err);
  bool is_as_expected = says ? status == MQ_BAD_INPUT && strstr(err.message, says) != NULL : status == MQ_OK;
  if (!is_as_expected || strchr(err.message, '\n')) {
    fail_msg("after %s: status %d, message '%s', expected '%s'", after, status, err.message,
             says ? says : "none");
  }
  mq_bundle_deinit(&bundle);
}
