#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "kernel/onednn_internal.h"

static dnnl_engine_t engine; /* lives as long as the process */
static char library_version[32];

mq_status mq_onednn_check(dnnl_status_t status, const char *call, struct mq_err *err) {
  if (status == dnnl_success) return MQ_OK;
  if (status == dnnl_out_of_memory) return mq_fail_memory(err, call);
  const char *why = status == dnnl_unimplemented       ? "unimplemented"
                    : status == dnnl_invalid_arguments ? "invalid arguments"
                                                       : "runtime error";
  return mq_fail(err, MQ_FAILED, "oneDNN %s: %s", call, why);
}

static dnnl_cpu_isa_t library_isa(mq_isa isa) {
  switch (isa) {
    case MQ_ISA_AVX2:
      return dnnl_cpu_isa_avx2;
    case MQ_ISA_AVX512:
      return dnnl_cpu_isa_avx512_core;
    case MQ_ISA_AVX512_VNNI:
      return dnnl_cpu_isa_avx512_core_vnni;
    case MQ_ISA_AVX512_BF16:
      return dnnl_cpu_isa_avx512_core_bf16;
    case MQ_ISA_AMX:
      return dnnl_cpu_isa_avx512_core_amx;
    case MQ_ISA_BASE:
    case MQ_ISA_NATIVE:
      break;
  }
  return dnnl_cpu_isa_sse41;
}

mq_status mq_onednn_start(mq_isa cap, struct mq_err *err) {
  mq_onednn_set_threads();
  mq_status status = mq_onednn_check(dnnl_set_max_cpu_isa(library_isa(cap)), "set_max_cpu_isa", err);
  if (status != MQ_OK) return status;
  /* An environment variable may allow lower precision inside float32 convolutions: never here. */
  status = mq_onednn_check(dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict), "set_fpmath_mode", err);
  if (status != MQ_OK) return status;
  const dnnl_version_t *version = dnnl_version();
  snprintf(library_version, sizeof library_version, "%d.%d.%d", version->major, version->minor,
           version->patch);
  return mq_onednn_check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine_create", err);
}

static int n_threads_within = 1;

void mq_onednn_set_threads(void) {
  if (omp_get_max_threads() != n_threads_within) omp_set_num_threads(n_threads_within);
}

void mq_kernel_use_threads_within(unsigned n_threads) {
  n_threads_within = n_threads < 1 ? 1 : (int)n_threads;
  mq_onednn_set_threads();
}

const char *mq_kernel_onednn_version(void) {
  return library_version;
}

/* One reorder now, so that runs never need one. */
static mq_status reorder(dnnl_memory_t to, const dnnl_memory_desc_t *to_md, dnnl_memory_t from,
                         const dnnl_memory_desc_t *from_md, struct mq_err *err) {
  dnnl_primitive_desc_t desc = NULL;
  dnnl_primitive_t primitive = NULL;
  dnnl_stream_t stream = NULL;
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  mq_status status = mq_onednn_check(
      dnnl_reorder_primitive_desc_create(&desc, from_md, engine, to_md, engine, NULL), "reorder_desc", err);
  if (status == MQ_OK) status = mq_onednn_check(dnnl_primitive_create(&primitive, desc), "reorder", err);
  if (status == MQ_OK)
    status =
        mq_onednn_check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream_create", err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_primitive_execute(primitive, stream, 2, arguments), "reorder_execute", err);
  if (status == MQ_OK) status = mq_onednn_check(dnnl_stream_wait(stream), "stream_wait", err);
  if (stream != NULL) dnnl_stream_destroy(stream);
  if (primitive != NULL) dnnl_primitive_destroy(primitive);
  if (desc != NULL) dnnl_primitive_desc_destroy(desc);
  return status;
}

mq_status mq_onednn_add_constant(struct mq_onednn_op *op, int argument, const dnnl_memory_desc_t *md,
                                 const float *from, const dnnl_memory_desc_t *from_md, struct mq_err *err) {
  struct mq_onednn_constant *constant = &op->constants[op->n_constants++];
  const size_t bytes = dnnl_memory_desc_get_size(md);
  constant->argument = argument;
  constant->data = mq_alloc(1, bytes);
  if (constant->data == NULL) return mq_fail_memory(err, "packed weights");
  mq_status status = mq_onednn_check(dnnl_memory_create(&constant->memory, md, engine, constant->data),
                                     "memory_create", err);
  if (status != MQ_OK) return status;
  if (dnnl_memory_desc_equal(md, from_md)) {
    memcpy(constant->data, from, bytes);
    return MQ_OK;
  }
  dnnl_memory_t source = NULL;
  /* The library reads this operand only. */
  status = mq_onednn_check(dnnl_memory_create(&source, from_md, engine, (void *)(uintptr_t)from),
                           "memory_create", err);
  if (status == MQ_OK) status = reorder(constant->memory, md, source, from_md, err);
  if (source != NULL) dnnl_memory_destroy(source);
  return status;
}

/* v * gain[c] + shift[c] as two binary operations, each rounded. */
static dnnl_status_t append_affine(dnnl_post_ops_t posts, const dnnl_memory_desc_t *vector) {
  const dnnl_status_t status = dnnl_post_ops_append_binary(posts, dnnl_binary_mul, vector);
  return status != dnnl_success ? status : dnnl_post_ops_append_binary(posts, dnnl_binary_add, vector);
}

static dnnl_status_t append_clip(dnnl_post_ops_t posts, float lo, float hi) {
  if (lo == 0.0f && isinf(hi))
    return dnnl_post_ops_append_eltwise(posts, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
  return dnnl_post_ops_append_eltwise(posts, 1.0f, dnnl_eltwise_clip, lo, hi);
}

/* Fills `list` and adds the vectors to the constants: an argument's number is its place in the list. */
static mq_status append_posts(dnnl_post_ops_t list, struct mq_onednn_op *op, const struct mq_post *posts,
                              int n_posts, const dnnl_memory_desc_t *vector, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < n_posts && status == MQ_OK; i++) {
    const int place = dnnl_post_ops_len(list);
    switch (posts[i].kind) {
      case MQ_POST_ADD:
        status = mq_onednn_check(dnnl_post_ops_append_sum(list, 1.0f), "append_sum", err);
        break;
      case MQ_POST_CLIP:
        status = mq_onednn_check(append_clip(list, posts[i].lo, posts[i].hi), "append_eltwise", err);
        break;
      case MQ_POST_AFFINE:
        status = mq_onednn_check(append_affine(list, vector), "append_binary", err);
        if (status == MQ_OK)
          status = mq_onednn_add_constant(op, DNNL_ARG_ATTR_MULTIPLE_POST_OP(place) | DNNL_ARG_SRC_1, vector,
                                          posts[i].gain, vector, err);
        if (status == MQ_OK)
          status = mq_onednn_add_constant(op, DNNL_ARG_ATTR_MULTIPLE_POST_OP(place + 1) | DNNL_ARG_SRC_1,
                                          vector, posts[i].shift, vector, err);
        break;
    }
  }
  return status;
}

mq_status mq_onednn_attributes(dnnl_primitive_attr_t *attributes, struct mq_onednn_op *op,
                               const struct mq_post *posts, int n_posts, int rank, int channel_axis,
                               int64_t n_channels, struct mq_err *err) {
  dnnl_post_ops_t list = NULL;
  dnnl_memory_desc_t vector;
  dnnl_dims_t dims = {1, 1, 1, 1}, strides;
  dims[channel_axis] = n_channels;
  for (int i = 0; i < rank; i++)
    strides[i] = i == channel_axis ? 1 : n_channels;
  mq_status status = mq_onednn_check(dnnl_primitive_attr_create(attributes), "attr_create", err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user),
                             "set_scratchpad_mode", err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_memory_desc_init_by_strides(&vector, rank, dims, dnnl_f32, strides),
                             "memory_desc", err);
  if (status == MQ_OK) status = mq_onednn_check(dnnl_post_ops_create(&list), "post_ops_create", err);
  if (status == MQ_OK) status = append_posts(list, op, posts, n_posts, &vector, err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_primitive_attr_set_post_ops(*attributes, list), "set_post_ops", err);
  if (list != NULL) dnnl_post_ops_destroy(list);
  return status;
}

/* From the primitive's descriptor to the primitive. */
static mq_status finish_build(struct mq_onednn_op *op, struct mq_err *err) {
  mq_status status =
      mq_onednn_check(dnnl_primitive_create(&op->primitive, op->desc), "primitive_create", err);
  if (status == MQ_OK)
    status = mq_onednn_check(
        dnnl_primitive_desc_query(op->desc, dnnl_query_impl_info_str, 0, (void *)&op->implementation),
        "query", err);
  if (status == MQ_OK)
    op->scratch_bytes =
        dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(op->desc, dnnl_query_scratchpad_md, 0));
  return status;
}

mq_status mq_onednn_build(struct mq_onednn_op *op, const_dnnl_op_desc_t desc,
                          dnnl_primitive_attr_t attributes, struct mq_err *err) {
  const mq_status status = mq_onednn_check(
      dnnl_primitive_desc_create(&op->desc, desc, attributes, engine, NULL), "primitive_desc_create", err);
  return status != MQ_OK ? status : finish_build(op, err);
}

mq_status mq_onednn_build_reorder(struct mq_onednn_op *op, const dnnl_memory_desc_t *to,
                                  const dnnl_memory_desc_t *from, struct mq_err *err) {
  dnnl_primitive_attr_t attributes = NULL;
  mq_status status = mq_onednn_check(dnnl_primitive_attr_create(&attributes), "attr_create", err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
                             "set_scratchpad_mode", err);
  if (status == MQ_OK)
    status =
        mq_onednn_check(dnnl_reorder_primitive_desc_create(&op->desc, from, engine, to, engine, attributes),
                        "reorder_desc", err);
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  return status != MQ_OK ? status : finish_build(op, err);
}

void mq_onednn_destroy(struct mq_onednn_op *op) {
  if (op == NULL) return;
  for (int i = 0; i < op->n_constants; i++) {
    if (op->constants[i].memory != NULL) dnnl_memory_destroy(op->constants[i].memory);
    mq_free(op->constants[i].data);
  }
  if (op->primitive != NULL) dnnl_primitive_destroy(op->primitive);
  if (op->desc != NULL) dnnl_primitive_desc_destroy(op->desc);
  mq_free(op);
}

size_t mq_onednn_scratch_bytes(const struct mq_onednn_op *op) {
  return op->scratch_bytes;
}

const char *mq_onednn_implementation(const struct mq_onednn_op *op) {
  return op->implementation;
}

/* An operand of this run only. */
static dnnl_status_t add_argument(dnnl_exec_arg_t *arguments, int *n_arguments, const struct mq_onednn_op *op,
                                  int argument, const void *data) {
  dnnl_memory_t memory = NULL;
  const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(op->desc, dnnl_query_exec_arg_md, argument);
  const dnnl_status_t status = dnnl_memory_create(&memory, md, engine, (void *)(uintptr_t)data);
  if (status == dnnl_success)
    arguments[(*n_arguments)++] = (dnnl_exec_arg_t){.arg = argument, .memory = memory};
  return status;
}

mq_status mq_onednn_execute(const struct mq_onednn_op *op, const struct mq_onednn_argument *arguments,
                            int n_arguments, void *scratch, struct mq_err *err) {
  dnnl_exec_arg_t all[MQ_ONEDNN_MAX_ARGUMENTS + 1 + MQ_ONEDNN_MAX_CONSTANTS];
  dnnl_stream_t stream = NULL;
  dnnl_status_t status = dnnl_success;
  int n = 0;
  mq_onednn_set_threads();
  for (int i = 0; i < n_arguments && status == dnnl_success; i++)
    if (arguments[i].data != NULL)
      status = add_argument(all, &n, op, arguments[i].argument, arguments[i].data);
  if (status == dnnl_success && op->scratch_bytes > 0)
    status = add_argument(all, &n, op, DNNL_ARG_SCRATCHPAD, scratch);
  const int n_own = n;
  for (int i = 0; i < op->n_constants; i++, n++)
    all[n] = (dnnl_exec_arg_t){.arg = op->constants[i].argument, .memory = op->constants[i].memory};
  /* A stream of its own costs little and keeps concurrent runs apart. */
  if (status == dnnl_success) status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
  if (status == dnnl_success) status = dnnl_primitive_execute(op->primitive, stream, n, all);
  if (status == dnnl_success) status = dnnl_stream_wait(stream);
  if (stream != NULL) dnnl_stream_destroy(stream);
  for (int i = 0; i < n_own; i++)
    dnnl_memory_destroy(all[i].memory);
  return mq_onednn_check(status, "primitive_execute", err);
}

mq_status mq_onednn_run(const struct mq_onednn_op *op, float *y, const float *x, const float *weights,
                        void *scratch, struct mq_err *err) {
  const struct mq_onednn_argument arguments[] = {
      {DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_WEIGHTS, weights}};
  return mq_onednn_execute(op, arguments, 3, scratch, err);
}
