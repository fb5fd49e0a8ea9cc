/* Tables that mq_quantizer_load refuses, one for each DEFECT. */
#include "mqbench/quant.h"

#define NO_SYMBOL 1
#define OTHER_VERSION 2
#define OTHER_SIZE 3
#define INCOMPLETE 4
#define TAKEN_NAME 5
#define UNKNOWN_PARTNER 6

#if DEFECT == NO_SYMBOL
#include <stdio.h>
#include <stdlib.h>

/* Loading alone runs code: this leaves a file where the test asks for it. */
__attribute__((constructor)) static void leave_mark(void) {
  const char *path = getenv("MQ_TEST_MARK");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (file) fclose(file);
}
#endif

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  (void)config, (void)what, (void)err;
  return MQ_OK;
}
static size_t form_count(const struct mq_quantizer_config *config) {
  (void)config;
  return 0;
}
static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)parameters, (void)config, (void)observed, (void)rows, (void)n_rows, (void)row_count, (void)err;
  return MQ_OK;
}
static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  (void)form, (void)config, (void)parameters, (void)statistics, (void)least_scale;
}
static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  (void)y, (void)codes, (void)config, (void)form, (void)x, (void)n_rows, (void)row_count;
}
static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  (void)dx, (void)adds, (void)sums, (void)config, (void)form, (void)g, (void)x, (void)n_rows, (void)row_count;
}
static bool grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  (void)out, (void)config, (void)form;
  return false;
}

#if DEFECT == NO_SYMBOL
#define TABLE mq_plugin_quantiser
#else
#define TABLE mq_plugin_quantizer
#endif

extern const struct mq_quantizer_ops TABLE;
const struct mq_quantizer_ops TABLE = {
    .version = MQ_QUANTIZER_VERSION + (DEFECT == OTHER_VERSION),
    .bytes = sizeof(struct mq_quantizer_ops) - (DEFECT == OTHER_SIZE ? 8 : 0),
    .name = DEFECT == TAKEN_NAME ? "lsq" : "defective",
    .describes = "refused",
    .is_for_activations = true,
    .w_quantizer = DEFECT == UNKNOWN_PARTNER ? "nowhere" : "lsq",
    .a_observer = "minmax",
    .check = check,
    .form_count = form_count,
    .init = init,
    .derive = derive,
    .forward = forward,
    .backward = DEFECT == INCOMPLETE ? 0 : backward,
    .grid = grid,
};
