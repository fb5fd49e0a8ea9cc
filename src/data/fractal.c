/* Iterated function systems: finding classes, drawing instances. */
#include "data/fractal.h"

#include <math.h>
#include <string.h>

#include "data/image.h"
#include "mqbench/kernel.h"

#define PI 3.14159265358979323846

/* A class is accepted when its attractor touches this part of a 32 x 32 grid over its bounding box. */
#define FILL_GRID 32
#define FILL_POINTS 4096
#define FILL_LEAST 0.2

/* How instances of a class differ, set so that a network of 8 layers does well but not perfectly. */
#define VARY_MAPS 0.11 /* every entry of every map, absolute */
#define VARY_ANGLE 0.7 /* rotation to either side, radians */
#define VARY_SCALE 0.4 /* side of the figure: 1 - this .. 1 of the image */
#define NOISE 0.12     /* per pixel and channel, of the full range, to either side */
#define CONTRAST_LEAST 0.25
#define POINTS_PER_PIXEL 3

/* Figures are drawn on a canvas of twice the side and averaged down. */
#define CANVAS_SCALE 2

/* The chaos game's own generator (a 64-bit linear congruential one, upper half used): one draw per point. */
static uint32_t step_u32(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 32);
}

static uint64_t rng_u64(struct mq_rng *rng) {
  const uint64_t high = mq_rng_u32(rng);
  return high << 32 | mq_rng_u32(rng);
}

static double uniform(struct mq_rng *rng, double least, double most) {
  return least + (most - least) * mq_rng_double(rng);
}

/* Probabilities in proportion to the area that each map keeps, but at least 1% of an equal share. */
static void set_probabilities(struct mq_fractal *fractal) {
  double area[MQ_FRACTAL_MAX_MAPS], sum = 0;
  for (int i = 0; i < fractal->n_maps; i++) {
    const double *m = fractal->maps[i].m, det = m[0] * m[3] - m[1] * m[2];
    area[i] = (det < 0 ? -det : det) + 0.01;
    sum += area[i];
  }
  double below = 0;
  for (int i = 0; i < fractal->n_maps; i++) {
    below += area[i] / sum;
    fractal->maps[i].below = i == fractal->n_maps - 1 ? UINT32_MAX : (uint32_t)(below * 4294967295.0);
  }
}

/* Rotation, stretch by s and t (t may mirror), rotation: contracting whatever the angles, so that the system
 * has an attractor. */
static void random_map(double m[6], struct mq_rng *rng) {
  const double a = uniform(rng, -PI, PI), b = uniform(rng, -PI, PI);
  const double s = uniform(rng, 0.3, 0.85), t = uniform(rng, 0.2, 1) * s;
  const double sign = mq_rng_u32(rng) & 1 ? 1 : -1, u = t * sign;
  const double ca = mq_cos(a), sa = mq_sin(a), cb = mq_cos(b), sb = mq_sin(b);
  m[0] = ca * s * cb - sa * u * sb;
  m[1] = -(ca * s * sb) - sa * u * cb;
  m[2] = sa * s * cb + ca * u * sb;
  m[3] = ca * u * cb - sa * s * sb;
  m[4] = uniform(rng, -1, 1);
  m[5] = uniform(rng, -1, 1);
}

struct point {
  double x, y;
};

/* The chaos game, and the box around its points. */
static void play(struct point *points, int64_t n, double box[4], const struct mq_fractal *fractal,
                 uint64_t state) {
  double x = 0, y = 0;
  box[0] = box[1] = 1e9;
  box[2] = box[3] = -1e9;
  for (int64_t i = -20; i < n; i++) {
    const uint32_t draw = step_u32(&state);
    const struct mq_fractal_map *map = fractal->maps;
    while (draw > map->below) {
      map++;
    }
    const double *m = map->m, next = m[0] * x + m[1] * y + m[4];
    y = m[2] * x + m[3] * y + m[5];
    x = next;
    if (i >= 0) {
      points[i] = (struct point){x, y};
      box[0] = x < box[0] ? x : box[0];
      box[1] = y < box[1] ? y : box[1];
      box[2] = x > box[2] ? x : box[2];
      box[3] = y > box[3] ? y : box[3];
    }
  }
}

static double filled_part(const struct mq_fractal *fractal, uint64_t state) {
  struct point points[FILL_POINTS];
  uint8_t is_filled[FILL_GRID * FILL_GRID] = {0};
  double box[4];
  play(points, FILL_POINTS, box, fractal, state);
  const double width = box[2] - box[0], height = box[3] - box[1], side = width > height ? width : height;
  if (!(side > 1e-3)) {
    return 0;
  }
  int n = 0;
  for (int i = 0; i < FILL_POINTS; i++) {
    const int column = (int)((points[i].x - box[0]) / side * (FILL_GRID - 0.001)),
              row = (int)((points[i].y - box[1]) / side * (FILL_GRID - 0.001));
    uint8_t *cell = &is_filled[row * FILL_GRID + column];
    n += !*cell;
    *cell = 1;
  }
  return (double)n / (FILL_GRID * FILL_GRID);
}

void mq_fractal_find(struct mq_fractal *fractal, uint64_t seed, int64_t class_index) {
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_FRACTAL, (uint64_t)class_index, UINT64_MAX);
  double part;
  do {
    memset(fractal, 0, sizeof *fractal);
    fractal->n_maps = 2 + (int)mq_rng_below(&rng, MQ_FRACTAL_MAX_MAPS - 1);
    for (int i = 0; i < fractal->n_maps; i++) {
      random_map(fractal->maps[i].m, &rng);
    }
    set_probabilities(fractal);
    part = filled_part(fractal, rng_u64(&rng));
  } while (part < FILL_LEAST);
}

/* ---- Instances ----------------------------------------------------------------------------------------- */

/* Shrinks a map that variation made stretch: its largest singular value becomes at most 0.9. */
static void keep_contracting(double m[6]) {
  const double sum = m[0] * m[0] + m[1] * m[1] + m[2] * m[2] + m[3] * m[3];
  const double det = m[0] * m[3] - m[1] * m[2], under = sum * sum - 4 * det * det;
  const double stretch = sqrt(0.5 * (sum + sqrt(under > 0 ? under : 0)));
  for (int j = 0; j < 4 && stretch > 0.9; j++) {
    m[j] *= 0.9 / stretch;
  }
}

static void vary(struct mq_fractal *varied, const struct mq_fractal *fractal, struct mq_rng *rng) {
  *varied = *fractal;
  for (int i = 0; i < varied->n_maps; i++) {
    for (int j = 0; j < 6; j++) {
      varied->maps[i].m[j] += uniform(rng, -VARY_MAPS, VARY_MAPS);
    }
    keep_contracting(varied->maps[i].m);
  }
}

/* Rotates the points about the origin and gives the new box. */
static void rotate(struct point *points, int64_t n, double box[4], double angle) {
  const double c = mq_cos(angle), s = mq_sin(angle);
  box[0] = box[1] = 1e9;
  box[2] = box[3] = -1e9;
  for (int64_t i = 0; i < n; i++) {
    const double x = c * points[i].x - s * points[i].y, y = s * points[i].x + c * points[i].y;
    points[i] = (struct point){x, y};
    box[0] = x < box[0] ? x : box[0];
    box[1] = y < box[1] ? y : box[1];
    box[2] = x > box[2] ? x : box[2];
    box[3] = y > box[3] ? y : box[3];
  }
}

/* Stamps a random 3 x 3 patch at every point; canvas has a border of one pixel. */
static void stamp(uint8_t *canvas, int64_t side, const struct point *points, int64_t n, const double box[4],
                  struct mq_rng *rng) {
  const uint32_t patch = mq_rng_u32(rng) | 1u << 4; /* bits 0 to 8; the centre is always set */
  const double width = box[2] - box[0], height = box[3] - box[1], extent = width > height ? width : height;
  const double figure = (1 - uniform(rng, 0, VARY_SCALE)) * (double)side;
  const double scale = extent > 1e-9 ? (figure - 1) / extent : 0;
  const double left = uniform(rng, 0, (double)side - 1 - width * scale) - box[0] * scale,
               top = uniform(rng, 0, (double)side - 1 - height * scale) - box[1] * scale;
  const int64_t stride = side + 2;
  for (int64_t i = 0; i < n; i++) {
    const int64_t x = (int64_t)(points[i].x * scale + left), y = (int64_t)(points[i].y * scale + top);
    uint8_t *at = canvas + y * stride + x;
    for (int bit = 0; bit < 9; bit++) {
      uint8_t *cell = at + bit / 3 * stride + bit % 3;
      *cell = (uint8_t)(*cell + (patch >> bit & 1 & (*cell < 4)));
    }
  }
}

/* Two colours at least CONTRAST_LEAST apart in every channel's mean, in units of 1/65536. */
static void draw_colours(int32_t fore[3], int32_t back[3], struct mq_rng *rng) {
  double distance;
  do {
    distance = 0;
    for (int c = 0; c < 3; c++) {
      const double f = mq_rng_double(rng), b = mq_rng_double(rng);
      distance += f > b ? f - b : b - f;
      fore[c] = (int32_t)(f * 65535);
      back[c] = (int32_t)(b * 65535);
    }
  } while (distance < 3 * CONTRAST_LEAST);
}

/* Each canvas cell holds 0 to 4 hits; the 4 cells of a pixel blend the two colours, then noise is added. */
static void paint(uint8_t *pixels, int64_t size, const uint8_t *canvas, struct mq_rng *rng) {
  const int64_t stride = size * CANVAS_SCALE + 2;
  int32_t fore[3], back[3];
  draw_colours(fore, back, rng);
  uint64_t state = rng_u64(rng);
  const int32_t noise = (int32_t)(NOISE * 65536);
  for (int64_t y = 0; y < size; y++) {
    const uint8_t *row = canvas + (y * CANVAS_SCALE + 1) * stride + 1;
    for (int64_t x = 0; x < size; x++, row += CANVAS_SCALE, pixels += 3) {
      const int32_t hits = row[0] + row[1] + row[stride] + row[stride + 1]; /* 0 to 16 */
      for (int c = 0; c < 3; c++) {
        const int32_t blend = back[c] + (fore[c] - back[c]) / 16 * hits;
        const int32_t shift = (int32_t)(step_u32(&state) >> 16) - 32768; /* -32768 to 32767 */
        const int32_t value = (blend + shift * 2 / 256 * noise / 256) >> 8;
        pixels[c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
      }
    }
  }
}

mq_status mq_fractal_draw(uint8_t *pixels, const struct mq_fractal *fractal,
                          const struct mq_fractal_instance *instance, struct mq_err *err) {
  const int64_t size = instance->size, side = size * CANVAS_SCALE, n = size * size * POINTS_PER_PIXEL;
  struct mq_rng rng;
  mq_rng_init(&rng, instance->seed, MQ_RNG_FRACTAL, (uint64_t)instance->index, instance->is_test);
  struct point *points = mq_alloc((size_t)n, sizeof *points);
  uint8_t *canvas = mq_alloc((size_t)((side + 2) * (side + 2)), 1);
  mq_status status = MQ_OK;
  if (!points || !canvas) {
    status = mq_fail_memory(err, "fractal");
    goto done;
  }
  struct mq_fractal varied;
  double box[4];
  vary(&varied, fractal, &rng);
  play(points, n, box, &varied, rng_u64(&rng));
  rotate(points, n, box, uniform(&rng, -VARY_ANGLE, VARY_ANGLE));
  stamp(canvas, side, points, n, box, &rng);
  paint(pixels, size, canvas, &rng);
done:
  mq_free(points);
  mq_free(canvas);
  return status;
}
