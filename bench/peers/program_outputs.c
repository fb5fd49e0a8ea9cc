/* Every tensor of a bundle's integer program over an array of images, for comparisons with engines.
 * Usage: program_outputs BUNDLE IMAGES.npy DIRECTORY
 * IMAGES: float32, N x C x H x W. Writes DIRECTORY/tN.npy (N x the tensor's dimensions, as the program has
 * them) for each tensor that bears a user's name, and tensors.json that says which is which. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqbench/deploy.h"

struct work {
  const struct mq_program *program;
  struct mq_tensor images, *tensors; /* tensors: by index; without data where nobody asks */
  struct mq_pool *pool;
  void *arenas;
  size_t arena_bytes;
};

static bool is_wanted(const struct mq_program_tensor *tensor) {
  return tensor->name[0] && !tensor->constant;
}

static mq_dtype dtype_of(mq_program_type type) {
  static const mq_dtype dtypes[] = {[MQ_PROGRAM_S8] = MQ_I8,
                                    [MQ_PROGRAM_U8] = MQ_U8,
                                    [MQ_PROGRAM_S16] = MQ_I16,
                                    [MQ_PROGRAM_S32] = MQ_I32,
                                    [MQ_PROGRAM_F32] = MQ_F32};
  return dtypes[type];
}

static mq_status make_tensors(struct work *work, struct mq_err *err) {
  mq_status status = MQ_OK;
  work->tensors = mq_alloc(work->program->n_tensors, sizeof *work->tensors);
  if (!work->tensors) return mq_fail_memory(err, "tensors");
  for (uint32_t i = 0; i < work->program->n_tensors && status == MQ_OK; i++) {
    const struct mq_program_tensor *tensor = &work->program->tensors[i];
    struct mq_shape shape = {.rank = tensor->rank + 1, .dim = {work->images.shape.dim[0]}};
    for (int32_t d = 0; d < tensor->rank; d++)
      shape.dim[d + 1] = tensor->dim[d];
    if (is_wanted(tensor)) status = mq_tensor_init(&work->tensors[i], dtype_of(tensor->type), &shape, err);
  }
  return status;
}

static void keep(void *context, const struct mq_program *program, uint32_t index, int64_t image,
                 const void *data) {
  const struct mq_tensor *tensors = ((const struct work *)context)->tensors;
  (void)image;
  size_t bytes = mq_program_tensor_bytes(&program->tensors[index]);
  if (tensors[index].data) memcpy(tensors[index].data, data, bytes);
}

/* C x H x W of the file to the program's H x W x C. */
static void fill_image(float *to, const float *from, const struct mq_program_tensor *x) {
  int64_t pixels = (int64_t)x->dim[0] * x->dim[1];
  for (int64_t p = 0; p < pixels; p++) {
    for (int64_t c = 0; c < x->dim[2]; c++)
      to[p * x->dim[2] + c] = from[c * pixels + p];
  }
}

static mq_status run_image(void *context, size_t image, unsigned worker, struct mq_err *err) {
  const struct work *work = context;
  const struct mq_program *program = work->program;
  const struct mq_program_tensor *x = &program->tensors[program->inputs[0]];
  struct mq_program_err why = {{0}};
  struct work own = *work;
  size_t y_bytes = mq_program_tensor_bytes(&program->tensors[program->outputs[0]]);
  struct mq_tensor *views = mq_alloc(program->n_tensors, sizeof *views);
  float *pixels = mq_alloc((size_t)mq_program_elements(x), sizeof *pixels);
  void *y = mq_alloc(y_bytes, 1);
  mq_status status = views && pixels && y ? MQ_OK : mq_fail_memory(err, "an image");
  for (uint32_t i = 0; i < program->n_tensors && status == MQ_OK; i++) {
    views[i] = work->tensors[i]; /* the image's part of each */
    if (views[i].data)
      views[i].data = (char *)views[i].data + image * mq_program_tensor_bytes(&program->tensors[i]);
  }
  own.tensors = views;
  if (status == MQ_OK) {
    fill_image(pixels, (const float *)work->images.data + (int64_t)image * mq_program_elements(x), x);
    const void *inputs[] = {pixels};
    void *outputs[] = {y};
    const struct mq_program_run run = {.inputs = inputs,
                                       .outputs = outputs,
                                       .n_images = 1,
                                       .arena = (char *)work->arenas + worker * work->arena_bytes,
                                       .arena_bytes = work->arena_bytes,
                                       .see = keep,
                                       .context = &own};
    if (mq_program_run_reference(program, &run, &why) != MQ_PROGRAM_OK)
      status = mq_fail(err, MQ_FAILED, "%s", why.message);
  }
  mq_free(y);
  mq_free(pixels);
  mq_free(views);
  return status;
}

static json_t *describe(const struct work *work, uint32_t i, const char *file) {
  const struct mq_program_tensor *tensor = &work->program->tensors[i];
  return json_pack("{s:s, s:s, s:b, s:f, s:i, s:b}", "name", tensor->name, "file", file, "channels_last",
                   (int)tensor->is_channels_last, "scale", (double)tensor->scale, "zero_point",
                   (int)tensor->zero_point, "output", (int)(i == work->program->outputs[0]));
}

static mq_status write_tensors(const struct work *work, const char *directory, struct mq_err *err) {
  json_t *list = json_array();
  char path[1024], file[32];
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < work->program->n_tensors && status == MQ_OK; i++) {
    if (!work->tensors[i].data) continue;
    snprintf(file, sizeof file, "t%u.npy", i);
    snprintf(path, sizeof path, "%s/%s", directory, file);
    status = mq_npy_write(path, &work->tensors[i], err);
    json_array_append_new(list, describe(work, i, file));
  }
  snprintf(path, sizeof path, "%s/tensors.json", directory);
  if (status == MQ_OK && json_dump_file(list, path, JSON_REAL_PRECISION(9)))
    status = mq_fail(err, MQ_FAILED, "%s: cannot be written", path);
  json_decref(list);
  return status;
}

static mq_status check_images(const struct work *work, struct mq_err *err) {
  const struct mq_program *program = work->program;
  const struct mq_program_tensor *x = program ? &program->tensors[program->inputs[0]] : NULL;
  const struct mq_shape *shape = &work->images.shape;
  bool fits = x && program->n_inputs == 1 && program->n_outputs == 1 && x->rank == 3 && x->is_channels_last &&
              work->images.dtype == MQ_F32 && shape->rank == 4 && shape->dim[1] == x->dim[2] &&
              shape->dim[2] == x->dim[0] && shape->dim[3] == x->dim[1];
  return fits ? MQ_OK
              : mq_fail(err, MQ_BAD_INPUT,
                        "expected a bundle with a program of one input and one output, and "
                        "float32 images N x C x H x W for it");
}

static mq_status run_all(struct work *work, char **arguments, struct mq_err *err) {
  struct mq_bundle bundle;
  mq_status status = mq_bundle_read(&bundle, arguments[1], err);
  if (status != MQ_OK) return status;
  work->program = bundle.program;
  status = mq_npy_read(&work->images, arguments[2], err);
  if (status == MQ_OK) status = check_images(work, err);
  if (status == MQ_OK) status = mq_pool_create(&work->pool, 0, NULL, err);
  if (status == MQ_OK) status = make_tensors(work, err);
  if (status == MQ_OK) {
    work->arena_bytes = (work->program->arena_bytes + 63) / 64 * 64;
    work->arenas = mq_alloc(mq_pool_workers(work->pool), work->arena_bytes);
    if (!work->arenas) status = mq_fail_memory(err, "arenas");
  }
  if (status == MQ_OK)
    status = mq_pool_run(work->pool, (size_t)work->images.shape.dim[0], run_image, work, err);
  if (status == MQ_OK) status = write_tensors(work, arguments[3], err);
  for (uint32_t i = 0; work->tensors && i < work->program->n_tensors; i++)
    mq_tensor_deinit(&work->tensors[i]);
  mq_free(work->tensors);
  mq_free(work->arenas);
  mq_tensor_deinit(&work->images);
  mq_pool_destroy(work->pool);
  mq_bundle_deinit(&bundle);
  return status;
}

int main(int argc, char **argv) {
  struct work work = {0};
  struct mq_err err;
  if (argc != 4) {
    fprintf(stderr, "usage: program_outputs BUNDLE IMAGES.npy DIRECTORY\n");
    return 2;
  }
  if (run_all(&work, argv, &err) != MQ_OK) {
    fprintf(stderr, "program_outputs: %s\n", err.message);
    return 3;
  }
  return 0;
}
