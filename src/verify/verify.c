/* Simulation and program side by side, a block of slices at a time: the program's reference executor first,
 * whose tensors everything else is held against. */
#include <math.h>
#include <string.h>

#include "mqbench/runtime.h"
#include "verify/compare.h"

#define SLOT_BYTES ((size_t)192 << 20) /* what a slice may take, about */

/* ---- Causes -------------------------------------------------------------------------------------------- */

static const struct {
  const char *name, *describes;
} causes[MQ_CAUSES] = {
    [MQ_CAUSE_ROUNDING] = {"rounding", "a tie, or a number rounded twice, goes to the other side"},
    [MQ_CAUSE_BIAS] = {"bias", "the bias is rounded to the accumulator's steps"},
    [MQ_CAUSE_MULTIPLIER] = {"multiplier", "the ratio of scales is a rounded number"},
    [MQ_CAUSE_ADD] = {"add", "the arithmetic's own sum of two tensors"},
    [MQ_CAUSE_POOL] = {"pool", "the arithmetic's own average, or one that the simulation does not round"},
    [MQ_CAUSE_FLOAT] = {"float_accumulation", "sums and products in float32 round"},
    [MQ_CAUSE_INHERITED] = {"inherited", "the inputs differed already"},
    [MQ_CAUSE_UNEXPLAINED] = {"unexplained", "none of these: one side is wrong"},
};

const char *mq_cause_name(mq_cause cause) {
  return (unsigned)cause < MQ_CAUSES ? causes[cause].name : "?";
}

const char *mq_cause_describe(mq_cause cause) {
  return (unsigned)cause < MQ_CAUSES ? causes[cause].describes : "?";
}

int64_t mq_differences_explained(const struct mq_differences *d) {
  return d->differing - d->causes[MQ_CAUSE_UNEXPLAINED];
}

static void add_differences(struct mq_differences *to, const struct mq_differences *from) {
  to->elements += from->elements;
  to->differing += from->differing;
  to->max_step = fmax(to->max_step, from->max_step);
  for (int i = 0; i < MQ_CAUSES; i++) {
    to->causes[i] += from->causes[i];
  }
}

/* ---- The program --------------------------------------------------------------------------------------- */

struct seeing {
  const struct compare *compare;
  size_t slot;
};

static void see(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                const void *data) {
  const struct seeing *s = context;
  const struct compare *c = s->compare;
  memcpy(c->slots[s->slot].made + (size_t)image * c->map.made_bytes + c->map.made_offset[tensor], data,
         mq_program_tensor_bytes(&program->tensors[tensor]));
}

static mq_status load_pixels(struct compare *c, size_t slot, struct mq_err *err) {
  const struct mq_program_tensor *t = &c->program->tensors[c->program->inputs[0]];
  struct mq_shape shape = mq_shape_at_batch(&c->map.graph->inputs[0]->shape, c->feed.slice_images);
  int64_t stride[MQ_MAX_RANK];
  if (t->is_channels_last) {
    mq_stride_channels_last(stride, &shape);
  } else {
    mq_stride_row_major(stride, &shape);
  }
  struct mq_tensor view = mq_tensor_view(c->slots[slot].pixels, MQ_F32, &shape, stride);
  mq_status status = tune_feed_fill(&c->feed, c->first_slice + slot, &view, NULL, err);
  const float *pixels = view.data;
  for (int64_t i = 0; status == MQ_OK && i < compare_valid(c, slot) * c->pixel_count; i++) {
    if (!isfinite(pixels[i])) {
      atomic_store(&c->has_odd_pixels, true);
      break;
    }
  }
  return status;
}

/* Outputs are seen like every tensor; these are for the executor to write to. */
static mq_status run_program(void *context, size_t slot, unsigned worker, struct mq_err *err) {
  struct compare *c = context;
  const struct mq_program *program = c->program;
  struct mq_program_err why = {{0}};
  struct seeing seeing = {.compare = c, .slot = slot};
  mq_status status = load_pixels(c, slot, err);
  if (status != MQ_OK) {
    return status;
  }
  const void *inputs[] = {c->slots[slot].pixels};
  const struct mq_program_run job = {.inputs = inputs,
                                     .outputs = c->outputs + (size_t)worker * program->n_outputs,
                                     .n_images = c->feed.slice_images,
                                     .arena = c->arenas + worker * c->arena_bytes,
                                     .arena_bytes = program->arena_bytes,
                                     .see = see,
                                     .context = &seeing};
  return mq_program_run_reference(program, &job, &why) == MQ_PROGRAM_OK
             ? MQ_OK
             : mq_fail(err, MQ_FAILED, "%s: %s", program->name, why.message);
}

/* ---- Outputs for the engines --------------------------------------------------------------------------- */

static mq_status make_outputs(struct compare *c, struct mq_err *err) {
  struct mq_verification *v = c->result;
  v->outputs = mq_arena_alloc(&v->arena, c->program->n_outputs, sizeof *v->outputs);
  if (!v->outputs) {
    return mq_fail_memory(err, "outputs");
  }
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < c->program->n_outputs && status == MQ_OK; i++) {
    const struct mq_shape shape = mq_shape_at_batch(&c->map.graph->outputs[i]->shape, v->n_images);
    status = mq_tensor_init(&v->outputs[i], MQ_F32, &shape, err);
    v->n_outputs += status == MQ_OK;
  }
  return status;
}

static void keep_outputs(struct compare *c, size_t slot) {
  const int64_t first = (int64_t)(c->first_slice + slot) * c->feed.slice_images;
  for (size_t k = 0; k < c->result->n_outputs; k++) {
    const uint32_t tensor = c->program->outputs[k];
    const struct mq_program_tensor *t = &c->program->tensors[tensor];
    struct mq_tensor *to = &c->result->outputs[k];
    const struct verify_order order = verify_order_of(t, to);
    for (int64_t n = 0; n < compare_valid(c, slot); n++) {
      const void *made = t->constant ? t->constant : compare_made(c, slot, n, tensor);
      for (int64_t i = 0; i < mq_program_elements(t); i++) {
        c->rows[i] = verify_value(t, made, i);
      }
      verify_scatter((float *)to->data + (first + n) * to->stride[0], &order, c->rows);
    }
  }
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

/* So many images that a slice's tensors stay within bounds: once as the program's, the rest as floats. */
static int64_t choose_slice(const struct compare *c) {
  const size_t image = c->map.made_bytes + 28 * (size_t)c->map.n_elements + 1;
  const size_t fit = SLOT_BYTES / image;
  return fit < 1 ? 1 : fit > 8 ? 8 : (int64_t)fit;
}

/* The exact simulation is the last. */
static int count_runs(const struct compare *c) {
  return c->exact ? COMPARE_RUNS : COMPARE_EXACT;
}

static mq_status make_slots(struct compare *c, struct mq_err *err) {
  const size_t n = (size_t)c->feed.slice_images;
  c->slots = mq_alloc(c->n_slots, sizeof *c->slots);
  bool is_made = c->slots;
  for (size_t i = 0; is_made && i < c->n_slots; i++) {
    struct compare_slot *slot = &c->slots[i];
    slot->pixels = mq_alloc(n, (size_t)c->pixel_count * sizeof *slot->pixels);
    slot->made = mq_alloc(n, c->map.made_bytes);
    is_made = slot->pixels && slot->made;
    for (int run = 0; is_made && run < count_runs(c); run++) {
      slot->cells[run] = mq_alloc(n, (size_t)c->map.n_elements * sizeof **slot->cells + 1);
      is_made = slot->cells[run];
    }
  }
  return is_made ? MQ_OK : mq_fail_memory(err, "the tensors of a slice of images");
}

static size_t align(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

static size_t output_bytes(const struct compare *c, uint32_t output) {
  const struct mq_program_tensor *t = &c->program->tensors[c->program->outputs[output]];
  return align(mq_program_tensor_bytes(t) * (size_t)c->feed.slice_images);
}

/* Outputs are seen like every tensor; these are for the executors to write to. */
static mq_status make_arenas(struct compare *c, size_t n_workers, struct mq_err *err) {
  const uint32_t n = c->program->n_outputs;
  c->arena_bytes = align(c->program->arena_bytes) + 64;
  for (uint32_t i = 0; i < n; i++) {
    c->arena_bytes += output_bytes(c, i);
  }
  c->arenas = mq_alloc(n_workers, c->arena_bytes);
  c->outputs = mq_alloc(n_workers, n * sizeof *c->outputs);
  for (size_t w = 0; c->arenas && c->outputs && w < n_workers; w++) {
    unsigned char *at = c->arenas + w * c->arena_bytes + align(c->program->arena_bytes);
    for (uint32_t i = 0; i < n; i++) {
      c->outputs[w * n + i] = at;
      at += output_bytes(c, i);
    }
  }
  return c->arenas && c->outputs ? MQ_OK : mq_fail_memory(err, "an integer program's tensors");
}

static mq_status make_memory(struct compare *c, struct mq_err *err) {
  const struct mq_program *program = c->program;
  const size_t n_workers = mq_pool_workers(c->pool);
  for (uint32_t i = 0; i < program->n_tensors; i++) {
    const size_t n = (size_t)mq_program_elements(&program->tensors[i]);
    c->row_count = n > c->row_count ? n : c->row_count;
  }
  c->rows = mq_alloc(n_workers, (c->row_count + 1) * sizeof *c->rows);
  c->pointers = mq_alloc(n_workers, 2 * (size_t)program->n_tensors * sizeof *c->pointers);
  c->fast_counts = mq_alloc(n_workers, program->n_tensors * sizeof *c->fast_counts);
  c->differences = mq_alloc(n_workers * (c->map.n_links + 1), COMPARE_RUNS * sizeof *c->differences);
  if (!c->rows || !c->pointers || !c->fast_counts || !c->differences) {
    return mq_fail_memory(err, "an integer program's tensors");
  }
  mq_status status = make_arenas(c, n_workers, err);
  return status == MQ_OK ? make_slots(c, err) : status;
}

static void release(struct compare *c) {
  for (size_t i = 0; c->slots && i < c->n_slots; i++) {
    mq_free(c->slots[i].pixels);
    mq_free(c->slots[i].made);
    for (int run = 0; run < COMPARE_RUNS; run++) {
      mq_free(c->slots[i].cells[run]);
    }
  }
  mq_free(c->slots);
  mq_runtime_destroy(c->runtime);
  mq_free(c->arenas);
  mq_free(c->outputs);
  mq_free(c->fast_counts);
  mq_free(c->rows);
  mq_free(c->pointers);
  mq_free(c->differences);
  tune_feed_deinit(&c->feed);
  mq_arena_deinit(&c->arena);
}

/* ---- The result ---------------------------------------------------------------------------------------- */

static mq_status list_tensors(struct compare *c, struct mq_err *err) {
  struct mq_verification *v = c->result;
  v->tensors = mq_arena_alloc(&v->arena, c->program->n_tensors, sizeof *v->tensors);
  if (!v->tensors) {
    return mq_fail_memory(err, "tensors");
  }
  for (uint32_t i = 0; i < c->program->n_tensors; i++) {
    const struct mq_program_tensor *t = &c->program->tensors[i];
    const struct mq_program_step *step = &c->program->steps[t->first_step];
    bool is_made = c->program->n_steps > 0 && step->output == i;
    if (t->constant) {
      continue;
    }
    struct mq_verified_tensor *to = &v->tensors[v->n_tensors++];
    *to = (struct mq_verified_tensor){
        .name = mq_arena_strdup(&v->arena, t->name[0] || !is_made ? t->name : step->name),
        .step = is_made ? mq_step_kind_name(step->kind) : "input",
        .elements = v->n_images * mq_program_elements(t),
        .is_float = t->type == MQ_PROGRAM_F32,
        .is_simulated = c->map.link_of[i] >= 0};
    if (!to->name) {
      return mq_fail_memory(err, "names");
    }
    v->elements += to->elements;
  }
  return MQ_OK;
}

static void sum_up(const struct compare *c) {
  struct mq_verification *v = c->result;
  size_t at = 0;
  for (uint32_t i = 0; i < c->program->n_tensors; i++) {
    const int64_t link = c->map.link_of[i];
    if (c->program->tensors[i].constant) {
      continue;
    }
    struct mq_verified_tensor *to = &v->tensors[at++];
    for (size_t w = 0; link >= 0 && w < mq_pool_workers(c->pool); w++) {
      const struct mq_differences *d = &c->differences[(w * c->map.n_links + (size_t)link) * COMPARE_RUNS];
      add_differences(&to->whole, &d[COMPARE_WHOLE]);
      add_differences(&to->local, &d[COMPARE_LOCAL]);
      to->exact_elements += d[COMPARE_EXACT].elements;
      to->exact_mismatches += d[COMPARE_EXACT].differing;
    }
    for (size_t w = 0; w < mq_pool_workers(c->pool); w++) {
      to->fast_elements += c->fast_counts[w * c->program->n_tensors + i].elements;
      to->fast_mismatches += c->fast_counts[w * c->program->n_tensors + i].mismatches;
    }
    add_differences(&v->whole, &to->whole);
    add_differences(&v->local, &to->local);
    v->fast_elements += to->fast_elements;
    v->fast_mismatches += to->fast_mismatches;
    v->exact_elements += to->exact_elements;
    v->exact_mismatches += to->exact_mismatches;
  }
  v->n_agree = atomic_load(&c->n_agree);
  v->is_finite = !atomic_load(&c->has_odd_pixels);
}

/* ---- All of it ----------------------------------------------------------------------------------------- */

static mq_status run_block(struct compare *c, struct simulation simulations[COMPARE_RUNS],
                           struct mq_err *err) {
  mq_status status = mq_pool_run(c->pool, c->n_slices, run_program, c, err);
  if (status == MQ_OK) {
    status = mq_pool_run(c->pool, c->n_slices, compare_run_fast, c, err);
  }
  for (int run = 0; run < count_runs(c) && status == MQ_OK; run++) {
    status = simulation_run(&simulations[run], err);
  }
  for (size_t slot = 0; slot < c->n_slices && status == MQ_OK; slot++) {
    keep_outputs(c, slot);
  }
  return status == MQ_OK
             ? mq_pool_run(c->pool, c->n_slices * (size_t)c->feed.slice_images, compare_count, c, err)
             : status;
}

static mq_status run_all(struct compare *c, const char *label, struct mq_err *err) {
  struct simulation simulations[COMPARE_RUNS] = {{.compare = NULL}};
  struct mq_progress progress;
  mq_status status = MQ_OK;
  for (int run = 0; run < count_runs(c) && status == MQ_OK; run++) {
    status = simulation_create(&simulations[run], c, (compare_run)run, err);
  }
  mq_progress_init(&progress, label ? label : "verify", (uint64_t)c->feed.n_images);
  for (; c->first_slice < c->feed.n_slices && status == MQ_OK; c->first_slice += c->n_slots) {
    const size_t left = c->feed.n_slices - c->first_slice;
    c->n_slices = left < c->n_slots ? left : c->n_slots;
    status = run_block(c, simulations, err);
    for (size_t slot = 0; slot < c->n_slices; slot++) {
      mq_progress_add(&progress, (uint64_t)compare_valid(c, slot));
    }
  }
  mq_progress_end(&progress);
  for (int run = 0; run < COMPARE_RUNS; run++) {
    simulation_destroy(&simulations[run]);
  }
  return status;
}

static mq_status begin(struct compare *c, struct mq_dataset *data, const struct mq_verify_options *options,
                       struct mq_err *err) {
  mq_status status = mq_check_model_data(c->prepared->graph, data, err);
  if (status == MQ_OK) {
    status = verify_map_make(&c->map, c->prepared, c->program, &c->arena, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct tune_feed_options feed = {.n_images = c->result->n_images,
                                         .slice_images = choose_slice(c),
                                         .loader_threads = options->loader_threads};
  const struct mq_runtime_options fast = {.pool = c->pool};
  c->pixel_count = mq_program_elements(&c->program->tensors[c->program->inputs[0]]);
  c->n_slots = mq_pool_workers(c->pool);
  status = mq_runtime_create(&c->runtime, c->program, &fast, err);
  if (status == MQ_OK) {
    status = tune_feed_init(&c->feed, c->prepared->graph, data, &feed, err);
  }
  if (status == MQ_OK) {
    status = make_memory(c, err);
  }
  if (status == MQ_OK && options->keeps_outputs) {
    status = make_outputs(c, err);
  }
  return status == MQ_OK ? list_tensors(c, err) : status;
}

mq_status mq_verify(struct mq_verification *v, const struct mq_prepared *prepared,
                    const struct mq_program *program, struct mq_dataset *data,
                    const struct mq_verify_options *options, struct mq_pool *pool, struct mq_err *err) {
  const int64_t n = mq_dataset_get_info(data)->n_images;
  struct compare c = {
      .prepared = prepared, .program = program, .pool = pool, .exact = options->exact, .result = v};
  *v = (struct mq_verification){.n_images =
                                    options->n_images > 0 && options->n_images < n ? options->n_images : n};
  mq_arena_init(&v->arena, 0);
  mq_arena_init(&c.arena, 0);
  mq_status status = begin(&c, data, options, err);
  if (status == MQ_OK) {
    status = run_all(&c, options->label, err);
  }
  if (status == MQ_OK) {
    sum_up(&c);
  } else {
    mq_verification_deinit(v);
  }
  release(&c);
  return status;
}

void mq_verification_deinit(struct mq_verification *v) {
  for (size_t i = 0; i < v->n_outputs; i++) {
    mq_tensor_deinit(&v->outputs[i]);
  }
  mq_arena_deinit(&v->arena);
  *v = (struct mq_verification){.n_images = 0};
}
