#include "cli/target_report.h"

#include <math.h>
#include <stdio.h>

#include "cli/session.h"

/* ---- For people ------------------------------------------------------------------------------------- */

static void print_points(const struct mq_checked_model *model) {
  printf("  points\n");
  for (size_t i = 0; i < model->n_points; i++) {
    const struct mq_checked_points *p = &model->points[i];
    printf("    %4lld  %-10s  %s\n", (long long)p->count, p->kind, p->scheme);
  }
  printf("  islands: %s\n", model->n_islands ? "operators left in floats" : "none");
  for (size_t i = 0; i < model->n_islands; i++) {
    const struct mq_checked_island *island = &model->islands[i];
    printf("    %s %s: %s\n", island->op, island->node, island->reason);
  }
}

static void print_mismatches(const char *what, int64_t mismatches, int64_t elements) {
  if (elements > 0) {
    printf("    %-18s %lld of %lld values differ\n", what, (long long)mismatches, (long long)elements);
  }
}

static void print_program(const struct mq_checked_program *program) {
  if (program->reason) {
    printf("  program: none, %s\n", program->reason);
    return;
  }
  printf("  program: %lld steps, %.1f KB of weights, %.1f KB of memory for an image\n",
         (long long)program->n_steps, 1e-3 * (double)program->weight_bytes,
         1e-3 * (double)program->arena_bytes);
  printf("    over %lld images, against its reference executor:\n", (long long)program->n_images);
  print_mismatches("fast executor", program->fast_mismatches, program->fast_elements);
  print_mismatches("exact simulation", program->exact_mismatches, program->exact_elements);
  print_mismatches("plain simulation", program->simulation.differing, program->simulation.elements);
  printf("    %-18s by at most %.3g steps; %lld of %lld images get the same class\n", "",
         program->simulation.max_step, (long long)program->n_agree, (long long)program->n_images);
}

static void print_artefacts(const struct mq_checked_model *model) {
  printf("  exports%s\n", model->n_artefacts ? "" : ": none");
  for (size_t i = 0; i < model->n_artefacts; i++) {
    const struct mq_checked_artefact *artefact = &model->artefacts[i];
    printf("    %-16s  %s\n", artefact->format, artefact->reason ? artefact->reason : "ok");
  }
}

static void print_runs(const struct mq_checked_model *model) {
  if (model->n_runs == 0) {
    return;
  }
  printf("  %-8s  %-12s  %-12s  %-5s  %8s  %8s  %8s\n", "method", "weights", "activations", "bits", "top-1",
         "change", "seconds");
  printf("  %-8s  %-12s  %-12s  %-5s  %7.2f%%\n", "float", "", "", "", 100 * model->runs[0].float_top1);
  for (size_t i = 0; i < model->n_runs; i++) {
    const struct mq_run *run = &model->runs[i];
    char bits[16];
    snprintf(bits, sizeof bits, "%d/%d", run->w_bits, run->a_bits);
    printf("  %-8s  %-12s  %-12s  %-5s", run->method, run->w_observer, run->a_observer, bits);
    if (isfinite(run->top1)) {
      printf("  %7.2f%%  %+8.2f  %8.1f\n", 100 * run->top1, 100 * (run->top1 - run->float_top1),
             run->seconds);
    } else {
      printf("  %s\n", run->status);
    }
  }
}

void cli_target_print(const struct mq_target_check *check) {
  const struct mq_target *target = check->target;
  printf("%s: %s\n", target->name, target->describes);
  printf("arithmetic %s, batch normalisation %s\n", target->arithmetic ? target->arithmetic : "none",
         target->folds_bn ? "folded" : "kept");
  for (size_t i = 0; i < check->n_models; i++) {
    const struct mq_checked_model *model = &check->models[i];
    printf("\n%s\n", model->name);
    print_points(model);
    if (model->n_runs > 0) {
      print_program(&model->program);
      print_artefacts(model);
    }
    print_runs(model);
  }
  printf("\n%s\n", check->n_problems ? "not ok:" : "ok");
  for (size_t i = 0; i < check->n_problems; i++) {
    printf("  %s\n", check->problems[i]);
  }
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

static void add_points(json_t *points, const struct mq_checked_model *model) {
  for (size_t i = 0; i < model->n_points; i++) {
    const struct mq_checked_points *p = &model->points[i];
    json_array_append_new(points, json_pack("{s:s, s:s, s:s, s:I}", "model", model->name, "kind", p->kind,
                                            "scheme", p->scheme, "count", (json_int_t)p->count));
  }
}

static void add_islands(json_t *islands, const struct mq_checked_model *model) {
  for (size_t i = 0; i < model->n_islands; i++) {
    const struct mq_checked_island *island = &model->islands[i];
    json_array_append_new(
        islands, json_pack("{s:s, s:s, s:s, s:s, s:b}", "model", model->name, "node", island->node, "op",
                           island->op, "reason", island->reason, "tolerated", (int)island->is_tolerated));
  }
}

static void add_artefacts(json_t *artefacts, const struct mq_checked_model *model) {
  for (size_t i = 0; i < model->n_artefacts; i++) {
    const struct mq_checked_artefact *artefact = &model->artefacts[i];
    json_array_append_new(artefacts, json_pack("{s:s, s:s, s:o}", "model", model->name, "format",
                                               artefact->format, "reason", text_or_null(artefact->reason)));
  }
}

static json_t *count_of(int64_t n, int64_t elements) {
  return elements > 0 ? json_integer((json_int_t)n) : json_null();
}

/* The names of `verify` where they are the same. */
static void add_program(json_t *programs, const struct mq_checked_model *model) {
  const struct mq_checked_program *p = &model->program;
  const struct mq_differences *d = &p->simulation;
  json_t *object = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "model", model->name, "reason",
                             text_or_null(p->reason), "steps", (json_int_t)p->n_steps, "weight_bytes",
                             (json_int_t)p->weight_bytes, "arena_bytes", (json_int_t)p->arena_bytes, "images",
                             (json_int_t)p->n_images, "elements", (json_int_t)p->elements);
  json_object_set_new(object, "fast_vs_reference_mismatches", count_of(p->fast_mismatches, p->fast_elements));
  json_object_set_new(object, "simulate_vs_integer_mismatches",
                      count_of(p->exact_mismatches, p->exact_elements));
  json_object_set_new(
      object, "float_simulation",
      json_pack("{s:I, s:I, s:I, s:I, s:o}", "elements", (json_int_t)d->elements, "differing",
                (json_int_t)d->differing, "explained", (json_int_t)mq_differences_explained(d), "unexplained",
                (json_int_t)d->causes[MQ_CAUSE_UNEXPLAINED], "max_step", cli_json_real(d->max_step)));
  json_object_set_new(
      object, "top1_agreement",
      cli_json_real(p->n_images > 0 ? (double)p->n_agree / (double)p->n_images : (double)NAN));
  json_array_append_new(programs, object);
}

static void add_runs(json_t *runs, const struct mq_checked_model *model) {
  for (size_t i = 0; i < model->n_runs; i++) {
    const struct mq_run *r = &model->runs[i];
    json_array_append_new(
        runs,
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:o, s:o, s:o, s:I, s:o}", "model", model->name,
                  "method", r->method, "w_observer", r->w_observer, "a_observer", r->a_observer, "w_bits",
                  r->w_bits, "a_bits", r->a_bits, "status", r->status, "message", text_or_null(r->message),
                  "float_top1", cli_json_real(r->float_top1), "top1", cli_json_real(r->top1), "images",
                  (json_int_t)r->images, "seconds", cli_json_real(r->seconds)));
  }
}

json_t *cli_target_json(const struct mq_target_check *check) {
  json_t *points = json_array(), *islands = json_array(), *programs = json_array();
  json_t *artefacts = json_array(), *runs = json_array(), *problems = json_array();
  for (size_t i = 0; i < check->n_models; i++) {
    const struct mq_checked_model *model = &check->models[i];
    add_points(points, model);
    add_islands(islands, model);
    if (model->n_runs > 0) add_program(programs, model);
    add_artefacts(artefacts, model);
    add_runs(runs, model);
  }
  for (size_t i = 0; i < check->n_problems; i++) {
    json_array_append_new(problems, json_string(check->problems[i]));
  }
  return json_pack("{s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "ok", check->n_problems == 0, "target",
                   check->target->name, "arithmetic", text_or_null(check->target->arithmetic), "islands",
                   islands, "points", points, "programs", programs, "artefacts", artefacts, "runs", runs,
                   "problems", problems);
}
