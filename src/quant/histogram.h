/* The one-pass histogram of activations: bins of a power-of-two width anchored at 0, negative values apart,
 * zeros apart. When a larger value comes, the width doubles and pairs of bins are joined: the counts are then
 * exactly those that the wider bins would have counted, so a histogram depends on the data alone, not on
 * order, slices or merges. (A count stops at 2^32 - 1, which does not depend on order either.) Largest |x|
 * takes more than half of the bins. */
#ifndef MQ_QUANT_HISTOGRAM_H
#define MQ_QUANT_HISTOGRAM_H

#include "kernel/observe.h"
#include "mqbench/quant.h"

#define MQ_HISTOGRAM_BINS MQ_TALLY_BINS

struct mq_histogram {
  int32_t exponent;   /* bins are 2^exponent wide */
  int32_t has_values; /* beside zeros */
  uint64_t n_zero;
  /* positive[k]: x in [k w, (k+1) w), x > 0; negative[k]: -x in [k w, (k+1) w), x < 0 */
  uint32_t positive[MQ_HISTOGRAM_BINS], negative[MQ_HISTOGRAM_BINS];
};

/* The memory is zeroed before. */
void mq_histogram_init(struct mq_histogram *histogram);
/* Widens the bins until values up to `magnitude` (finite, >= 0) fit. */
void mq_histogram_cover(struct mq_histogram *histogram, float magnitude);
/* Counts n_rows rows of row_count values, widening as they need it, and joins their extrema with those of all
 * data so far (inf, -inf before the first). A value that is not finite takes with it what is left of its
 * piece from its block on; returns how many pieces lost something. */
int64_t mq_histogram_add(struct mq_histogram *histogram, float *min, float *max, const float *rows,
                         int64_t n_rows, int64_t row_count, int64_t row_stride);
/* min and max are those of `from`'s data (its other bins are empty). */
void mq_histogram_merge(struct mq_histogram *into, const struct mq_histogram *from, float min, float max);
/* How many bins may hold something when all data lie within +-magnitude. */
int64_t mq_histogram_used(const struct mq_histogram *histogram, float magnitude);

#endif
