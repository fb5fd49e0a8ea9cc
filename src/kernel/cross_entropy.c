#include <assert.h>
#include <string.h>

#include "kernel/simd/softmax.h"

/* NaN is never correct. */
static bool is_first_largest(const float *x, int64_t label, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!(i < label ? x[i] < x[label] : x[i] <= x[label])) return false;
  return true;
}

void mq_cross_entropy_rows(double *loss, float *dx, bool *is_correct, const float *x, const int64_t *labels,
                           int64_t n_rows, int64_t n_classes, double smoothing, double weight) {
  const struct mq_simd_softmax *table = mq_simd_softmax_at(mq_simd_level_used());
  const double off = smoothing / (double)n_classes;
  const struct mq_simd_entropy entropy = {.n_classes = n_classes,
                                          .smoothing = smoothing,
                                          .on_target = (1.0 - smoothing) + off,
                                          .off_target = off,
                                          .weight = weight};
  for (int64_t r = 0; r < n_rows; r++, x += n_classes) {
    float *row = dx == NULL ? NULL : dx + r * n_classes;
    const bool is_counted = labels[r] >= 0;
    assert(labels[r] < n_classes);
    /* Before the gradient, which may take the logits' place. */
    if (is_correct != NULL) is_correct[r] = is_counted && is_first_largest(x, labels[r], n_classes);
    double value = 0.0;
    if (!is_counted && row != NULL) memset(row, 0, (size_t)n_classes * sizeof *row);
    if (is_counted && (row != NULL || loss != NULL))
      value = table->cross_entropy(row, x, labels[r], &entropy);
    if (loss != NULL) loss[r] = value;
  }
}
