/* A program made ready to run. */
#include <string.h>

#include "runtime/ops.h"

static const struct runtime_op *const ops[] = {
    &runtime_op_columns,    &runtime_op_depthwise,  &runtime_op_winograd,  &runtime_op_layer,
    &runtime_op_quantize,   &runtime_op_dequantize, &runtime_op_table,     &runtime_op_reshape,
    &runtime_op_affine,     &runtime_op_clip,       &runtime_op_add,       &runtime_op_add_floats,
    &runtime_op_max,        &runtime_op_average,    &runtime_op_concat,    &runtime_op_layer_float,
    &runtime_op_transposed, &runtime_op_unary,      &runtime_op_binary,    &runtime_op_mean,
    &runtime_op_pick,       &runtime_op_pad,        &runtime_op_reference,
};

const struct runtime_op *runtime_op_find(const struct mq_runtime *runtime,
                                         const struct mq_program_step *step) {
  size_t i = 0;
  while (!ops[i]->can(runtime, step))
    i++;
  return ops[i];
}

static runtime_level choose_level(const struct mq_runtime_options *options) {
  mq_isa isa = mq_kernel_isa();
  if (options->has_cap && options->cap < isa) isa = options->cap;
  if (isa >= MQ_ISA_AVX512_VNNI) return RUNTIME_VNNI;
  return isa == MQ_ISA_AVX512 ? RUNTIME_AVX512 : isa == MQ_ISA_AVX2 ? RUNTIME_AVX2 : RUNTIME_BASE;
}

/* An input that is only quantized: those loops read nothing past its end. */
static bool is_lent(const struct mq_runtime *runtime, uint32_t tensor) {
  bool is = runtime_is_plain(&runtime->layouts[tensor]);
  for (uint32_t s = 0; s < runtime->program->n_steps; s++) {
    const struct mq_program_step *step = &runtime->program->steps[s];
    for (uint32_t i = 0; i < step->n_inputs; i++)
      is = is && (step->inputs[i] != tensor || runtime->steps[s].op == &runtime_op_quantize);
  }
  return is;
}

/* Tensors, and pads that the steps' windows reach. */
static mq_status make_layouts(struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program *program = runtime->program;
  runtime->layouts = mq_arena_alloc(&runtime->arena, program->n_tensors, sizeof *runtime->layouts);
  runtime->steps = mq_arena_alloc(&runtime->arena, program->n_steps, sizeof *runtime->steps);
  runtime->shares = mq_arena_alloc(&runtime->arena, program->n_steps, sizeof *runtime->shares);
  if (runtime->layouts == NULL || runtime->steps == NULL || runtime->shares == NULL)
    return mq_fail_memory(err, "a program's steps");
  for (uint32_t t = 0; t < program->n_tensors; t++)
    runtime->layouts[t] = runtime_layout_of(&program->tensors[t]);
  for (uint32_t s = 0; s < program->n_steps; s++) {
    struct runtime_step *step = &runtime->steps[s];
    step->step = &program->steps[s];
    step->op = runtime_op_find(runtime, step->step);
    step->n_units = step->grain = 1;
    runtime->n_reference += step->op == &runtime_op_reference;
    if (step->op->reach != NULL) step->op->reach(&runtime->layouts[step->step->inputs[0]], step->step);
  }
  for (uint32_t t = 0; t < program->n_tensors; t++) {
    const size_t bytes = mq_program_tensor_bytes(&program->tensors[t]);
    runtime_layout_finish(&runtime->layouts[t]);
    if (runtime->plain_bytes < bytes) runtime->plain_bytes = bytes;
  }
  for (uint32_t i = 0; i < program->n_inputs; i++)
    runtime->layouts[program->inputs[i]].is_lent = is_lent(runtime, program->inputs[i]);
  return MQ_OK;
}

static mq_status prepare_steps(struct mq_runtime *runtime, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (uint32_t s = 0; s < runtime->program->n_steps && status == MQ_OK; s++) {
    struct runtime_step *step = &runtime->steps[s];
    if (step->op->prepare != NULL) status = step->op->prepare(step, runtime, err);
  }
  return status;
}

/* Constants as steps read them, the same for all workers. */
static mq_status make_constants(unsigned char **data, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program *program = runtime->program;
  for (uint32_t t = 0; t < program->n_tensors; t++) {
    const struct runtime_layout *layout = &runtime->layouts[t];
    if (program->tensors[t].constant == NULL) continue;
    unsigned char *memory = mq_arena_alloc(&runtime->arena, (size_t)layout->bytes, 1);
    if (memory == NULL) return mq_fail_memory(err, "a program's constants");
    data[t] = memory + layout->origin;
    runtime_store(layout, data[t], program->tensors[t].constant);
    runtime_fill_pads(layout, data[t], 0, layout->rows);
  }
  return MQ_OK;
}

static mq_status make_workers(struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program *program = runtime->program;
  const unsigned n = runtime->n_workers;
  const size_t plain = runtime_round(runtime->plain_bytes), scratch = runtime_round(runtime->scratch_bytes);
  runtime->worker_bytes = runtime->tensors_bytes + plain + scratch;
  runtime->memory = mq_alloc(n, runtime->worker_bytes);
  runtime->frames = mq_arena_alloc(&runtime->arena, n, sizeof *runtime->frames);
  runtime->plain = mq_arena_alloc(&runtime->arena, n, sizeof *runtime->plain);
  unsigned char **data = mq_arena_alloc(&runtime->arena, (size_t)n * program->n_tensors, sizeof *data);
  if (runtime->memory == NULL || runtime->frames == NULL || runtime->plain == NULL || data == NULL)
    return mq_fail_memory(err, "a program's tensors");
  const mq_status status = make_constants(data, runtime, err);
  for (unsigned w = 0; w < n; w++) {
    unsigned char *memory = runtime->memory + w * runtime->worker_bytes;
    struct runtime_frame *frame = &runtime->frames[w];
    *frame = (struct runtime_frame){.runtime = runtime,
                                    .data = data + (size_t)w * program->n_tensors,
                                    .scratch = memory + runtime->tensors_bytes};
    runtime->plain[w] = frame->scratch + scratch;
    for (uint32_t t = 0; t < program->n_tensors; t++)
      frame->data[t] = program->tensors[t].constant != NULL
                           ? data[t]
                           : memory + runtime->layouts[t].offset + runtime->layouts[t].origin;
  }
  return status;
}

mq_status mq_runtime_create(struct mq_runtime **out, const struct mq_program *program,
                            const struct mq_runtime_options *options, struct mq_err *err) {
  const struct mq_runtime_options none = {.cut = MQ_RUNTIME_AUTO};
  if (options == NULL) options = &none;
  *out = NULL;
  struct mq_runtime *runtime = mq_alloc(1, sizeof *runtime);
  if (runtime == NULL) return mq_fail_memory(err, "a program");
  runtime->program = program;
  runtime->pool = options->pool;
  runtime->cut = options->cut;
  runtime->saves_memory = options->saves_memory;
  runtime->n_workers = options->pool != NULL ? mq_pool_workers(options->pool) : 1;
  runtime->level = choose_level(options);
  atomic_flag_clear(&runtime->is_seeing);
  mq_arena_init(&runtime->arena, 0);
  mq_status status = make_layouts(runtime, err);
  if (status == MQ_OK) status = runtime_plan(runtime, err);
  if (status == MQ_OK) status = prepare_steps(runtime, err);
  if (status == MQ_OK) status = make_workers(runtime, err);
  if (status != MQ_OK)
    mq_runtime_destroy(runtime);
  else
    *out = runtime;
  return status;
}

void mq_runtime_destroy(struct mq_runtime *runtime) {
  if (runtime == NULL) return;
  mq_free(runtime->memory);
  mq_free(runtime->file);
  mq_arena_deinit(&runtime->arena);
  mq_free(runtime);
}

struct mq_runtime_info mq_runtime_get_info(const struct mq_runtime *runtime) {
  static const char *const names[RUNTIME_LEVELS] = {"base", "avx2", "avx512", "avx512_vnni"};
  return (struct mq_runtime_info){.weights_bytes = runtime->arena.used_bytes,
                                  .worker_bytes = runtime->worker_bytes,
                                  .n_steps = runtime->program->n_steps,
                                  .n_reference = runtime->n_reference,
                                  .loops = names[runtime->level]};
}
