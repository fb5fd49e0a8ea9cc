#include "help_train.h"

#include <math.h>

#include "common.h"
#include "help_quant.h"

void check_near(double got, double want, double tolerance, const char *what, int64_t at) {
  if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
    fail_msg("%s[%lld] is %.9g, expected %.9g", what, (long long)at, got, want);
}

double numeric_slope(float *at, float step, train_loss_fn loss, const void *context) {
  const float was = *at, above = was + step, below = was - step;
  *at = above;
  double high = loss(context);
  *at = below;
  double low = loss(context);
  *at = was;
  return (high - low) / ((double)above - (double)below);
}

/* ---- One step ---- */

static void *take(size_t n, size_t bytes) {
  void *memory = mq_alloc(n > 0 ? n : 1, bytes);
  assert_non_null(memory);
  return memory;
}

static size_t statistics_count(const struct train *train) {
  return train->ops->statistics_count ? train->ops->statistics_count(&train->config) : 0;
}

static size_t sum_count(const struct train *train) {
  return train->ops->sum_count ? train->ops->sum_count(&train->config) : 0;
}

struct train train_begin(const char *method, const struct mq_quantizer_config *config, int64_t n_rows,
                         int64_t row_count, int64_t rows_per_slice) {
  struct train train = {.ops = mq_quantizer_find(method),
                        .config = *config,
                        .n_rows = n_rows,
                        .row_count = row_count,
                        .rows_per_slice = config->is_weight ? n_rows : rows_per_slice};
  struct mq_err err;
  assert_non_null(train.ops);
  if (train.config.n_rows == 0) train.config.n_rows = n_rows;
  if (train.config.n_elements == 0)
    train.config.n_elements = (double)(n_rows * row_count / train.config.n_channels);
  assert_ok(train.ops->check(&train.config, "tensor", &err));
  train.n_parameters = mq_quantizer_parameter_total(train.ops, &train.config);
  train.parameters = take(train.n_parameters, sizeof *train.parameters);
  train.form = take(train.ops->form_count(&train.config), sizeof *train.form);
  train.statistics = take(statistics_count(&train), sizeof *train.statistics);
  train.sums = take(sum_count(&train), sizeof *train.sums);
  return train;
}

void train_end(struct train *train) {
  mq_free(train->parameters);
  mq_free(train->form);
  mq_free(train->statistics);
  mq_free(train->sums);
  *train = (struct train){0};
}

struct mq_quantizer_config train_config(int bits, bool is_signed, bool is_weight) {
  return (struct mq_quantizer_config){
      .scheme = {.bits = (uint8_t)bits, .is_signed = is_signed, .is_symmetric = true},
      .is_weight = is_weight,
      .is_non_negative = !is_signed && !is_weight,
      .is_own_observer = true,
      .n_channels = 1,
      .option = (double)NAN};
}

static void observe_own(struct mq_qparams *out, const struct train *train, const float *x) {
  struct mq_err err;
  const char *name = train->config.is_weight ? train->ops->w_observer : train->ops->a_observer;
  struct mq_observer_config config = train->config.is_weight
                                         ? weight_config(&train->config.scheme, train->config.n_channels)
                                         : activation_config(&train->config.scheme);
  const struct mq_observer_ops *observer = mq_observer_find(name);
  assert_non_null(observer);
  assert_ok(mq_qparams_init(out, train->config.n_channels, -1, &err));
  if (train->config.is_weight) {
    int64_t n = train->n_rows * train->row_count / train->config.n_channels;
    assert_ok(mq_observe_weights(out, observer, &config, x, n, NULL, &err));
  } else {
    struct feed feed = {observer,     config, x, train->n_rows, train->row_count, train->rows_per_slice,
                        train->n_rows};
    assert_ok(feed_and_answer(out, &feed, &err));
  }
}

void train_init(struct train *train, const float *x) {
  struct mq_err err;
  struct mq_qparams observed;
  observe_own(&observed, train, x);
  assert_ok(train->ops->init(train->parameters, &train->config, &observed, train->config.is_weight ? x : NULL,
                             train->n_rows, train->row_count, &err));
  mq_qparams_deinit(&observed);
}

/* Of rows [first, first + n). */
typedef void (*slice_fn)(double *into, const struct train *train, int64_t first, int64_t n, void *context);
typedef void (*merge_fn)(double *into, const double *from, const struct train *train);

static void reduce_tree(double *into, const struct train *train, size_t count, int64_t first, int64_t n,
                        slice_fn slice, merge_fn merge, void *context) {
  if (n <= train->rows_per_slice) {
    slice(into, train, first, n, context);
    return;
  }
  int64_t left = train->rows_per_slice;
  while (left * 2 < n)
    left *= 2;
  double *right = take(count, sizeof *right);
  reduce_tree(into, train, count, first, left, slice, merge, context);
  reduce_tree(right, train, count, first + left, n - left, slice, merge, context);
  merge(into, right, train);
  mq_free(right);
}

static void observe_slice(double *into, const struct train *train, int64_t first, int64_t n, void *context) {
  const float *x = *(const float **)context;
  train->ops->observe(into, &train->config, x + first * train->row_count, n, train->row_count);
}

static void merge_statistics(double *into, const double *from, const struct train *train) {
  train->ops->merge(into, from, &train->config);
}

void train_derive(struct train *train, const float *x, bool is_training) {
  size_t count = statistics_count(train);
  bool looks = is_training || (train->config.is_weight && !train->ops->freezes_weights);
  memset(train->statistics, 0, count * sizeof *train->statistics);
  if (looks && count > 0)
    reduce_tree(train->statistics, train, count, 0, train->n_rows, observe_slice, merge_statistics,
                (void *)&x);
  train->ops->derive(train->form, &train->config, train->parameters, looks ? train->statistics : NULL, NULL);
}

void train_forward(float *y, const struct train *train, const float *x) {
  for (int64_t first = 0; first < train->n_rows; first += train->rows_per_slice) {
    int64_t left = train->n_rows - first, at = first * train->row_count;
    train->ops->forward(y + at, NULL, &train->config, train->form, x + at,
                        left < train->rows_per_slice ? left : train->rows_per_slice, train->row_count);
  }
}

struct backward_data {
  float *dx;
  const float *g, *x;
  bool adds;
};

static void backward_slice(double *into, const struct train *train, int64_t first, int64_t n, void *context) {
  const struct backward_data *data = context;
  int64_t at = first * train->row_count;
  train->ops->backward(data->dx + at, data->adds, into, &train->config, train->form, data->g + at,
                       data->x + at, n, train->row_count);
}

static void merge_sums(double *into, const double *from, const struct train *train) {
  for (size_t i = 0; i < sum_count(train); i++)
    into[i] += from[i];
}

static void run_backward(struct train *train, struct backward_data *data) {
  memset(train->sums, 0, sum_count(train) * sizeof *train->sums);
  reduce_tree(train->sums, train, sum_count(train), 0, train->n_rows, backward_slice, merge_sums, data);
}

void train_backward(float *dx, struct train *train, const float *g, const float *x) {
  run_backward(train, &(struct backward_data){.dx = dx, .g = g, .x = x});
}

void train_finish(float *gradients, struct train *train) {
  for (size_t i = 0; i < train->n_parameters; i++)
    gradients[i] = NAN;
  if (train->ops->finish)
    train->ops->finish(gradients, &train->config, train->parameters, train->form, train->sums);
}

void train_update(struct train *train) {
  if (train->ops->update)
    train->ops->update(train->parameters, &train->config, train->form, train->statistics, train->sums);
}

/* ---- Golden files ---- */

enum {
  MAX_ARRAYS = 16
};
struct golden {
  char name[64];
  struct {
    char key[32];
    int64_t n;
    double *values;
  } array[MAX_ARRAYS];
  int n_arrays;
};

static void golden_free(struct golden *golden) {
  for (int i = 0; i < golden->n_arrays; i++)
    test_free(golden->array[i].values);
  golden->n_arrays = 0;
}

/* `key` was read. */
static void read_array(struct golden *golden, const char *key, FILE *file) {
  long long n = 0;
  assert_true(golden->n_arrays < MAX_ARRAYS && fscanf(file, "%lld", &n) == 1 && n > 0);
  snprintf(golden->array[golden->n_arrays].key, 32, "%s", key);
  golden->array[golden->n_arrays].n = n;
  double *values = test_malloc((size_t)n * sizeof *values);
  for (long long i = 0; i < n; i++)
    assert_int_equal(fscanf(file, "%lf", &values[i]), 1);
  golden->array[golden->n_arrays++].values = values;
}

/* *has_next: the word "case" was read. */
static bool read_case(struct golden *golden, bool *has_next, FILE *file) {
  char key[32];
  if (!*has_next && fscanf(file, "%31s", key) != 1) return false;
  *has_next = false;
  assert_int_equal(fscanf(file, "%63s", golden->name), 1);
  while (!*has_next && fscanf(file, "%31s", key) == 1) {
    *has_next = strcmp(key, "case") == 0;
    if (!*has_next) read_array(golden, key, file);
  }
  return true;
}

static const double *find_array(const struct golden *golden, const char *key, int64_t n) {
  for (int i = 0; i < golden->n_arrays; i++)
    if (strcmp(golden->array[i].key, key) == 0) {
      assert_int_equal(golden->array[i].n, n);
      return golden->array[i].values;
    }
  return NULL;
}

static float *get_floats(const struct golden *golden, const char *key, int64_t n) {
  const double *values = find_array(golden, key, n);
  assert_non_null(values);
  float *floats = test_malloc((size_t)n * sizeof *floats);
  for (int64_t i = 0; i < n; i++)
    floats[i] = (float)values[i];
  return floats;
}

static struct train begin_case(const struct golden *golden, const char *method) {
  const double *c = find_array(golden, "config", 13), *option = find_array(golden, "option", 1);
  assert_true(c && option);
  struct mq_quantizer_config config = {.scheme = {.bits = (uint8_t)c[0],
                                                  .is_signed = c[1] != 0,
                                                  .is_narrow = c[2] != 0,
                                                  .is_symmetric = c[3] != 0,
                                                  .is_per_channel = c[8] > 1,
                                                  .scale_form = c[4] != 0 ? MQ_SCALE_POT : MQ_SCALE_FLOAT},
                                       .is_weight = c[5] != 0,
                                       .is_non_negative = c[6] != 0,
                                       .is_published = c[7] != 0,
                                       .n_channels = (int64_t)c[8],
                                       .n_elements = c[12],
                                       .option = option[0]};
  struct train train = train_begin(method, &config, (int64_t)c[9], (int64_t)c[10], (int64_t)c[11]);
  const double *parameters = find_array(golden, "parameters", (int64_t)train.n_parameters);
  for (size_t i = 0; i < train.n_parameters; i++)
    train.parameters[i] = (float)parameters[i];
  if (train.ops->project) train.ops->project(train.parameters, &train.config);
  return train;
}

static void check_values(const float *got, const struct golden *golden, const char *key, int64_t n,
                         double tolerance) {
  const double *want = find_array(golden, key, n);
  if (!want) return;
  char what[128];
  double largest = 0;
  snprintf(what, sizeof what, "%s: %s", golden->name, key);
  for (int64_t i = 0; i < n; i++)
    largest = fmax(largest, fabs(want[i]));
  for (int64_t i = 0; i < n; i++)
    check_near((double)got[i] / largest, want[i] / largest, tolerance, what, i);
}

static void check_case(const struct golden *golden, const char *method, double tolerance) {
  struct train train = begin_case(golden, method);
  int64_t n = train.n_rows * train.row_count, n_parameters = (int64_t)train.n_parameters;
  float *x = get_floats(golden, "x", n), *g = get_floats(golden, "g", n);
  float *other = get_floats(golden, "other", n), *y = test_malloc((size_t)n * sizeof *y);
  float *gradients = test_malloc(train.n_parameters * sizeof *gradients);
  train_derive(&train, x, true);
  train_forward(y, &train, x);
  check_values(y, golden, "y", n, tolerance);
  train_backward(g, &train, g, x);
  check_values(g, golden, "dx", n, tolerance);
  train_finish(gradients, &train);
  check_values(gradients, golden, "gradients", n_parameters, tolerance);
  train_update(&train);
  check_values(train.parameters, golden, "updated", n_parameters, tolerance);
  train_derive(&train, other, false);
  train_forward(y, &train, other);
  check_values(y, golden, "y_other", n, tolerance);
  float *const all[] = {x, g, other, y, gradients};
  for (int i = 0; i < 5; i++)
    test_free(all[i]);
  train_end(&train);
}

void check_golden(const char *method, double tolerance) {
  char path[512];
  snprintf(path, sizeof path, "%s/quant/golden/%s.txt", MQ_TESTS_DIRECTORY, method);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  struct golden golden = {.n_arrays = 0};
  bool has_next = false;
  int n_cases = 0;
  while (read_case(&golden, &has_next, file)) {
    check_case(&golden, method, tolerance);
    golden_free(&golden);
    n_cases++;
  }
  fclose(file);
  assert_true(n_cases >= 4);
}

/* ---- Contract ---- */

static bool is_same(const float *a, const float *b, int64_t n) {
  return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static void forward_once(float *y, void *codes, const struct train *train, const float *x) {
  train->ops->forward(y, codes, &train->config, train->form, x, train->n_rows, train->row_count);
}

/* Per channel: x^ = s (q - z), by the codes; and out of y's buffer. */
static void check_codes(const struct train *train, const float *x, const float *y) {
  struct mq_err err;
  struct mq_qparams grid;
  int64_t n = train->n_rows * train->row_count;
  assert_ok(mq_qparams_init(&grid, train->config.n_channels, -1, &err));
  assert_true(train->ops->grid(&grid, &train->config, train->form));
  assert_int_equal(grid.is_signed, grid.quant_min < 0);
  int8_t *codes = test_malloc((size_t)n), *alone = test_malloc((size_t)n);
  float *in_place = test_malloc((size_t)n * sizeof *in_place);
  memcpy(in_place, x, (size_t)n * sizeof *in_place);
  forward_once(in_place, codes, train, in_place);
  forward_once(NULL, alone, train, x);
  assert_memory_equal(codes, alone, (size_t)n);
  for (int64_t i = 0; i < n; i++) {
    int64_t c = train->config.n_channels > 1 ? i / train->row_count : 0;
    int q = grid.quant_min >= 0 ? (int)(uint8_t)codes[i] : (int)codes[i];
    assert_in_range(q + 256, grid.quant_min + 256, grid.quant_max + 256);
    assert_true(y[i] == grid.scale[c] * (float)(q - grid.zero_point[c]));
    assert_true(in_place[i] == y[i]);
  }
  test_free(codes);
  test_free(alone);
  test_free(in_place);
  mq_qparams_deinit(&grid);
}

static void check_frozen(const struct train *train, const float *x, const float *y, bool has_grid) {
  struct mq_err err;
  struct mq_qparams out;
  int64_t n = train->n_rows * train->row_count;
  float *frozen = test_malloc((size_t)n * sizeof *frozen), *again = test_malloc((size_t)n * sizeof *again);
  assert_ok(mq_qparams_init(&out, train->config.n_channels, train->config.n_channels > 1 ? 0 : -1, &err));
  memcpy(frozen, x, (size_t)n * sizeof *frozen);
  bool is_frozen = train->ops->freeze ? train->ops->freeze(frozen, &out, &train->config, train->form, x,
                                                           train->n_rows, train->row_count)
                                      : train->ops->grid(&out, &train->config, train->form);
  assert_int_equal(is_frozen, has_grid);
  struct mq_shape shape = {.rank = 2, .dim = {train->n_rows, train->row_count}};
  struct mq_tensor from = mq_tensor_view(frozen, MQ_F32, &shape, NULL);
  struct mq_tensor to = mq_tensor_view(again, MQ_F32, &shape, NULL);
  if (is_frozen) {
    mq_fake_quantize(&to, &from, &out);
    for (int64_t i = 0; i < n; i++)
      assert_true(again[i] == y[i]);
  }
  mq_qparams_deinit(&out);
  test_free(frozen);
  test_free(again);
}

/* dx = and += and in place of g; y in place of x. */
static void check_buffers(struct train *train, const float *x, const float *y) {
  int64_t n = train->n_rows * train->row_count;
  float *g = test_malloc((size_t)n * sizeof *g), *dx = test_malloc((size_t)n * sizeof *dx);
  float *added = test_malloc((size_t)n * sizeof *added);
  size_t sums_bytes = sum_count(train) * sizeof(double);
  double *sums = test_malloc(sums_bytes + 1);
  fill(g, n, GAUSSIAN, 71);
  train_backward(dx, train, g, x);
  memcpy(sums, train->sums, sums_bytes);
  for (int64_t i = 0; i < n; i++)
    added[i] = (float)(i % 7);
  run_backward(train, &(struct backward_data){.dx = added, .g = g, .x = x, .adds = true});
  assert_memory_equal(sums, train->sums, sums_bytes);
  for (int64_t i = 0; i < n; i++)
    assert_true(added[i] == (float)(i % 7) + dx[i]);
  train_backward(g, train, g, x);
  assert_true(is_same(g, dx, n));
  memcpy(g, x, (size_t)n * sizeof *g);
  train_forward(g, train, g);
  assert_true(is_same(g, y, n));
  test_free(g);
  test_free(dx);
  test_free(added);
  test_free(sums);
}

/* NaN stays NaN; infinities, NaN and huge values do no harm (the sanitizers look on). */
static void check_non_finite(struct train *train, const float *x, bool has_grid) {
  const float strange[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, -1e-42f, 0.0f, -0.0f};
  int64_t n = train->n_rows * train->row_count;
  float *values = test_malloc((size_t)n * sizeof *values), *y = test_malloc((size_t)n * sizeof *y);
  int8_t *codes = test_malloc((size_t)n);
  memcpy(values, x, (size_t)n * sizeof *values);
  memcpy(values, strange, sizeof strange);
  forward_once(y, has_grid ? codes : NULL, train, values);
  assert_true(isnan(y[0]));
  for (int i = 3; i < 9; i++)
    assert_true(!isnan(y[i]));
  train_backward(y, train, x, values);
  train_derive(train, values, true);
  forward_once(y, has_grid ? codes : NULL, train, values);
  train_derive(train, x, true);
  for (size_t i = 0; i < train->n_parameters; i++) {
    float was = train->parameters[i];
    train->parameters[i] = NAN;
    train_derive(train, x, false);
    forward_once(y, NULL, train, x);
    bool has_nan = false;
    for (int64_t k = 0; k < n; k++)
      has_nan = has_nan || isnan(y[k]);
    assert_true(has_nan);
    train->parameters[i] = was;
  }
  test_free(values);
  test_free(y);
  test_free(codes);
}

/* Sums and statistics of one slice, but for roundings; y is the same bits. */
static void check_slices(struct train *train, const float *x, const float *y) {
  if (train->config.is_weight) return;
  int64_t n = train->n_rows * train->row_count, was = train->rows_per_slice;
  float *g = test_malloc((size_t)n * sizeof *g), *dx = test_malloc((size_t)n * sizeof *dx);
  double *sums = test_malloc(sum_count(train) * sizeof *sums + 1);
  double *statistics = test_malloc(statistics_count(train) * sizeof *statistics + 1);
  fill(g, n, GAUSSIAN, 72);
  train->rows_per_slice = train->n_rows;
  train_derive(train, x, true);
  memcpy(statistics, train->statistics, statistics_count(train) * sizeof *statistics);
  train_backward(dx, train, g, x);
  memcpy(sums, train->sums, sum_count(train) * sizeof *sums);
  for (train->rows_per_slice = 1; train->rows_per_slice < train->n_rows; train->rows_per_slice++) {
    train_derive(train, x, true);
    for (size_t i = 0; i < statistics_count(train); i++)
      check_near(train->statistics[i], statistics[i], 1e-12, "statistics", (int64_t)i);
    train_forward(dx, train, x);
    assert_true(is_same(dx, y, n));
    train_backward(dx, train, g, x);
    for (size_t i = 0; i < sum_count(train); i++)
      check_near(train->sums[i], sums[i], 1e-9, "sums", (int64_t)i);
  }
  train->rows_per_slice = was;
  train_derive(train, x, true);
  test_free(g);
  test_free(dx);
  test_free(sums);
  test_free(statistics);
}

void check_contract(struct train *train, const float *x, bool has_grid) {
  int64_t n = train->n_rows * train->row_count;
  float *y = test_malloc((size_t)n * sizeof *y);
  train_derive(train, x, true);
  train_forward(y, train, x);
  struct mq_err err;
  struct mq_qparams grid;
  assert_ok(mq_qparams_init(&grid, train->config.n_channels, -1, &err));
  bool is_on_grid = train->ops->grid(&grid, &train->config, train->form);
  assert_int_equal(is_on_grid && grid.quant_max - grid.quant_min <= UINT8_MAX, has_grid);
  mq_qparams_deinit(&grid);
  if (has_grid) check_codes(train, x, y);
  if (train->config.is_weight) check_frozen(train, x, y, has_grid);
  check_buffers(train, x, y);
  check_slices(train, x, y);
  check_non_finite(train, x, has_grid);
  test_free(y);
}

void check_refuses(const char *method, const struct mq_quantizer_config *config, const char *part) {
  struct mq_err err;
  assert_fails(MQ_BAD_INPUT, part, mq_quantizer_find(method)->check(config, "layer.weight", &err));
  assert_int_equal(strncmp(err.message, "layer.weight: ", 14), 0);
}

void check_is_academic(const char *method, int bits) {
  struct mq_err err;
  const struct mq_quantizer_ops *ops = mq_quantizer_find(method);
  assert_true(ops->is_academic);
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    struct mq_quantizer_config config = train_config(bits, true, is_weight);
    assert_ok(ops->check(&config, "layer.weight", &err));
    config.scheme.is_symmetric = false;
    check_refuses(method, &config, " asymmetric");
    config = train_config(bits, true, is_weight);
    config.scheme.scale_form = MQ_SCALE_POT;
    check_refuses(method, &config, "power-of-two");
    config = train_config(bits, true, is_weight);
    config.scheme.is_per_channel = true;
    check_refuses(method, &config, "per-channel");
    config = train_config(bits, false, is_weight);
    if (is_weight)
      check_refuses(method, &config, "uint");
    else
      assert_ok(ops->check(&config, "layer.weight", &err));
    config = train_config(1, true, is_weight);
    check_refuses(method, &config, "bits");
  }
}
