/* What is drawn for a random view: torchvision's distributions from our own generator. */
#include "data/augment.h"

#include <math.h>

#include "data/dataset.h"
#include "mqbench/kernel.h"

#define SMALL_SIDE 64
#define SMALL_PAD 4
#define LEAST_SIDE 8
#define MAX_PAD 65535
#define TRIES 10

static const double default_area[2] = {0.08, 1}, default_ratio[2] = {3.0 / 4, 4.0 / 3};

struct mq_augment mq_augment_default(const struct mq_dataset *dataset) {
  const int64_t *dim = dataset->info.image.dim;
  const int64_t less = dim[1] < dim[2] ? dim[1] : dim[2], more = dim[1] < dim[2] ? dim[2] : dim[1];
  const bool is_float = dataset->source.ops->floats != NULL, is_small = more >= 0 && more <= SMALL_SIDE;
  if (is_float && less < LEAST_SIDE) {
    return (struct mq_augment){0}; /* not pictures, perhaps */
  }
  if (is_small || is_float) {
    return (struct mq_augment){.flips = true, .pad = is_small ? SMALL_PAD : 0};
  }
  return (struct mq_augment){
      .flips = true, .resized_crop = true, .brightness = 0.2, .contrast = 0.2, .saturation = 0.2, .hue = 0.1};
}

static bool is_default(const double range[2]) {
  return range[0] == 0 && range[1] == 0;
}

static mq_status check_range(const char *name, const double range[2], double most, struct mq_err *err) {
  if (is_default(range) || (range[0] > 0 && range[0] <= range[1] && range[1] <= most)) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_USAGE, "augmentation: %s from %g to %g, expected above 0 to %g, in order", name,
                 range[0], range[1], most);
}

static mq_status check_amount(const char *name, double amount, double most, struct mq_err *err) {
  if (amount >= 0 && amount <= most) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_USAGE, "augmentation: %s %g, expected 0 to %g", name, amount, most);
}

mq_status mq_augment_check(const struct mq_augment *a, bool is_float, struct mq_err *err) {
  const struct {
    const char *name;
    double amount, most;
  } amounts[] = {{"pad", (double)a->pad, MAX_PAD},
                 {"brightness", a->brightness, 100},
                 {"contrast", a->contrast, 100},
                 {"saturation", a->saturation, 100},
                 {"hue", a->hue, 0.5}};
  mq_status status = MQ_OK;
  for (size_t i = 0; i < sizeof amounts / sizeof amounts[0] && status == MQ_OK; i++) {
    status = check_amount(amounts[i].name, amounts[i].amount, amounts[i].most, err);
  }
  if (status == MQ_OK) {
    status = check_range("area", a->area, 1, err);
  }
  if (status == MQ_OK) {
    status = check_range("ratio", a->ratio, 1000, err);
  }
  if (status == MQ_OK && a->pad && a->resized_crop) {
    status = mq_fail(err, MQ_BAD_USAGE, "augmentation: both pad %lld and resized_crop, expected one of them",
                     (long long)a->pad);
  }
  const bool has_colours = a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->hue > 0;
  if (status == MQ_OK && is_float && (a->resized_crop || has_colours)) {
    status = mq_fail(err, MQ_BAD_USAGE, "augmentation: %s of float32 images, expected 8-bit ones",
                     a->resized_crop ? "resized_crop" : "colours");
  }
  return status;
}

static double uniform(struct mq_rng *rng, double from, double to) {
  return from + (to - from) * mq_rng_double(rng);
}

static int64_t below(struct mq_rng *rng, int64_t n) {
  return mq_rng_below(rng, (uint32_t)n);
}

/* No try fitted: the largest rectangle in the middle whose aspect lies within the range. */
static void draw_centre(struct mq_augment_draw *draw, const double ratio[2], const int64_t from[2]) {
  const double height = (double)from[0], width = (double)from[1], aspect = width / height;
  draw->height = from[0];
  draw->width = from[1];
  if (aspect < ratio[0]) {
    draw->height = (int64_t)rint(width / ratio[0]);
  } else if (aspect > ratio[1]) {
    draw->width = (int64_t)rint(height * ratio[1]);
  }
  draw->height = draw->height < 1 ? 1 : draw->height;
  draw->width = draw->width < 1 ? 1 : draw->width;
  draw->top = (from[0] - draw->height) / 2;
  draw->left = (from[1] - draw->width) / 2;
}

/* RandomResizedCrop: the area uniform, the aspect's logarithm uniform, the place uniform. */
static void draw_resized(struct mq_augment_draw *draw, const struct mq_augment *augment,
                         const int64_t from[2], struct mq_rng *rng) {
  const double *area = is_default(augment->area) ? default_area : augment->area;
  const double *ratio = is_default(augment->ratio) ? default_ratio : augment->ratio;
  const double log_ratio[2] = {mq_log(ratio[0]), mq_log(ratio[1])};
  for (int try = 0; try < TRIES; try++) {
    const double target = (double)(from[0] * from[1]) * uniform(rng, area[0], area[1]);
    const double aspect = mq_exp(uniform(rng, log_ratio[0], log_ratio[1]));
    const int64_t width = (int64_t)rint(sqrt(target * aspect)), height = (int64_t)rint(sqrt(target / aspect));
    if (width >= 1 && width <= from[1] && height >= 1 && height <= from[0]) {
      draw->height = height;
      draw->width = width;
      draw->top = below(rng, from[0] - height + 1);
      draw->left = below(rng, from[1] - width + 1);
      return;
    }
  }
  draw_centre(draw, ratio, from);
}

/* ColorJitter: the order is a permutation of the operations that do something. */
static void draw_colours(struct mq_augment_draw *draw, const struct mq_augment *augment, struct mq_rng *rng) {
  const double amounts[MQ_COLOUR_COUNT] = {[MQ_COLOUR_BRIGHTNESS] = augment->brightness,
                                           [MQ_COLOUR_CONTRAST] = augment->contrast,
                                           [MQ_COLOUR_SATURATION] = augment->saturation,
                                           [MQ_COLOUR_HUE] = augment->hue};
  for (int op = 0; op < MQ_COLOUR_COUNT; op++) {
    const double amount = amounts[op], middle = op == MQ_COLOUR_HUE ? 0 : 1;
    draw->factor[op] = middle;
    if (amount > 0) {
      const double least = op != MQ_COLOUR_HUE && amount > 1 ? 0 : middle - amount;
      draw->factor[op] = uniform(rng, least, middle + amount);
      draw->order[draw->n_ops++] = (mq_colour_op)op;
    }
  }
  for (int i = draw->n_ops - 1; i > 0; i--) {
    const int other = (int)below(rng, i + 1);
    const mq_colour_op op = draw->order[i];
    draw->order[i] = draw->order[other];
    draw->order[other] = op;
  }
}

void mq_augment_draw(struct mq_augment_draw *draw, const struct mq_augment *augment, const int64_t from[2],
                     const int64_t to[2], uint64_t seed, uint64_t epoch, int64_t index) {
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_AUGMENT, epoch, (uint64_t)index);
  *draw = (struct mq_augment_draw){.height = to[0], .width = to[1]};
  if (augment->resized_crop) {
    draw_resized(draw, augment, from, &rng);
  } else if (augment->pad > 0) {
    draw->top = below(&rng, from[0] + 2 * augment->pad - to[0] + 1) - augment->pad;
    draw->left = below(&rng, from[1] + 2 * augment->pad - to[1] + 1) - augment->pad;
  }
  draw->is_flipped = augment->flips && mq_rng_u32(&rng) >> 31;
  draw_colours(draw, augment, &rng);
}
