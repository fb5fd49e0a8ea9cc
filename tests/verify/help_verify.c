#include "help_verify.h"

#include <math.h>

#include "mqbench/kernel.h"

void begin_subject(struct subject *s, struct mq_graph *model, const char *target, int bits,
                   const char *keep_float, const char *data, unsigned workers) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  const struct mq_layer_override override = {.layer = keep_float, .keep_float = true};
  const struct mq_prepare_options options = {.w_bits = bits,
                                             .a_bits = bits,
                                             .overrides = keep_float ? &override : NULL,
                                             .n_overrides = keep_float ? 1 : 0};
  *s = (struct subject){.model = model};
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&s->pool, workers, mq_kernel_start_worker, &err));
  assert_ok(mq_target_load(&s->target, target, &err));
  assert_ok(mq_prepare(&s->prepared, model, s->target, &options, &err));
  assert_ok(mq_data_spec_parse(&spec, data, &err));
  assert_ok(mq_dataset_open(&s->data, &spec, &err));
  mq_data_spec_deinit(&spec);
}

void lower_subject(struct subject *s) {
  struct mq_err err = {0};
  assert_ok(mq_lower(&s->lowered, &s->prepared, s->target, &err));
  s->bundle = (struct mq_bundle){.prepared = s->prepared, .program = &s->lowered.program};
  snprintf(s->bundle.target, sizeof s->bundle.target, "%s", s->target->name);
  s->rules = (struct mq_exact_rules){.arithmetic = s->target->arithmetic,
                                     .pot_half_even = s->target->pot_half_even,
                                     .pool = s->target->points.pool,
                                     .islands = s->prepared.islands,
                                     .n_islands = s->prepared.n_islands};
}

void calibrate_subject(struct subject *s) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  int64_t indices[64], n = mq_dataset_get_info(s->data)->n_images;
  for (int64_t i = 0; i < n && i < 64; i++)
    indices[i] = i;
  const struct mq_calibrate_options options = {.w_parameter = (double)NAN,
                                               .a_parameter = (double)NAN,
                                               .indices = indices,
                                               .n_indices = n < 64 ? n : 64,
                                               .bias = s->target->bias};
  assert_ok(mq_calibrate(&result, &s->prepared, s->data, &options, s->pool, &err));
}

void make_subject(struct subject *s, struct mq_graph *model, const char *target, int bits, const char *data,
                  unsigned workers) {
  begin_subject(s, model, target, bits, NULL, data, workers);
  calibrate_subject(s);
  lower_subject(s);
}

void drop_subject(struct subject *s) {
  mq_lowered_deinit(&s->lowered);
  mq_prepared_deinit(&s->prepared);
  mq_dataset_close(s->data);
  mq_target_destroy(s->target);
  mq_graph_destroy(s->model);
  mq_pool_destroy(s->pool);
}

void run_verify(struct mq_verification *result, const struct subject *s, int64_t n_images) {
  struct mq_err err = {0};
  const struct mq_verify_options options = {.n_images = n_images, .keeps_outputs = true, .exact = &s->rules};
  assert_ok(mq_verify(result, &s->prepared, &s->lowered.program, s->data, &options, s->pool, &err));
}

const struct mq_verified_tensor *find_tensor(const struct mq_verification *result, const char *name) {
  for (size_t i = 0; i < result->n_tensors; i++)
    if (result->tensors[i].is_simulated && strcmp(result->tensors[i].name, name) == 0)
      return &result->tensors[i];
  fail_msg("no tensor '%s'", name);
  return NULL;
}

void set_point(struct subject *s, const char *tensor, float scale, int32_t zero_point) {
  struct mq_err err = {0};
  for (size_t i = 0; i < s->prepared.n_points; i++) {
    struct mq_point *point = &s->prepared.points[i];
    if (strcmp(point->tensor, tensor) != 0) continue;
    mq_qparams_deinit(&point->qparams);
    assert_ok(mq_qparams_init(&point->qparams, 1, -1, &err));
    point->qparams.is_signed = point->scheme.is_signed;
    mq_scheme_bounds(&point->qparams.quant_min, &point->qparams.quant_max, &point->scheme);
    point->qparams.scale[0] = scale;
    point->qparams.zero_point[0] = zero_point;
    return;
  }
  fail_msg("no point '%s'", tensor);
}
