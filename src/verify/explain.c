/* Causes of differences, one for each. */
#include "verify/explain.h"

#include <math.h>

#define U REALITY_ROUNDING
#define BUDGET (INT64_C(1) << 24) /* elements looked at for one difference */
#define EQUAL 1e-9                /* a fraction of a step: what double precision may lose */

/* ---- Codes -------------------------------------------------------------------------------------------- */

struct grid {
  double scale, zero_point, lo, hi;
};

static struct grid grid_of(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = &program->tensors[step->output];
  bool is_free = step->kind == MQ_STEP_TABLE || (step->lo == 0 && step->hi == 0); /* moves */
  return (struct grid){(double)y->scale, y->zero_point, is_free ? y->code_min : step->lo,
                       is_free ? y->code_max : step->hi};
}

static double clamp(const struct grid *grid, double code) {
  return fmin(fmax(code, grid->lo), grid->hi);
}

/* The nearest code of a value in steps; a tie goes to even. */
static double code_of(const struct grid *grid, double steps) {
  return clamp(grid, nearbyint(steps) + grid->zero_point);
}

/* Is the code one that steps +- slack may be rounded to, ties to either side? */
static bool is_near(const struct grid *grid, double code, double steps, double slack) {
  const double room = slack + 0.5 + EQUAL * (1 + fabs(steps));
  const double least = clamp(grid, ceil(steps - room) + grid->zero_point);
  const double most = clamp(grid, floor(steps + room) + grid->zero_point);
  return isfinite(room) && code >= least && code <= most;
}

static bool is_tie(double steps) {
  return fabs(fabs(steps - floor(steps)) - 0.5) <= EQUAL * (1 + fabs(steps));
}

static bool is(double a, double b) {
  return !(a < b) && !(a > b);
}

/* ---- Links -------------------------------------------------------------------------------------------- */

static struct reality reality_for(const struct explain_image *image, int64_t *budget, bool is_simulations,
                                  bool follows_codes, bool has_real_bias) {
  *budget = BUDGET;
  return (struct reality){.program = image->program,
                          .kinds = image->kinds,
                          .made = image->made,
                          .simulated = is_simulations ? image->simulated : NULL,
                          .biases = has_real_bias ? image->biases : NULL,
                          .follows_codes = follows_codes,
                          .budget = budget};
}

static struct real value_of(const struct explain_image *image, uint32_t tensor, int64_t at,
                            bool is_simulations, bool follows_codes, bool has_real_bias) {
  int64_t budget;
  const struct reality reality = reality_for(image, &budget, is_simulations, follows_codes, has_real_bias);
  return reality_made(&reality, tensor, at);
}

/* The real values on the way. */
struct links {
  struct real simulated; /* of the simulation's inputs */
  struct real given;     /* of the program's inputs */
  struct real rounded;   /* averages between points are codes */
  struct real biased;    /* with the program's bias */
};

static struct links find_links(const struct explain_image *image, uint32_t tensor, int64_t at) {
  struct links links;
  links.given = value_of(image, tensor, at, false, false, true);
  links.simulated = value_of(image, tensor, at, true, false, true);
  links.rounded = value_of(image, tensor, at, false, true, true);
  links.biased = value_of(image, tensor, at, false, true, false);
  return links;
}

static struct explain_scaled scaled_of(const struct explain_image *image, const struct mq_program_step *step,
                                       int64_t at, struct real biased) {
  int64_t budget;
  const struct reality reality = reality_for(image, &budget, false, true, false);
  if (step->kind == MQ_STEP_CONV || step->kind == MQ_STEP_LINEAR) {
    return explain_layer(&reality, step, at);
  }
  return explain_others(image->program, step, biased);
}

/* Where the inputs differ. Of steps that were given codes these are floats of layers that stay float. */
static mq_cause input_cause(const struct explain_image *image) {
  return image->is_local ? MQ_CAUSE_FLOAT : MQ_CAUSE_INHERITED;
}

/* The last link: the arithmetic's own rounding. */
static mq_cause last_cause(const struct mq_program_step *step, const struct explain_scaled *scaled) {
  if (is_tie(scaled->value)) {
    return MQ_CAUSE_ROUNDING;
  }
  switch (step->kind) {
    case MQ_STEP_ADD:
      return MQ_CAUSE_ADD;
    case MQ_STEP_AVERAGE:
    case MQ_STEP_MEAN:
      return MQ_CAUSE_POOL;
    default:
      return scaled->is_integer ? MQ_CAUSE_ROUNDING : MQ_CAUSE_FLOAT;
  }
}

static double steps_of(const struct mq_program_step *step, struct real real, const struct grid *grid) {
  return step->kind == MQ_STEP_QUANTIZE ? explain_steps(real, (float)grid->scale) : real.value / grid->scale;
}

mq_cause explain_code(const struct explain_image *image, uint32_t tensor, int64_t at, int32_t simulated) {
  const struct mq_program_tensor *t = &image->program->tensors[tensor];
  const struct mq_program_step *step = &image->program->steps[t->first_step];
  const struct grid grid = grid_of(image->program, step);
  const struct links links = find_links(image, tensor, at);
  const struct explain_scaled scaled = scaled_of(image, step, at, links.biased);
  const double steps = steps_of(step, links.simulated, &grid);
  const double slack = links.simulated.slack / grid.scale + 4 * U * fabs(steps);
  if (!is_near(&grid, simulated, steps, slack) ||
      !is_near(&grid, reality_code(image->made[tensor], t->type, at), scaled.value, scaled.slack)) {
    return MQ_CAUSE_UNEXPLAINED;
  }
  if (!is(code_of(&grid, steps), simulated)) {
    return MQ_CAUSE_FLOAT;
  }
  if (!is(code_of(&grid, steps_of(step, links.given, &grid)), simulated)) {
    return input_cause(image);
  }
  if (!is(code_of(&grid, steps_of(step, links.rounded, &grid)), simulated)) {
    return MQ_CAUSE_POOL;
  }
  if (!is(code_of(&grid, steps_of(step, links.biased, &grid)), simulated)) {
    return MQ_CAUSE_BIAS;
  }
  if (!is(code_of(&grid, scaled.value), simulated)) {
    return MQ_CAUSE_MULTIPLIER;
  }
  return last_cause(step, &scaled);
}

static bool is_within(double a, double b, double slack) {
  return isfinite(slack) && fabs(a - b) <= slack * (1 + EQUAL);
}

mq_cause explain_float(const struct explain_image *image, uint32_t tensor, int64_t at, float simulated) {
  const struct links links = find_links(image, tensor, at);
  const double own = (double)((const float *)image->made[tensor])[at];
  const double float_slack = links.given.slack + links.simulated.slack;
  if (!is_within((double)simulated, links.simulated.value, links.simulated.slack) ||
      !is_within(own, links.biased.value, links.biased.slack)) {
    return MQ_CAUSE_UNEXPLAINED;
  }
  if (!is_within(links.simulated.value, links.given.value, float_slack)) {
    return input_cause(image);
  }
  if (!is_within(links.given.value, links.rounded.value, float_slack)) {
    return MQ_CAUSE_POOL;
  }
  return is_within(links.rounded.value, links.biased.value, float_slack) ? MQ_CAUSE_FLOAT : MQ_CAUSE_BIAS;
}
