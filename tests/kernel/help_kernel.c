#include "kernel/help_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/isa.h"

int help_run_capped(mq_isa cap, int (*run_group)(void)) {
  if (cap != MQ_ISA_NATIVE && cap > mq_isa_detect()) return 0;
  const pid_t child = fork();
  int how = 0;
  if (child == 0) {
    struct mq_err err = {0};
    if (mq_kernel_start(cap, &err) != MQ_OK) {
      print_error("%s\n", err.message);
      exit(1);
    }
    print_message("instruction set: %s\n", mq_isa_name(mq_kernel_isa()));
    exit(run_group() != 0);
  }
  if (child < 0 || waitpid(child, &how, 0) != child) return 1;
  return how != 0;
}

int help_run_levels(int (*run_group)(void)) {
  const mq_isa best = mq_isa_detect();
  int n_failures = help_run_capped(MQ_ISA_BASE, run_group);
  if (best > MQ_ISA_AVX2) n_failures += help_run_capped(MQ_ISA_AVX2, run_group);
  if (best > MQ_ISA_BASE) n_failures += help_run_capped(MQ_ISA_NATIVE, run_group);
  return n_failures;
}

float *help_random(int64_t n, uint64_t seed) {
  struct mq_rng rng;
  float *data = mq_alloc((size_t)n, sizeof *data);
  assert_non_null(data);
  mq_rng_init(&rng, seed, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < n; i++)
    data[i] = 2.0f * mq_rng_float(&rng) - 1.0f;
  return data;
}

void help_assert_same(const float *a, const float *b, int64_t n, const char *what) {
  for (int64_t i = 0; i < n; i++) {
    if (isnan(a[i]) && isnan(b[i])) continue;
    if (memcmp(&a[i], &b[i], sizeof *a) != 0)
      fail_msg("%s: element %lld is %a, expected %a", what, (long long)i, (double)a[i], (double)b[i]);
  }
}

void help_assert_near(const float *a, const float *b, int64_t n, double tolerance, const char *what) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
      fail_msg("%s: element %lld is %.9g, expected %.9g +- %g", what, (long long)i, (double)a[i],
               (double)b[i], tolerance);
}

struct mq_tensor help_tensor(int rank, const int64_t *dim, uint64_t seed) {
  struct mq_tensor tensor = {0};
  struct mq_shape shape = {.rank = rank};
  struct mq_err err = {0};
  for (int i = 0; i < rank; i++)
    shape.dim[i] = dim[i];
  assert_int_equal(mq_tensor_init(&tensor, MQ_F32, &shape, &err), MQ_OK);
  float *values = help_random(mq_shape_count(&shape), seed);
  memcpy(tensor.data, values, (size_t)mq_shape_count(&shape) * sizeof *values);
  mq_free(values);
  return tensor;
}
