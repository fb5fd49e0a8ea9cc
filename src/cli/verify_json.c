/* What verify found, as JSON. */
#include <math.h>

#include "cli/session.h"
#include "cli/verify_report.h"

static json_t *count(int64_t n) {
  return json_integer((json_int_t)n);
}

/* null where nothing was compared. */
static json_t *count_of(int64_t n, int64_t elements) {
  return elements > 0 ? count(n) : json_null();
}

static json_t *differences_json(const struct mq_differences *d) {
  json_t *object = json_object(), *causes = json_object();
  json_object_set_new(object, "elements", count(d->elements));
  json_object_set_new(object, "differing", count(d->differing));
  json_object_set_new(object, "explained", count(mq_differences_explained(d)));
  json_object_set_new(object, "unexplained", count(d->causes[MQ_CAUSE_UNEXPLAINED]));
  json_object_set_new(object, "max_step", cli_json_real(d->max_step));
  for (int i = 0; i < MQ_CAUSE_UNEXPLAINED; i++) {
    json_object_set_new(causes, mq_cause_name((mq_cause)i), count(d->causes[i]));
  }
  json_object_set_new(object, "causes", causes);
  return object;
}

static json_t *tensor_json(const struct mq_verified_tensor *t) {
  json_t *object = json_object();
  json_object_set_new(object, "tensor", json_string(t->name));
  json_object_set_new(object, "step", json_string(t->step));
  json_object_set_new(object, "elements", count(t->elements));
  json_object_set_new(object, "fast_vs_reference_mismatches", count_of(t->fast_mismatches, t->fast_elements));
  json_object_set_new(object, "simulate_vs_integer_mismatches",
                      count_of(t->exact_mismatches, t->exact_elements));
  if (t->is_simulated) {
    json_object_set_new(object, "float_simulation", differences_json(&t->whole));
    json_object_set_new(object, "float_simulation_local", differences_json(&t->local));
  }
  return object;
}

static void add_nodes(json_t *object, const struct mq_engine_comparison *c) {
  json_t *floats = json_array();
  for (size_t i = 0; i < c->n_nodes; i++) {
    if (!c->nodes[i].is_integer) {
      json_array_append_new(floats, json_pack("{s:s, s:s}", "name", c->nodes[i].name, "op", c->nodes[i].op));
    }
  }
  json_object_set_new(object, "nodes", count((int64_t)c->n_nodes));
  json_object_set_new(object, "integer_nodes", count((int64_t)c->n_integer));
  json_object_set_new(object, "float_nodes", floats);
}

static json_t *engine_json(const struct mq_engine_comparison *c) {
  json_t *object = json_object();
  const bool has_run = !c->skipped_reason;
  json_object_set_new(object, "name", json_string(c->name));
  json_object_set_new(object, "version", c->version[0] ? json_string(c->version) : json_null());
  json_object_set_new(object, "format", c->format[0] ? json_string(c->format) : json_null());
  json_object_set_new(object, "twin", json_boolean(c->is_twin));
  json_object_set_new(object, "elements", has_run ? count(c->elements) : json_null());
  json_object_set_new(object, "mismatches", has_run ? count(c->mismatches) : json_null());
  json_object_set_new(object, "max_step_difference", has_run ? cli_json_real(c->max_step) : json_null());
  json_object_set_new(
      object, "top1_agreement",
      has_run && c->n_images > 0 ? json_real((double)c->n_agree / (double)c->n_images) : json_null());
  json_object_set_new(object, "skipped_reason", has_run ? json_null() : json_string(c->skipped_reason));
  json_object_set_new(object, "failed", json_boolean(c->is_failed));
  if (has_run && c->n_nodes > 0) {
    add_nodes(object, c);
  }
  return object;
}

mq_status cli_verify_print_json(const struct cli_verify_report *report, struct mq_err *err) {
  const struct mq_verification *v = report->result;
  json_t *layers = json_array(), *engines = json_array(), *object = json_object();
  for (size_t i = 0; i < v->n_tensors; i++) {
    json_array_append_new(layers, tensor_json(&v->tensors[i]));
  }
  for (size_t i = 0; i < report->n_engines; i++) {
    json_array_append_new(engines, engine_json(&report->engines[i]));
  }
  json_object_set_new(object, "target", json_string(report->target));
  json_object_set_new(object, "images", count(v->n_images));
  json_object_set_new(object, "program", json_boolean(report->has_program));
  json_object_set_new(object, "finite", json_boolean(v->is_finite));
  json_object_set_new(object, "tensors", count((int64_t)v->n_tensors));
  json_object_set_new(object, "elements", count(v->elements));
  json_object_set_new(object, "fast_vs_reference_mismatches", count_of(v->fast_mismatches, v->fast_elements));
  json_object_set_new(object, "simulate_vs_integer_mismatches",
                      count_of(v->exact_mismatches, v->exact_elements));
  json_object_set_new(object, "float_simulation", differences_json(&v->whole));
  json_object_set_new(object, "float_simulation_local", differences_json(&v->local));
  json_object_set_new(object, "max_step_difference", cli_json_real(v->whole.max_step));
  json_object_set_new(object, "top1_agreement",
                      v->n_images > 0 && report->has_program
                          ? json_real((double)v->n_agree / (double)v->n_images)
                          : json_null());
  json_object_set_new(object, "engines", engines);
  json_object_set_new(object, "layers", layers);
  return cli_print_json(object, err);
}
