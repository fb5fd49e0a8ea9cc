/* Resize: one pass per axis that changes; each output plane is a weighted sum of input planes. */
#include <math.h>
#include <string.h>

#include "engine/compile.h"

struct resample_state {
  int axis;
  int64_t n_out, n_taps;
  const int64_t *index; /* n_out x n_taps planes of the input */
  const float *weight;  /* n_out x n_taps */
  const float *fixed;   /* n_out: the value of planes outside (tf_crop_and_resize), NAN: computed; or NULL */
};

static mq_status create_state(const struct resample_state **state_out, struct engine_compiler *c,
                              const struct mq_resize *r, int axis, int64_t n_in, struct mq_err *err) {
  int64_t n_out = r->size[axis], n_taps = mq_resize_n_taps(r, axis);
  bool is_crop = r->coordinates == MQ_COORDINATES_TF_CROP_AND_RESIZE;
  void *block, *index, *weight, *fixed = NULL;
  mq_status status = engine_alloc(&block, c, 1, sizeof **state_out, err);
  if (status == MQ_OK) {
    status = engine_alloc(&index, c, (size_t)n_out, (size_t)n_taps * sizeof(int64_t), err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&weight, c, (size_t)n_out, (size_t)n_taps * sizeof(float), err);
  }
  if (status == MQ_OK && is_crop) {
    status = engine_alloc(&fixed, c, (size_t)n_out, sizeof(float), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  for (int64_t o = 0; o < n_out; o++) {
    double x = mq_resize_taps((int64_t *)index + o * n_taps, (float *)weight + o * n_taps, r, axis, o, n_in);
    if (is_crop) {
      ((float *)fixed)[o] = x < 0 || x > (double)(n_in - 1) ? r->extrapolation_value : NAN;
    }
  }
  struct resample_state *state = block;
  *state = (struct resample_state){
      .axis = axis, .n_out = n_out, .n_taps = n_taps, .index = index, .weight = weight, .fixed = fixed};
  *state_out = state;
  return MQ_OK;
}

/* ---- One pass ----------------------------------------------------------------------------------- */
struct run {
  int64_t n, x_step, y_step;
};

static void sum_run(float *y, float *x, const struct run *run, const struct resample_state *s, int64_t o,
                    int64_t plane_stride) {
  const int64_t *index = s->index + o * s->n_taps;
  const float *weight = s->weight + o * s->n_taps;
  if (s->fixed && !isnan(s->fixed[o])) {
    for (int64_t i = 0; i < run->n; i++) {
      y[i * run->y_step] = s->fixed[o];
    }
    return;
  }
  const float *first = x + index[0] * plane_stride;
  for (int64_t i = 0; i < run->n; i++) {
    y[i * run->y_step] = weight[0] * first[i * run->x_step];
  }
  for (int64_t t = 1; t < s->n_taps; t++) {
    const float *plane = x + index[t] * plane_stride;
    for (int64_t i = 0; i < run->n; i++) {
      y[i * run->y_step] += weight[t] * plane[i * run->x_step];
    }
  }
}

/* The dimension with the smallest stride in y, other than the axis. */
static int inner_dim(const struct mq_tensor *y, int axis) {
  int inner = -1;
  for (int i = 0; i < y->shape.rank; i++) {
    if (i != axis && y->shape.dim[i] > 1 && (inner < 0 || y->stride[i] < y->stride[inner])) {
      inner = i;
    }
  }
  return inner;
}

/* Its gradient: every plane of x gets what it gave, in the order of the output's planes. */
static void spread_run(float *g, float *d, const struct run *run, const struct resample_state *s, int64_t o,
                       int64_t plane_stride) {
  const int64_t *index = s->index + o * s->n_taps;
  const float *weight = s->weight + o * s->n_taps;
  if (s->fixed && !isnan(s->fixed[o])) {
    return;
  }
  for (int64_t t = 0; t < s->n_taps; t++) {
    float *plane = d + index[t] * plane_stride;
    for (int64_t i = 0; i < run->n; i++) {
      plane[i * run->x_step] += weight[t] * g[i * run->y_step];
    }
  }
}

typedef void (*run_fn)(float *y, float *x, const struct run *run, const struct resample_state *s, int64_t o,
                       int64_t plane_stride);

/* Calls for every run of y, with what lies at the same place of x. */
static void walk_runs(run_fn function, const struct mq_tensor *x, const struct mq_tensor *y,
                      const struct resample_state *s) {
  int inner = inner_dim(y, s->axis);
  struct run run = {.n = 1, .x_step = 1, .y_step = 1};
  if (inner >= 0) {
    run = (struct run){y->shape.dim[inner], x->stride[inner], y->stride[inner]};
  }
  int64_t position[MQ_MAX_RANK] = {0}, n_runs = mq_shape_count(&y->shape) / run.n;
  for (int64_t r = 0; r < n_runs; r++) {
    int64_t x_offset = 0, y_offset = 0;
    for (int i = 0; i < y->shape.rank; i++) {
      x_offset += i == s->axis ? 0 : position[i] * x->stride[i];
      y_offset += position[i] * y->stride[i];
    }
    function((float *)y->data + y_offset, (float *)x->data + x_offset, &run, s, position[s->axis],
             x->stride[s->axis]);
    for (int i = y->shape.rank - 1; i >= 0; i--) {
      if (i != inner && ++position[i] < y->shape.dim[i]) {
        break;
      }
      position[i] = 0;
    }
  }
}

static mq_status forward_resample(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  walk_runs(sum_run, engine_input(step, frame, 0), engine_output(step, frame, 0), step->state);
  return MQ_OK;
}

static mq_status backward_resample(const struct engine_step *step, struct engine_frame *frame,
                                   struct mq_err *err) {
  (void)err;
  const struct mq_tensor *d = engine_input_gradient(step, frame, 0);
  if (!step->adds[0]) {
    engine_zero(d);
  }
  walk_runs(spread_run, d, engine_output_gradient(step, frame, 0), step->state);
  return MQ_OK;
}

static const struct engine_function resample_function = {.forward = forward_resample,
                                                         .backward = backward_resample};

static bool is_unchanged(const struct mq_resize *r, int axis, int64_t n_in) {
  return r->size[axis] == n_in && r->scale[axis] == 1.0 &&
         (r->coordinates != MQ_COORDINATES_TF_CROP_AND_RESIZE ||
          (r->roi_start[axis] == 0 && r->roi_end[axis] == 1));
}

static mq_status compile_resize(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct mq_resize r;
  int x;
  mq_status status = mq_node_get_resize(&r, node, err);
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, ENGINE_ANY, err);
  }
  for (int axis = r.rank - 1; axis >= 0 && status == MQ_OK; axis--) {
    struct mq_shape shape = engine_tensor(c, x)->shape;
    if (shape.dim[axis] == 0 || node->inputs[0]->shape.dim[axis] == MQ_DIM_BATCH ||
        is_unchanged(&r, axis, shape.dim[axis])) {
      continue;
    }
    const struct resample_state *state;
    int y = -1;
    status = create_state(&state, c, &r, axis, shape.dim[axis], err);
    if (status == MQ_OK) {
      shape.dim[axis] = r.size[axis];
      status = engine_new_place(&y, c, MQ_F32, &shape, NULL, err);
    }
    if (status == MQ_OK) {
      status = engine_emit_simple(c, &resample_function, state, &x, 1, y, err);
    }
    x = y;
  }
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], x);
  }
  return status;
}

const struct engine_op engine_op_Resize = {.compile = compile_resize, .function = &resample_function};
