#include "help_runtime.h"

#include "program/ops.h"

/* ---- One run beside the other ------------------------------------------------------------------------ */
struct watch {
  const char *what;
  const struct mq_program *program;
  void **expected; /* image x tensor */
  int64_t n_seen;
};

static void keep(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                 const void *data) {
  struct watch *watch = context;
  const size_t bytes = mq_program_tensor_bytes(&program->tensors[tensor]);
  void *copy = malloc(bytes);
  memcpy(copy, data, bytes);
  watch->expected[image * program->n_tensors + tensor] = copy;
  watch->n_seen++;
}

static void tell(const struct watch *watch, uint32_t tensor, int64_t image, int64_t byte, int found,
                 int expected) {
  const struct mq_program_tensor *t = &watch->program->tensors[tensor];
  const struct mq_program_step *step = NULL;
  for (uint32_t s = 0; s < watch->program->n_steps; s++)
    if (watch->program->steps[s].output == tensor) step = &watch->program->steps[s];
  fail_msg("%s: image %lld, tensor %u '%s' of step '%s' (%s, %s): element %lld: byte %d, expected %d",
           watch->what, (long long)image, tensor, t->name, step ? step->name : "input",
           step ? mq_step_kind_name(step->kind) : "",
           step && step->arithmetic ? mq_program_arithmetic_get(step->arithmetic)->name : "",
           (long long)(byte / (int64_t)mq_program_type_bytes(t->type)), found, expected);
}

static void check(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                  const void *data) {
  struct watch *watch = context;
  const unsigned char *found = data, *expected = watch->expected[image * program->n_tensors + tensor];
  const int64_t n = (int64_t)mq_program_tensor_bytes(&program->tensors[tensor]);
  for (int64_t i = 0; i < n; i++)
    if (found[i] != expected[i]) tell(watch, tensor, image, i, found[i], expected[i]);
  watch->n_seen--;
}

static void *room(const struct mq_program *program, uint32_t tensor, int64_t n_images) {
  return calloc((size_t)n_images, mq_program_tensor_bytes(&program->tensors[tensor]));
}

static void run_reference(struct watch *watch, struct mq_program_run run) {
  struct mq_program_err why = {{0}};
  void *arena = NULL;
  run.arena_bytes = watch->program->arena_bytes;
  assert_int_equal(posix_memalign(&arena, 64, run.arena_bytes + 64), 0);
  run.arena = arena;
  run.see = keep;
  run.context = watch;
  if (mq_program_run_reference(watch->program, &run, &why) != MQ_PROGRAM_OK) fail_msg("%s", why.message);
  free(arena);
}

/* With and without a look at the tensors, and without a look twice: memory is used again. */
static void run_fast(struct watch *watch, struct mq_program_run run, void *const *expected,
                     const struct mq_runtime_options *options) {
  struct mq_err err = {0};
  struct mq_runtime *runtime = NULL;
  assert_ok(mq_runtime_create(&runtime, watch->program, options, &err));
  for (int round = 0; round < 3; round++) {
    const int64_t n_seen = watch->n_seen;
    run.see = round == 0 ? check : NULL;
    run.context = watch;
    assert_ok(mq_runtime_run(runtime, &run, &err));
    if (round == 0) assert_int_equal(watch->n_seen, 0);
    watch->n_seen = n_seen;
    for (uint32_t i = 0; i < watch->program->n_outputs; i++) {
      const size_t bytes = mq_program_tensor_bytes(&watch->program->tensors[watch->program->outputs[i]]);
      if (memcmp(run.outputs[i], expected[i], (size_t)run.n_images * bytes) != 0)
        fail_msg("%s: output %u, round %d", watch->what, i, round);
      memset(run.outputs[i], 0x5a, (size_t)run.n_images * bytes);
    }
  }
  mq_runtime_destroy(runtime);
}

/* What the reference makes of the inputs. */
struct expected {
  struct watch watch;
  void **outputs;
  int64_t n_images;
};

static struct expected expect(const struct mq_program *program, const void *const *inputs, int64_t n_images) {
  const size_t n = (size_t)n_images * program->n_tensors;
  struct expected e = {.n_images = n_images};
  e.watch = (struct watch){.program = program, .expected = calloc(n, sizeof(void *))};
  e.outputs = calloc(program->n_outputs, sizeof *e.outputs);
  for (uint32_t i = 0; i < program->n_outputs; i++)
    e.outputs[i] = room(program, program->outputs[i], n_images);
  run_reference(&e.watch,
                (struct mq_program_run){.inputs = inputs, .outputs = e.outputs, .n_images = n_images});
  return e;
}

static void drop(struct expected *e) {
  const struct mq_program *program = e->watch.program;
  for (uint32_t i = 0; i < program->n_outputs; i++)
    free(e->outputs[i]);
  for (size_t i = 0; i < (size_t)e->n_images * program->n_tensors; i++)
    free(e->watch.expected[i]);
  free(e->watch.expected);
  free(e->outputs);
}

/* The first n_images of those expected. */
static void compare(const char *what, struct expected *e, const void *const *inputs, int64_t n_images,
                    const struct mq_runtime_options *options) {
  const struct mq_program *program = e->watch.program;
  void **found = calloc(program->n_outputs, sizeof *found);
  for (uint32_t i = 0; i < program->n_outputs; i++)
    found[i] = room(program, program->outputs[i], n_images);
  e->watch.what = what;
  e->watch.n_seen = n_images * (int64_t)(program->n_inputs + program->n_steps);
  run_fast(&e->watch, (struct mq_program_run){.inputs = inputs, .outputs = found, .n_images = n_images},
           e->outputs, options);
  for (uint32_t i = 0; i < program->n_outputs; i++)
    free(found[i]);
  free(found);
}

/* ---- Everything -------------------------------------------------------------------------------------- */
static void fill(const struct mq_program_tensor *t, void *data, int64_t n, struct mq_rng *rng) {
  const uint32_t span = (uint32_t)(t->code_max - t->code_min + 1);
  for (int64_t i = 0; i < n; i++) {
    if (t->type == MQ_PROGRAM_F32) {
      const float value = 8 * mq_rng_float(rng) - 4;
      /* Some lie half-way between codes, where scales are powers of two. */
      ((float *)data)[i] = i % 3 == 0 ? (float)(int)(value * 32) / 32 : value;
    } else if (t->type == MQ_PROGRAM_S32) {
      ((int32_t *)data)[i] = (int32_t)mq_rng_below(rng, 1000);
    } else {
      const uint32_t kind = mq_rng_below(rng, 8);
      program_put_code(data, t->type, i,
                       kind == 0   ? t->code_min
                       : kind == 1 ? t->code_max
                                   : t->code_min + (int32_t)mq_rng_below(rng, span));
    }
  }
}

static void compare_pool(const char *what, struct expected *expected, const void *const *inputs,
                         int64_t n_images, struct mq_runtime_options options, unsigned n_workers) {
  struct mq_err err = {0};
  if (n_workers > 1) assert_ok(mq_pool_create(&options.pool, n_workers, mq_kernel_start_worker, &err));
  compare(what, expected, inputs, n_images, &options);
  mq_pool_destroy(options.pool);
}

void runtime_compare_all(const char *what, const struct mq_program *program, bool is_brief) {
  static const mq_isa caps[] = {MQ_ISA_BASE, MQ_ISA_AVX2, MQ_ISA_AVX512, MQ_ISA_AVX512_VNNI, MQ_ISA_AMX};
  static const struct {
    unsigned n_workers;
    mq_runtime_cut cut;
    int64_t n_images;
  } ways[] = {{1, MQ_RUNTIME_AUTO, 1},   {2, MQ_RUNTIME_WITHIN, 1}, {2, MQ_RUNTIME_AUTO, 3},
              {4, MQ_RUNTIME_IMAGES, 8}, {4, MQ_RUNTIME_WITHIN, 3}, {2, MQ_RUNTIME_IMAGES, 1}};
  enum {
    N_WAYS = sizeof ways / sizeof ways[0],
    N_CAPS = sizeof caps / sizeof caps[0],
    MOST = 8
  };
  struct mq_err err = {0};
  struct mq_rng rng;
  const void **inputs = calloc(program->n_inputs, sizeof *inputs);
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  mq_rng_init(&rng, 7, MQ_RNG_TEST, 0, 0);
  for (uint32_t i = 0; i < program->n_inputs; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    void *data = room(program, program->inputs[i], MOST);
    fill(t, data, MOST * mq_program_elements(t), &rng);
    inputs[i] = data;
  }
  struct expected expected = expect(program, inputs, is_brief ? 3 : MOST);
  for (size_t cap = 0; cap < N_CAPS; cap++) {
    const bool is_used = caps[cap] <= mq_kernel_isa();
    for (size_t way = is_brief ? cap : 0; is_used && way < (is_brief ? cap + 1 : N_WAYS); way++) {
      const struct mq_runtime_options options = {.cut = ways[way].cut, .has_cap = true, .cap = caps[cap]};
      char text[256];
      snprintf(text, sizeof text, "%s, %s, %u workers, cut %d", what, mq_isa_name(caps[cap]),
               ways[way].n_workers, (int)ways[way].cut);
      compare_pool(text, &expected, inputs, is_brief ? 3 : ways[way].n_images, options, ways[way].n_workers);
    }
  }
  drop(&expected);
  for (uint32_t i = 0; i < program->n_inputs; i++)
    free((void *)(uintptr_t)inputs[i]);
  free(inputs);
}
