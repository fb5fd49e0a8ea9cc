/* Forward and gradients of lsq, lsq_plus, pact, dorefa, tqt and minmax against autograd's numbers
 * (golden/make_uniform.py). */
#include <inttypes.h>
#include <math.h>

#include "common.h"
#include "help_quantizer.h"

#define MAX_VALUES 256

struct golden {
  char method[32];
  struct mq_quantizer_config config;
  int64_t n_rows, row_count;
  int n_parameters;
  float parameters[MAX_VALUES], x[MAX_VALUES], g[MAX_VALUES], y[MAX_VALUES], dx[MAX_VALUES];
  double gradients[MAX_VALUES];
};

static void read_floats(FILE *file, float *values, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    assert_int_equal(fscanf(file, "%f", &values[i]), 1);
}

static bool read_case(FILE *file, struct golden *golden) {
  int bits, is_signed, is_narrow, is_symmetric, is_per_channel, is_pot, is_weight, is_non_negative,
      is_published;
  double option, n_elements;
  int n = fscanf(file, " case %31s %d %d %d %d %d %d %d %d %d %lf %lf %" SCNd64 " %" SCNd64 " %d",
                 golden->method, &bits, &is_signed, &is_narrow, &is_symmetric, &is_per_channel, &is_pot,
                 &is_weight, &is_non_negative, &is_published, &option, &n_elements, &golden->n_rows,
                 &golden->row_count, &golden->n_parameters);
  if (n == EOF) return false;
  assert_int_equal(n, 15);
  int64_t count = golden->n_rows * golden->row_count;
  assert_true(count <= MAX_VALUES && golden->n_parameters <= MAX_VALUES);
  golden->config =
      (struct mq_quantizer_config){.scheme = {.bits = (uint8_t)bits,
                                              .is_signed = is_signed,
                                              .is_narrow = is_narrow,
                                              .is_symmetric = is_symmetric,
                                              .is_per_channel = is_per_channel,
                                              .scale_form = is_pot ? MQ_SCALE_POT : MQ_SCALE_FLOAT},
                                   .is_weight = is_weight,
                                   .is_non_negative = is_non_negative,
                                   .is_published = is_published,
                                   .n_channels = is_per_channel ? golden->n_rows : 1,
                                   .n_rows = golden->n_rows,
                                   .n_elements = n_elements,
                                   .option = option == 0 ? (double)NAN : option};
  read_floats(file, golden->parameters, golden->n_parameters);
  read_floats(file, golden->x, count);
  read_floats(file, golden->g, count);
  read_floats(file, golden->y, count);
  read_floats(file, golden->dx, count);
  for (int i = 0; i < golden->n_parameters; i++)
    assert_int_equal(fscanf(file, "%lf", &golden->gradients[i]), 1);
  return true;
}

static void near(double got, double want, double relative, double absolute, const struct golden *golden,
                 const char *what, int64_t i) {
  if (fabs(got - want) > relative * fabs(want) + absolute) {
    char scheme[96];
    fail_msg("%s %s%s %s: %s[%d] is %.9g, expected %.9g", golden->method,
             mq_scheme_format(scheme, sizeof scheme, &golden->config.scheme),
             golden->config.is_weight ? " weights" : " activations",
             golden->config.is_published ? "published" : "", what, (int)i, got, want);
  }
}

/* Exact where the arithmetic is: a product of a scale and an integer, a gradient that passes or not. */
static void check_case(const struct golden *golden) {
  const struct mq_quantizer_ops *ops = mq_quantizer_find(golden->method);
  assert_non_null(ops);
  struct step step;
  step_init(&step, ops, &golden->config);
  assert_int_equal(step.n_parameters, golden->n_parameters);
  memcpy(step.parameters, golden->parameters, step.n_parameters * sizeof(float));
  step_train(&step, golden->x, golden->g, golden->n_rows, golden->row_count);
  bool is_dorefa_weight = strcmp(golden->method, "dorefa") == 0 && golden->config.is_weight;
  bool is_scale_given = strcmp(golden->method, "lsq") == 0 || strcmp(golden->method, "tqt") == 0;
  double of_y = is_scale_given ? 0 : 1e-6;
  for (int64_t i = 0; i < golden->n_rows * golden->row_count; i++) {
    near((double)step.y[i], (double)golden->y[i], of_y, of_y, golden, "y", i);
    near((double)step.dx[i], (double)golden->dx[i], is_dorefa_weight ? 2e-5 : 1e-6,
         is_dorefa_weight ? 1e-6 : 0, golden, "dx", i);
  }
  for (int i = 0; i < golden->n_parameters; i++)
    if (!ops->parameters[step_parameter_of(&step, i)].is_state)
      near((double)step.gradients[i], golden->gradients[i], 1e-5, 1e-6, golden, "gradient", i);
  step_deinit(&step);
}

static void agree_with_autograd(void **state) {
  (void)state;
  FILE *file = fopen(MQ_TESTS_DIRECTORY "/quant/golden/uniform.txt", "r");
  assert_non_null(file);
  struct golden golden;
  int n = 0;
  for (; read_case(file, &golden); n++)
    check_case(&golden);
  fclose(file);
  assert_true(n > 80);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(agree_with_autograd)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
