#include "help_quantizer.h"

#include <math.h>

#include "common.h"

static void *zeros(size_t n, size_t bytes) {
  return mq_alloc(n > 0 ? n : 1, bytes);
}

void step_init(struct step *step, const struct mq_quantizer_ops *ops,
               const struct mq_quantizer_config *config) {
  struct mq_err err;
  *step = (struct step){.ops = ops, .config = *config};
  assert_ok(ops->check(config, "tensor", &err));
  step->n_parameters = mq_quantizer_parameter_total(ops, config);
  step->n_statistics = ops->statistics_count ? ops->statistics_count(config) : 0;
  step->n_form = ops->form_count(config);
  step->n_sums = ops->sum_count ? ops->sum_count(config) : 0;
  step->parameters = zeros(step->n_parameters, sizeof(float));
  step->gradients = zeros(step->n_parameters, sizeof(float));
  step->form = zeros(step->n_form, sizeof(double));
  step->statistics = zeros(step->n_statistics, sizeof(double));
  step->sums = zeros(step->n_sums, sizeof(double));
  assert_ok(mq_qparams_init(&step->grid, config->n_channels, config->n_channels > 1 ? 0 : -1, &err));
}

void step_deinit(struct step *step) {
  void *blocks[] = {step->parameters, step->gradients, step->form, step->statistics,
                    step->sums,       step->y,         step->dx,   step->codes};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    mq_free(blocks[i]);
  mq_qparams_deinit(&step->grid);
}

static void calibrate(struct mq_qparams *observed, const struct step *step, const float *x, int64_t n_rows,
                      int64_t row_count) {
  struct mq_err err;
  const struct mq_quantizer_config *config = &step->config;
  const char *name = config->is_weight ? step->ops->w_observer : step->ops->a_observer;
  if (step->observer) name = step->observer;
  const struct mq_observer_ops *observer = mq_observer_find(name);
  const struct mq_observer_config observed_config = {.scheme = config->scheme,
                                                     .is_weight = config->is_weight,
                                                     .n_channels = config->n_channels,
                                                     .parameter = (double)NAN,
                                                     .parameter2 = (double)NAN};
  if (config->is_weight && config->n_channels == 1) row_count *= n_rows;
  if (config->is_weight) {
    assert_ok(
        mq_observe_weights(observed, observer, &observed_config, x, row_count, step->least_scale, &err));
    return;
  }
  size_t bytes = observer->state_bytes(&observed_config);
  void *running = zeros(1, bytes), *batch = zeros(1, bytes);
  observer->init(running, &observed_config);
  observer->init(batch, &observed_config);
  observer->observe(batch, &observed_config, x, n_rows, row_count, row_count);
  observer->batch_end(running, batch, &observed_config, true);
  assert_ok(observer->answer(observed, running, &observed_config, NULL, row_count, step->least_scale, &err));
  mq_free(running);
  mq_free(batch);
}

void step_calibrate(struct step *step, const float *x, int64_t n_rows, int64_t row_count) {
  struct mq_err err;
  struct mq_qparams observed;
  assert_ok(mq_qparams_init(&observed, step->config.n_channels, step->grid.channel_axis, &err));
  calibrate(&observed, step, x, n_rows, row_count);
  step->config.is_own_observer = !step->observer;
  assert_ok(step->ops->init(step->parameters, &step->config, &observed, step->config.is_weight ? x : NULL,
                            n_rows, row_count, &err));
  mq_qparams_deinit(&observed);
}

/* What every slice adds, for one kind of numbers. */
struct slices {
  struct step *step;
  const float *x, *g;
  int64_t row_count;
};
typedef void (*slice_fn)(double *numbers, const struct slices *slices, int64_t row, int64_t n_rows);

/* Sums over rows [first, first + n) of slices, halves first. */
static void merge_tree(double *into, size_t n_numbers, const struct slices *slices, int64_t first, int64_t n,
                       slice_fn slice, void (*merge)(double *, const double *, const struct step *, size_t)) {
  int64_t per = slices->step->rows_per_slice;
  if (per == 0 || slices->step->config.is_weight || n <= per) {
    slice(into, slices, first, n);
    return;
  }
  int64_t n_slices = (n + per - 1) / per, left = 1;
  while (2 * left < n_slices)
    left *= 2;
  merge_tree(into, n_numbers, slices, first, left * per, slice, merge);
  double *other = zeros(n_numbers, sizeof(double));
  merge_tree(other, n_numbers, slices, first + left * per, n - left * per, slice, merge);
  merge(into, other, slices->step, n_numbers);
  mq_free(other);
}

static void observe_slice(double *statistics, const struct slices *slices, int64_t row, int64_t n_rows) {
  slices->step->ops->observe(statistics, &slices->step->config, slices->x + row * slices->row_count, n_rows,
                             slices->row_count);
}

static void merge_statistics(double *into, const double *from, const struct step *step, size_t n) {
  (void)n;
  step->ops->merge(into, from, &step->config);
}

static void backward_slice(double *sums, const struct slices *slices, int64_t row, int64_t n_rows) {
  struct step *step = slices->step;
  int64_t at = row * slices->row_count;
  step->ops->backward(step->dx + at, false, sums, &step->config, step->form, slices->g + at, slices->x + at,
                      n_rows, slices->row_count);
}

static void add_sums(double *into, const double *from, const struct step *step, size_t n) {
  (void)step;
  for (size_t i = 0; i < n; i++)
    into[i] += from[i];
}

static void resize(struct step *step, int64_t n) {
  step->n = n;
  step->y = mq_realloc(step->y, (size_t)n, sizeof(float));
  step->dx = mq_realloc(step->dx, (size_t)n, sizeof(float));
  step->codes = mq_realloc(step->codes, (size_t)n, 1);
  assert_true(step->y && step->dx && step->codes);
}

void step_forward(struct step *step, bool is_training, const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_quantizer_ops *ops = step->ops;
  resize(step, n_rows * row_count);
  const struct slices slices = {.step = step, .x = x, .row_count = row_count};
  memset(step->statistics, 0, step->n_statistics * sizeof(double));
  bool is_gathered = is_training || step->config.is_weight;
  if (is_gathered && ops->observe)
    merge_tree(step->statistics, step->n_statistics, &slices, 0, n_rows, observe_slice, merge_statistics);
  ops->derive(step->form, &step->config, step->parameters, is_gathered ? step->statistics : NULL,
              step->least_scale);
  bool is_on_grid = ops->grid(&step->grid, &step->config, step->form);
  step->has_grid = is_on_grid && step->grid.quant_max - step->grid.quant_min <= UINT8_MAX;
  ops->forward(step->y, step->has_grid ? step->codes : NULL, &step->config, step->form, x, n_rows, row_count);
}

void step_train(struct step *step, const float *x, const float *g, int64_t n_rows, int64_t row_count) {
  step_forward(step, true, x, n_rows, row_count);
  const struct slices slices = {.step = step, .x = x, .g = g, .row_count = row_count};
  memset(step->sums, 0, step->n_sums * sizeof(double));
  merge_tree(step->sums, step->n_sums, &slices, 0, n_rows, backward_slice, add_sums);
  if (step->ops->finish)
    step->ops->finish(step->gradients, &step->config, step->parameters, step->form, step->sums);
}

int step_parameter_of(const struct step *step, int i) {
  int parameter = step->ops->n_parameters - 1;
  while (mq_quantizer_parameter_offset(step->ops, &step->config, parameter) > (size_t)i)
    parameter--;
  return parameter;
}

struct mq_quantizer_config quantizer_config(const struct mq_scheme *scheme, bool is_weight, int64_t n_rows,
                                            int64_t row_count) {
  bool is_per_channel = is_weight && scheme->is_per_channel;
  return (struct mq_quantizer_config){
      .scheme = *scheme,
      .is_weight = is_weight,
      .n_channels = is_per_channel ? n_rows : 1,
      .n_rows = n_rows,
      .n_elements = (double)(is_per_channel ? row_count : n_rows * row_count),
      .option = (double)NAN,
  };
}

void check_on_grid(const struct step *step, const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_shape shape = {.rank = 2, .dim = {n_rows, row_count}};
  float *plain = zeros((size_t)(n_rows * row_count), sizeof(float));
  struct mq_tensor to = mq_tensor_view(plain, MQ_F32, &shape, NULL);
  const struct mq_tensor from = mq_tensor_view((float *)(uintptr_t)x, MQ_F32, &shape, NULL);
  mq_fake_quantize(&to, &from, &step->grid);
  assert_memory_equal(plain, step->y, (size_t)(n_rows * row_count) * sizeof(float));
  for (int64_t i = 0; step->has_grid && i < n_rows * row_count; i++) {
    int64_t c = step->config.n_channels > 1 ? i / row_count : 0;
    int32_t code = step->grid.quant_min >= 0 ? step->codes[i] : (int8_t)step->codes[i];
    assert_in_range(code - step->grid.quant_min, 0, step->grid.quant_max - step->grid.quant_min);
    assert_true(step->grid.scale[c] * (float)(code - step->grid.zero_point[c]) == step->y[i]);
  }
  mq_free(plain);
}
