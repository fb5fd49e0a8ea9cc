/* TensorFlow Lite: the integer program as a flatbuffer. Its input is float and quantized by the first
 * operator, an output at a point is int8, as in the program; whichever arithmetic an interpreter computes in,
 * the file is the same. */
#include "base/file.h"
#include "deploy/export.h"
#include "deploy/tflite_build.h"

#ifdef MQ_HAS_TFLITE

#define DESCRIBES "TensorFlow Lite: int8 flatbuffer"

/* Lowering needs a target's arithmetic and what it does with averages: where one has a point, that counts,
 * elsewhere it keeps its input's scale. */
static mq_status lower(struct mq_lowered *lowered, const struct mq_bundle *bundle, struct mq_err *err) {
  const struct mq_target target = {
      .name = bundle->target, .arithmetic = "tflite_ref", .points = {.pool = MQ_POOL_INPUT_SCALE_GLOBAL}};
  return mq_lower(lowered, &bundle->prepared, &target, err);
}

/* `bytes` NULL: only whether it can be written. */
static mq_status convert(void **bytes, size_t *n, const struct mq_bundle *bundle, struct mq_err *err) {
  struct mq_lowered lowered = {0};
  struct tflite_build build;
  struct tflite_model model;
  mq_status status = lower(&lowered, bundle, err);
  if (status != MQ_OK) {
    return status;
  }
  tflite_build_begin(&build, &lowered.program, bundle->prepared.graph, err);
  tflite_build_steps(&build);
  tflite_build_model(&model, &build);
  if (bytes && build.status == MQ_OK) {
    build.status = tflite_serialize(bytes, n, &model, err);
  }
  status = tflite_build_end(&build);
  mq_lowered_deinit(&lowered);
  return status;
}

static mq_status check_tflite(const struct mq_bundle *bundle, struct mq_err *err) {
  return convert(NULL, NULL, bundle, err);
}

static mq_status write_tflite(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct mq_arena arena;
  void *bytes = NULL;
  size_t n = 0;
  mq_arena_init(&arena, 0);
  const char *path = mq_arena_printf(&arena, "%s.tflite", stem);
  mq_status status = path ? convert(&bytes, &n, bundle, err) : mq_fail_memory(err, stem);
  if (status == MQ_OK) {
    status = mq_file_write(path, bytes, n, err);
  }
  mq_free(bytes);
  mq_arena_deinit(&arena);
  return status;
}

#else

#define DESCRIBES "TensorFlow Lite: int8 flatbuffer (not in this build)"

static mq_status check_tflite(const struct mq_bundle *bundle, struct mq_err *err) {
  (void)bundle;
  return mq_fail(
      err, MQ_BAD_INPUT,
      "format tflite: this mqbench was built without FlatBuffers (Debian: g++, libflatbuffers-dev, "
      "flatbuffers-compiler)");
}

static mq_status write_tflite(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  (void)stem;
  return check_tflite(bundle, err);
}

#endif

const struct mq_exporter mq_exporter_tflite = {
    .name = "tflite",
    .describes = DESCRIBES,
    .suffixes = {".tflite"},
    .weights = {.takes_signed = true, .takes_channels = true},
    .activations = {.takes_signed = true, .takes_unsigned = true, .takes_zero_point = true},
    .check = check_tflite,
    .write = write_tflite,
};
