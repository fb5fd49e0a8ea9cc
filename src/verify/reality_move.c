/* Pools and moves in real numbers. */
#include <math.h>

#include "verify/reality.h"

static const struct real unknown = {0, INFINITY};

struct place {
  int64_t index[MQ_PROGRAM_MAX_RANK];
};

static struct place place_of(const struct mq_program_tensor *t, int64_t at) {
  struct place place = {{0}};
  for (int32_t i = t->rank; i-- > 0;) {
    place.index[i] = at % t->dim[i];
    at /= t->dim[i];
  }
  return place;
}

static int64_t element_at(const struct mq_program_tensor *t, const struct place *place) {
  int64_t at = 0;
  for (int32_t i = 0; i < t->rank; i++) {
    at = at * t->dim[i] + place->index[i];
  }
  return at;
}

/* ---- Pools --------------------------------------------------------------------------------------------- */

struct pooling {
  double sum, magnitude, slack, max, max_slack;
  int64_t n, n_padded;
};

static void pool_element(struct pooling *p, struct real x) {
  p->sum += x.value;
  p->magnitude += fabs(x.value);
  p->slack += x.slack;
  p->max = fmax(p->max, x.value);
  p->max_slack = fmax(p->max_slack, x.slack);
  p->n++;
}

static bool is_inside(int64_t at, int64_t begin, int64_t end) {
  return at >= begin && at < end;
}

static struct pooling pool(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]];
  const struct mq_program_window *w = &step->as.pool.window;
  struct pooling p = {.max = -INFINITY};
  struct place place = place_of(&r->program->tensors[step->output], at);
  const int64_t top = place.index[0] * w->stride[0] - w->pad_begin[0];
  const int64_t left = place.index[1] * w->stride[1] - w->pad_begin[1];
  for (int64_t kh = 0; kh < w->kernel[0]; kh++) {
    for (int64_t kw = 0; kw < w->kernel[1]; kw++) {
      place.index[0] = top + kh * w->dilation[0];
      place.index[1] = left + kw * w->dilation[1];
      p.n_padded += is_inside(place.index[0], -w->pad_begin[0], x->dim[0] + w->pad_end[0]) &&
                    is_inside(place.index[1], -w->pad_begin[1], x->dim[1] + w->pad_end[1]);
      if (is_inside(place.index[0], 0, x->dim[0]) && is_inside(place.index[1], 0, x->dim[1])) {
        pool_element(&p, reality_of(r, step->inputs[0], element_at(x, &place)));
      }
    }
  }
  return p;
}

/* Of n elements, some of them padding. */
static struct real average_of(const struct pooling *p, int64_t n) {
  const double d = (double)n;
  return (struct real){p->sum / d, p->slack / d + (d + 4) * REALITY_ROUNDING * p->magnitude / d};
}

static struct real average(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct pooling p = pool(r, step, at);
  return average_of(&p, step->as.pool.counts_padding ? p.n_padded : p.n);
}

static struct real max(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct pooling p = pool(r, step, at);
  return (struct real){p.max, p.max_slack};
}

static struct real mean(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]];
  const int64_t channels = x->dim[x->rank - 1], n = mq_program_elements(x) / channels;
  struct pooling p = {.max = -INFINITY};
  for (int64_t i = 0; i < n; i++) {
    pool_element(&p, reality_of(r, step->inputs[0], i * channels + at));
  }
  return average_of(&p, n);
}

/* ---- Moves --------------------------------------------------------------------------------------------- */

static struct real concat(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  struct place place = place_of(&r->program->tensors[step->output], at);
  int64_t *along = &place.index[step->as.concat.axis];
  for (uint32_t i = 0; i < step->n_inputs; i++) {
    const struct mq_program_tensor *x = &r->program->tensors[step->inputs[i]];
    if (*along < x->dim[step->as.concat.axis]) {
      return reality_of(r, step->inputs[i], element_at(x, &place));
    }
    *along -= x->dim[step->as.concat.axis];
  }
  return unknown;
}

static struct real pad(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]];
  struct place place = place_of(&r->program->tensors[step->output], at);
  for (int32_t i = 0; i < x->rank; i++) {
    place.index[i] -= step->as.pad.begin[i];
    if (!is_inside(place.index[i], 0, x->dim[i])) {
      double value = x->type == MQ_PROGRAM_F32
                         ? (double)step->as.pad.value
                         : (double)(step->as.pad.code - x->zero_point) * (double)x->scale;
      return (struct real){value, 0};
    }
  }
  return reality_of(r, step->inputs[0], element_at(x, &place));
}

static struct real from_place(const struct reality *r, const struct mq_program_step *step,
                              const struct place *place) {
  return reality_of(r, step->inputs[0], element_at(&r->program->tensors[step->inputs[0]], place));
}

static struct real slice(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  struct place place = place_of(&r->program->tensors[step->output], at);
  for (int i = 0; i < MQ_PROGRAM_MAX_RANK; i++) {
    place.index[i] = step->as.slice.start[i] + place.index[i] * step->as.slice.step[i];
  }
  return from_place(r, step, &place);
}

static struct real gather(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  struct place place = place_of(&r->program->tensors[step->output], at);
  int64_t *along = &place.index[step->as.gather.axis];
  *along = step->as.gather.index[*along];
  return from_place(r, step, &place);
}

static struct real transpose(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *y = &r->program->tensors[step->output];
  const struct place to = place_of(y, at);
  struct place from = {{0}};
  for (int32_t i = 0; i < y->rank; i++) {
    from.index[step->as.transpose.perm[i]] = to.index[i];
  }
  return from_place(r, step, &from);
}

struct real reality_move(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  switch (step->kind) {
    case MQ_STEP_AVERAGE:
      return average(r, step, at);
    case MQ_STEP_MEAN:
      return mean(r, step, at);
    case MQ_STEP_MAX:
      return max(r, step, at);
    case MQ_STEP_CONCAT:
      return concat(r, step, at);
    case MQ_STEP_PAD:
      return pad(r, step, at);
    case MQ_STEP_SLICE:
      return slice(r, step, at);
    case MQ_STEP_GATHER:
      return gather(r, step, at);
    case MQ_STEP_TRANSPOSE:
      return transpose(r, step, at);
    case MQ_STEP_RESHAPE:
      return reality_of(r, step->inputs[0], at);
    default:
      return unknown;
  }
}
