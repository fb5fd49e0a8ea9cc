/* Images through the steps: each by one worker, or one after the other by all of them. */
#include <sched.h>
#include <string.h>

#include "runtime/internal.h"

/* ---- Inputs, outputs, and looking on ----------------------------------------------------------------- */
static const void *image_of(const void *data, const struct mq_program_tensor *tensor, int64_t image) {
  return (const unsigned char *)data + (size_t)image * mq_program_tensor_bytes(tensor);
}

static mq_status check_codes(const struct mq_program_tensor *t, const void *codes, uint32_t input,
                             int64_t image, struct mq_err *err) {
  for (int64_t i = 0, n = program_is_code(t) ? mq_program_elements(t) : 0; i < n; i++) {
    const int32_t code = program_get_code(codes, t->type, i);
    if (code < t->code_min || code > t->code_max)
      return mq_fail(err, MQ_BAD_INPUT, "input %u, image %lld: code %d, expected one in [%d, %d]", input,
                     (long long)image, code, t->code_min, t->code_max);
  }
  return MQ_OK;
}

static void see(const struct runtime_frame *frame, unsigned char *plain, const struct mq_program_run *run,
                uint32_t tensor, int64_t image) {
  struct mq_runtime *runtime = (struct mq_runtime *)(uintptr_t)frame->runtime;
  if (run->see == NULL) return;
  runtime_fetch(&runtime->layouts[tensor], plain, frame->data[tensor]);
  while (atomic_flag_test_and_set(&runtime->is_seeing))
    sched_yield();
  run->see(run->context, runtime->program, tensor, image, plain);
  atomic_flag_clear(&runtime->is_seeing);
}

static mq_status read_inputs(const struct runtime_frame *frame, unsigned char *plain,
                             const struct mq_program_run *run, int64_t image, struct mq_err *err) {
  const struct mq_program *program = frame->runtime->program;
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < program->n_inputs && status == MQ_OK; i++) {
    const uint32_t t = program->inputs[i];
    const struct runtime_layout *layout = &frame->runtime->layouts[t];
    const void *from = image_of(run->inputs[i], &program->tensors[t], image);
    status = check_codes(&program->tensors[t], from, i, image, err);
    if (layout->is_lent) {
      frame->data[t] = (unsigned char *)(uintptr_t)from;
    } else {
      runtime_store(layout, frame->data[t], from);
      runtime_fill_pads(layout, frame->data[t], 0, layout->rows);
    }
    if (status == MQ_OK) see(frame, plain, run, t, image);
  }
  return status;
}

static void write_outputs(const struct runtime_frame *frame, const struct mq_program_run *run,
                          int64_t image) {
  const struct mq_program *program = frame->runtime->program;
  for (uint32_t i = 0; i < program->n_outputs; i++) {
    const uint32_t t = program->outputs[i];
    const size_t bytes = mq_program_tensor_bytes(&program->tensors[t]);
    runtime_fetch(&frame->runtime->layouts[t], (unsigned char *)run->outputs[i] + (size_t)image * bytes,
                  frame->data[t]);
  }
}

/* ---- An image by one worker -------------------------------------------------------------------------- */
/* Part `part` of n: units of the step, and rows whose pads are filled. */
static void run_part(const struct runtime_step *step, const struct runtime_frame *frame, int64_t part,
                     int64_t n) {
  const uint32_t output = step->step->output;
  const struct runtime_layout *y = &frame->runtime->layouts[output];
  step->op->run(step, frame, step->n_units * part / n, step->n_units * (part + 1) / n);
  if (y->side > 0 || y->top > 0 || y->bottom > 0)
    runtime_fill_pads(y, frame->data[output], y->rows * part / n, y->rows * (part + 1) / n);
}

static mq_status run_image(struct mq_runtime *runtime, unsigned worker, const struct mq_program_run *run,
                           int64_t image, struct mq_err *err) {
  const struct runtime_frame *frame = &runtime->frames[worker];
  unsigned char *plain = runtime->plain[worker];
  const mq_status status = read_inputs(frame, plain, run, image, err);
  if (status != MQ_OK) return status;
  for (uint32_t s = 0; s < runtime->program->n_steps; s++) {
    run_part(&runtime->steps[s], frame, 0, 1);
    see(frame, plain, run, runtime->steps[s].step->output, image);
  }
  write_outputs(frame, run, image);
  return MQ_OK;
}

/* ---- An image by all workers --------------------------------------------------------------------------
 * Everyone goes through all steps, takes parts that nobody has taken, and waits until a step's parts are
 * done before the next. Nobody waits for somebody who has not come yet. */
struct job {
  struct mq_runtime *runtime;
  const struct mq_program_run *run;
  int64_t image;
};

/* How many parts: a worker that is held up should not keep the others waiting for long. */
static int64_t count_parts(const struct runtime_step *step, unsigned n_workers) {
  const int64_t most = step->n_units / step->grain, wanted = n_workers;
  return most < 1 ? 1 : most < wanted ? most : wanted;
}

static void wait_for(struct runtime_share *share) {
  for (unsigned looks = 0; !atomic_load_explicit(&share->is_done, memory_order_acquire); looks++) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (looks % 1024 == 1023) sched_yield();
  }
}

static void share_step(const struct job *job, uint32_t s, const struct runtime_frame *frame,
                       unsigned char *plain) {
  struct mq_runtime *runtime = job->runtime;
  const struct runtime_step *step = &runtime->steps[s];
  struct runtime_share *share = &runtime->shares[s];
  const int64_t n = count_parts(step, runtime->n_workers);
  while (atomic_load(&share->next) < n) {
    const int64_t part = (int64_t)atomic_fetch_add(&share->next, 1);
    if (part >= n) break;
    run_part(step, frame, part, n);
    if (atomic_fetch_add(&share->finished, 1) + 1 < n) continue;
    see(frame, plain, job->run, step->step->output, job->image);
    atomic_store_explicit(&share->is_done, true, memory_order_release);
  }
  wait_for(share);
}

/* The tensors are those of worker 0, the scratch memory is each worker's own. */
static mq_status take_part(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)task;
  (void)err;
  const struct job *job = context;
  struct mq_runtime *runtime = job->runtime;
  const struct runtime_frame frame = {
      .runtime = runtime, .data = runtime->frames[0].data, .scratch = runtime->frames[worker].scratch};
  for (uint32_t s = 0; s < runtime->program->n_steps; s++)
    share_step(job, s, &frame, runtime->plain[worker]);
  return MQ_OK;
}

static mq_status run_within(struct mq_runtime *runtime, const struct mq_program_run *run, int64_t image,
                            struct mq_err *err) {
  struct job job = {.runtime = runtime, .run = run, .image = image};
  mq_status status = read_inputs(&runtime->frames[0], runtime->plain[0], run, image, err);
  if (status != MQ_OK) return status;
  for (uint32_t s = 0; s < runtime->program->n_steps; s++) {
    atomic_store(&runtime->shares[s].next, 0);
    atomic_store(&runtime->shares[s].finished, 0);
    atomic_store(&runtime->shares[s].is_done, false);
  }
  status = mq_pool_run(runtime->pool, runtime->n_workers, take_part, &job, err);
  if (status == MQ_OK) write_outputs(&runtime->frames[0], run, image);
  return status;
}

/* ---- Images ------------------------------------------------------------------------------------------ */
static mq_status take_image(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct job *job = context;
  return run_image(job->runtime, worker, job->run, (int64_t)task, err);
}

/* Images for which there is a worker each; the rest is shared. */
static int64_t count_whole(const struct mq_runtime *runtime, int64_t n_images) {
  if (runtime->cut == MQ_RUNTIME_IMAGES) return n_images;
  return runtime->cut == MQ_RUNTIME_WITHIN ? 0 : n_images - n_images % runtime->n_workers;
}

mq_status mq_runtime_run(struct mq_runtime *runtime, const struct mq_program_run *run, struct mq_err *err) {
  if (runtime->n_workers == 1) return mq_runtime_run_worker(runtime, 0, run, err);
  struct job job = {.runtime = runtime, .run = run};
  const int64_t n_whole = count_whole(runtime, run->n_images);
  mq_status status = MQ_OK;
  if (n_whole > 0) status = mq_pool_run(runtime->pool, (size_t)n_whole, take_image, &job, err);
  for (int64_t image = n_whole; image < run->n_images && status == MQ_OK; image++)
    status = run_within(runtime, run, image, err);
  return status;
}

mq_status mq_runtime_run_worker(struct mq_runtime *runtime, unsigned worker, const struct mq_program_run *run,
                                struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int64_t image = 0; image < run->n_images && status == MQ_OK; image++)
    status = run_image(runtime, worker, run, image, err);
  return status;
}
