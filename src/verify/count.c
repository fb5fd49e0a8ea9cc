/* An image: what differs between simulation and program, and why. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify/compare.h"
#include "verify/explain.h"

static float float_of(int32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* ---- Values -------------------------------------------------------------------------------------------- */

static void note(struct mq_differences *d, double step, mq_cause cause) {
  d->differing++;
  d->causes[cause]++;
  d->max_step = fmax(d->max_step, step);
}

static void count_floats(struct mq_differences *d, const struct explain_image *image, uint32_t tensor,
                         const int32_t *cells) {
  const float *made = image->made[tensor];
  const int64_t n = mq_program_elements(&image->program->tensors[tensor]);
  const double step = verify_float_step(made, n);
  for (int64_t i = 0; i < n; i++) {
    const float simulated = float_of(cells[i]);
    if (simulated < made[i] || simulated > made[i] || isnan(simulated) != isnan(made[i])) {
      note(d, fabs((double)simulated - (double)made[i]) / step, explain_float(image, tensor, i, simulated));
    }
  }
  d->elements += n;
}

static void count_codes(struct mq_differences *d, const struct explain_image *image, uint32_t tensor,
                        const int32_t *cells) {
  const struct mq_program_tensor *t = &image->program->tensors[tensor];
  const int64_t n = mq_program_elements(t);
  for (int64_t i = 0; i < n; i++) {
    const int32_t code = reality_code(image->made[tensor], t->type, i);
    if (code != cells[i]) {
      note(d, abs(code - cells[i]), explain_code(image, tensor, i, cells[i]));
    }
  }
  d->elements += n;
}

/* ---- Classes ------------------------------------------------------------------------------------------- */

static int64_t class_of_made(const struct mq_program_tensor *t, const void *made) {
  int64_t best = 0;
  for (int64_t i = 1, n = mq_program_elements(t); i < n; i++) {
    bool is_larger = t->type == MQ_PROGRAM_F32
                         ? ((const float *)made)[i] > ((const float *)made)[best]
                         : reality_code(made, t->type, i) > reality_code(made, t->type, best);
    best = is_larger ? i : best;
  }
  return best;
}

static int64_t class_of_cells(const struct mq_program_tensor *t, const int32_t *cells) {
  int64_t best = 0;
  for (int64_t i = 1, n = mq_program_elements(t); i < n; i++) {
    bool is_larger =
        t->type == MQ_PROGRAM_F32 ? float_of(cells[i]) > float_of(cells[best]) : cells[i] > cells[best];
    best = is_larger ? i : best;
  }
  return best;
}

static void count_class(struct compare *c, const struct explain_image *image, const int32_t *cells) {
  const uint32_t tensor = c->program->outputs[0];
  const struct mq_program_tensor *t = &c->program->tensors[tensor];
  const int64_t link = c->map.link_of[tensor];
  if (link >= 0 &&
      class_of_made(t, image->made[tensor]) == class_of_cells(t, cells + c->map.links[link].offset)) {
    atomic_fetch_add(&c->n_agree, 1);
  }
}

/* ---- An image ------------------------------------------------------------------------------------------ */

static void count_run(const struct compare *c, compare_run run, const struct explain_image *image,
                      const int32_t *cells, unsigned worker) {
  for (size_t i = 0; i < c->map.n_links; i++) {
    const struct verify_link *link = &c->map.links[i];
    struct mq_differences *d = &c->differences[(worker * c->map.n_links + i) * COMPARE_RUNS + run];
    if (c->program->tensors[link->tensor].type == MQ_PROGRAM_F32) {
      count_floats(d, image, link->tensor, cells + link->offset);
    } else {
      count_codes(d, image, link->tensor, cells + link->offset);
    }
  }
}

/* The simulation's leaves; of steps that were given the program's codes only the floats. */
static void point_to(const struct compare *c, const int32_t **simulated, const int32_t *cells,
                     bool is_local) {
  for (uint32_t t = 0; t < c->program->n_tensors; t++) {
    const int64_t link = c->map.link_of[t];
    bool is_given = is_local && c->program->tensors[t].type != MQ_PROGRAM_F32;
    simulated[t] = link >= 0 && !is_given ? cells + c->map.links[link].offset : NULL;
  }
}

/* Layers that stay float are summed in float32 here and in double there: their floats, and what is quantized
 * from them, may differ by as much. */
static bool may_differ(const struct compare *c, const struct explain_image *image, uint32_t tensor,
                       int64_t at, int32_t cell) {
  const struct mq_program_tensor *t = &c->program->tensors[tensor];
  if (!c->map.has_float_layers) {
    return false;
  }
  if (t->type == MQ_PROGRAM_F32) {
    return explain_float(image, tensor, at, float_of(cell)) == MQ_CAUSE_FLOAT;
  }
  return c->program->steps[t->first_step].kind == MQ_STEP_QUANTIZE &&
         explain_code(image, tensor, at, cell) == MQ_CAUSE_FLOAT;
}

/* Codes of exact and program; of floats the bits. */
static void count_exact(const struct compare *c, const struct explain_image *image, const int32_t *cells,
                        unsigned worker) {
  for (size_t i = 0; i < c->map.n_links; i++) {
    const struct verify_link *link = &c->map.links[i];
    const struct mq_program_tensor *t = &c->program->tensors[link->tensor];
    const unsigned char *made = image->made[link->tensor];
    struct mq_differences *d = &c->differences[(worker * c->map.n_links + i) * COMPARE_RUNS + COMPARE_EXACT];
    for (int64_t k = 0, n = mq_program_elements(t); k < n; k++) {
      const int32_t cell = cells[link->offset + (size_t)k];
      bool is_other = t->type == MQ_PROGRAM_F32 ? memcmp(made + k * 4, &cell, 4) != 0
                                                : reality_code(made, t->type, k) != cell;
      d->differing += is_other && !may_differ(c, image, link->tensor, k, cell);
      d->elements++;
    }
  }
}

mq_status compare_count(void *context, size_t task, unsigned worker, struct mq_err *err) {
  struct compare *c = context;
  const size_t slice_images = (size_t)c->feed.slice_images, slot = task / slice_images;
  const int64_t at = (int64_t)(task % slice_images);
  const struct mq_program *program = c->program;
  const void **made = c->pointers + (size_t)worker * 2 * program->n_tensors;
  const int32_t **simulated = (const int32_t **)(void *)(made + program->n_tensors);
  (void)err;
  if (at >= compare_valid(c, slot)) {
    return MQ_OK;
  }
  const int32_t *cells[COMPARE_RUNS];
  for (int run = 0; run < COMPARE_RUNS; run++) {
    const int32_t *first = c->slots[slot].cells[run];
    cells[run] = first ? first + (size_t)at * (size_t)c->map.n_elements : NULL;
  }
  for (uint32_t t = 0; t < program->n_tensors; t++) {
    made[t] = program->tensors[t].constant ? NULL : compare_made(c, slot, at, t);
  }
  struct explain_image image = {.program = program,
                                .kinds = c->map.kinds,
                                .made = made,
                                .simulated = simulated,
                                .biases = c->map.biases};
  count_class(c, &image, cells[COMPARE_WHOLE]);
  point_to(c, simulated, cells[COMPARE_WHOLE], false);
  count_run(c, COMPARE_WHOLE, &image, cells[COMPARE_WHOLE], worker);
  image.is_local = true;
  point_to(c, simulated, cells[COMPARE_LOCAL], true);
  count_run(c, COMPARE_LOCAL, &image, cells[COMPARE_LOCAL], worker);
  if (c->exact) {
    point_to(c, simulated, cells[COMPARE_EXACT], true);
    count_exact(c, &image, cells[COMPARE_EXACT], worker);
  }
  return MQ_OK;
}
