/* What verify found, as a table for people, and its answer. */
#include "cli/verify_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORST_SHOWN 10
#define NODES_SHOWN 5

/* ---- Numbers ------------------------------------------------------------------------------------------- */

/* "12,345,678" */
static const char *grouped(char text[32], int64_t n) {
  char digits[24];
  const int length = snprintf(digits, sizeof digits, "%" PRId64, n);
  int at = 0;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') {
      text[at++] = ',';
    }
    text[at++] = digits[i];
  }
  text[at] = 0;
  return text;
}

static double percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static const char *plural(int64_t n, const char *one, const char *many) {
  return n == 1 ? one : many;
}

/* ---- What must not differ ------------------------------------------------------------------------------ */

static void print_strict(const char *what, int64_t mismatches, int64_t elements) {
  char a[32], b[32];
  if (elements > 0) {
    printf("%-18s %s of %s values differ\n", what, grouped(a, mismatches), grouped(b, elements));
  } else {
    printf("%-18s not compared\n", what);
  }
}

/* ---- The plain simulation ------------------------------------------------------------------------------ */

static void print_causes(const struct mq_verification *v) {
  char a[32], b[32];
  printf("\n  %-19s %13s %13s   a step with the program's own inputs, and the network as it runs\n", "cause",
         "by itself", "as it runs");
  for (int i = 0; i < MQ_CAUSES; i++) {
    if (v->whole.causes[i] > 0 || v->local.causes[i] > 0) {
      printf("  %-19s %13s %13s   %s\n", mq_cause_name((mq_cause)i), grouped(a, v->local.causes[i]),
             grouped(b, v->whole.causes[i]), mq_cause_describe((mq_cause)i));
    }
  }
}

/* What must not be first, then codes, then by what the tensor's own step does. */
static int worst_first(const void *a, const void *b) {
  const struct mq_verified_tensor *x = *(const struct mq_verified_tensor *const *)a;
  const struct mq_verified_tensor *y = *(const struct mq_verified_tensor *const *)b;
  const int64_t keys[][2] = {
      {x->exact_mismatches + x->fast_mismatches, y->exact_mismatches + y->fast_mismatches},
      {x->local.causes[MQ_CAUSE_UNEXPLAINED], y->local.causes[MQ_CAUSE_UNEXPLAINED]},
      {!x->is_float, !y->is_float},
      {x->local.differing, y->local.differing},
      {x->whole.differing, y->whole.differing},
  };
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (keys[i][0] != keys[i][1]) {
      return keys[i][0] > keys[i][1] ? -1 : 1;
    }
  }
  return x < y ? -1 : 1;
}

static bool differs(const struct mq_verified_tensor *t) {
  return t->whole.differing > 0 || t->local.differing > 0 || t->exact_mismatches > 0 ||
         t->fast_mismatches > 0;
}

/* "rounding 201, bias 47": by themselves. */
static void print_own_causes(const struct mq_verified_tensor *t) {
  const char *separator = "";
  for (int i = 0; i < MQ_CAUSES; i++) {
    if (t->local.causes[i] > 0) {
      printf("%s%s %" PRId64, separator, mq_cause_name((mq_cause)i), t->local.causes[i]);
      separator = ", ";
    }
  }
  if (t->fast_mismatches > 0 || t->exact_mismatches > 0) {
    printf("%sfast executor %" PRId64 ", exact simulation %" PRId64, separator, t->fast_mismatches,
           t->exact_mismatches);
  }
}

static mq_status print_worst(const struct mq_verification *v, struct mq_err *err) {
  const struct mq_verified_tensor **worst = mq_alloc(v->n_tensors + 1, sizeof *worst);
  size_t n = 0;
  if (!worst) {
    return mq_fail_memory(err, "a table");
  }
  for (size_t i = 0; i < v->n_tensors; i++) {
    if (differs(&v->tensors[i])) {
      worst[n++] = &v->tensors[i];
    }
  }
  qsort(worst, n, sizeof *worst, worst_first);
  if (n > 0) {
    printf("\n  %-44s %-8s %9s %10s %6s   causes by itself\n", "tensor", "step", "by itself", "as it runs",
           "steps");
  }
  for (size_t i = 0; i < n && i < WORST_SHOWN; i++) {
    const struct mq_verified_tensor *t = worst[i];
    const size_t length = strlen(t->name), cut = length > 44 ? length - 41 : 0;
    char name[48];
    snprintf(name, sizeof name, "%s%s", cut ? "..." : "", t->name + cut);
    printf("  %-44s %-8s %8.4f%% %9.3f%% %6.3g   ", name, t->step,
           percent(t->local.differing, t->local.elements), percent(t->whole.differing, t->whole.elements),
           t->whole.max_step);
    print_own_causes(t);
    putchar('\n');
  }
  if (n > WORST_SHOWN) {
    printf("  and %zu more; --json lists all\n", n - WORST_SHOWN);
  }
  mq_free(worst);
  return MQ_OK;
}

static mq_status print_simulation(const struct mq_verification *v, struct mq_err *err) {
  char a[32], b[32];
  printf("%-18s %s of %s values differ (%.4f%%), by %.3g steps at most; the same class for %" PRId64
         " of %" PRId64 "\n",
         "plain simulation", grouped(a, v->whole.differing), grouped(b, v->whole.elements),
         percent(v->whole.differing, v->whole.elements), v->whole.max_step, v->n_agree, v->n_images);
  if (v->whole.differing + v->local.differing == 0) {
    return MQ_OK;
  }
  print_causes(v);
  return print_worst(v, err);
}

/* ---- Engines ------------------------------------------------------------------------------------------- */

static void print_nodes(const struct mq_engine_comparison *c) {
  size_t n_shown = 0;
  if (c->n_nodes == 0) {
    return;
  }
  printf("  %zu of %zu nodes in integers", c->n_integer, c->n_nodes);
  for (size_t i = 0; i < c->n_nodes; i++) {
    if (!c->nodes[i].is_integer && n_shown < NODES_SHOWN) {
      printf("%s%s %s", n_shown ? ", " : "; in floats: ", c->nodes[i].op, c->nodes[i].name);
      n_shown++;
    }
  }
  if (c->n_nodes - c->n_integer > n_shown) {
    printf(" and %zu more", c->n_nodes - c->n_integer - n_shown);
  }
  putchar('\n');
}

static void print_engine(const struct mq_engine_comparison *c) {
  char a[32], b[32];
  if (c->skipped_reason) {
    printf("%-18s %s: %s\n", c->name, c->is_failed ? "failed" : "skipped", c->skipped_reason);
    return;
  }
  printf("%-18s %s of %s outputs differ, ", c->name, grouped(a, c->mismatches), grouped(b, c->elements));
  if (isnan(c->max_step)) {
    printf("some are not numbers");
  } else {
    printf("by %.3g steps at most", c->max_step);
  }
  printf("; the same class for %" PRId64 " of %" PRId64 "; %s%s%s%s\n", c->n_agree, c->n_images, c->version,
         c->format[0] ? ", " : ", in process", c->format, c->is_twin ? ", must not differ" : "");
  print_nodes(c);
}

/* ---- All of it ----------------------------------------------------------------------------------------- */

mq_status cli_verify_print_text(const struct cli_verify_report *report, struct mq_err *err) {
  const struct mq_verification *v = report->result;
  mq_status status = MQ_OK;
  printf("%s, %s: %" PRId64 " %s, ", report->network, report->target, v->n_images,
         plural(v->n_images, "image", "images"));
  if (report->has_program) {
    char elements[32];
    printf("%zu tensors, %s values\n\n", v->n_tensors, grouped(elements, v->elements));
    print_strict("fast executor", v->fast_mismatches, v->fast_elements);
    print_strict("exact simulation", v->exact_mismatches, v->exact_elements);
    status = print_simulation(v, err);
  } else {
    puts("no integer program: engines beside the plain simulation");
  }
  if (report->n_engines > 0) {
    putchar('\n');
  }
  for (size_t i = 0; i < report->n_engines; i++) {
    print_engine(&report->engines[i]);
  }
  return status;
}

static int64_t unexplained(const struct mq_verification *v) {
  return v->whole.causes[MQ_CAUSE_UNEXPLAINED] + v->local.causes[MQ_CAUSE_UNEXPLAINED];
}

mq_status cli_verify_answer(const struct cli_verify_report *report, struct mq_err *err) {
  const struct mq_verification *v = report->result;
  if (v->fast_mismatches > 0) {
    return mq_fail(err, MQ_NO, "the fast executor differs from the reference in %" PRId64 " values",
                   v->fast_mismatches);
  }
  if (v->exact_mismatches > 0) {
    return mq_fail(err, MQ_NO, "the exact simulation differs from the program in %" PRId64 " values",
                   v->exact_mismatches);
  }
  if (unexplained(v) > 0) {
    return mq_fail(err, MQ_NO,
                   "the simulation differs from the program in %" PRId64 " values without an explanation",
                   unexplained(v));
  }
  for (size_t i = 0; i < report->n_engines; i++) {
    const struct mq_engine_comparison *c = &report->engines[i];
    if (c->is_twin && c->mismatches > 0) {
      return mq_fail(err, MQ_NO, "engine %s differs from the program in %" PRId64 " outputs", c->name,
                     c->mismatches);
    }
    if (c->is_twin && c->is_failed) {
      return mq_fail(err, MQ_NO, "engine %s, whose bits must be the program's, failed: %s", c->name,
                     c->skipped_reason);
    }
  }
  return MQ_OK;
}
