/* BN folding in training: what the forms of each strategy compute, how they learn, and that what they have
 * learned is strategy 0's network. */
#include <math.h>

#include "help_training.h"

typedef void (*build_fn)(struct net *net);

static void build_residual(struct net *net) {
  net_residual(net, true);
}

static const build_fn builders[] = {build_residual, net_inverted, net_norms};
#define N_BUILDERS (sizeof builders / sizeof *builders)

static const mq_bn_fold folds[] = {MQ_BN_FOLD_NONE, MQ_BN_FOLD_0, MQ_BN_FOLD_1,
                                   MQ_BN_FOLD_2,    MQ_BN_FOLD_3, MQ_BN_FOLD_4};
#define N_FOLDS (sizeof folds / sizeof *folds)

static bool is_training_form(mq_bn_fold fold) {
  return fold >= MQ_BN_FOLD_1;
}

typedef enum quantized {
  FLOAT,   /* no quantizers */
  WEIGHTS, /* of weights only */
  ALL
} quantized;

/* A float model and data of its size. */
struct school {
  struct fixture fixture;
  struct net net;
};

/* Its form of strategy 0 (or none), calibrated and with quantizers, and the form to train. */
struct course {
  const struct school *school;
  mq_bn_fold fold;
  struct mq_prepared first, trained;
};

static void prepare(struct mq_prepared *prepared, const struct mq_graph *model, mq_bn_fold fold) {
  struct mq_err err = {0};
  struct mq_target *target;
  const struct mq_prepare_options options = {.bn_fold = fold, .w_bits = 4};
  assert_ok(mq_target_load(&target, MQ_SOURCE_DIRECTORY "/targets/tensorrt.yaml", &err));
  assert_ok(mq_prepare(prepared, model, target, &options, &err));
  mq_target_destroy(target);
}

static void drop_quantizers(struct mq_prepared *prepared, quantized kind) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    struct mq_point *point = &prepared->points[i];
    if (kind == ALL || (kind == WEIGHTS && point->kind == MQ_POINT_WEIGHT)) continue;
    point->quantizer = NULL;
    mq_free(point->parameters);
    point->parameters = NULL;
    mq_qparams_deinit(&point->qparams);
  }
}

/* gamma in 0.5 .. 1.5, beta in 0 .. 0.5: no channel is dead, whose variance would be 0. */
static void enliven(struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    for (int input = 1; input < 3 && node->op == MQ_OP_BatchNormalization; input++) {
      struct mq_tensor *tensor = node->inputs[input]->constant;
      for (int64_t c = 0; c < tensor->shape.dim[0]; c++) {
        float *value = &((float *)tensor->data)[c];
        *value = (input == 1 ? 0.5f : 0) + fabsf(*value) / 2;
      }
    }
  }
}

/* A float network whose running statistics are about those of its data. */
static void pretrain(struct net *net) {
  struct lesson lesson;
  struct mq_err err = {0};
  enliven(net->graph);
  lesson_begin(&lesson, net->graph, NULL, 0, NULL);
  for (int step = 0; step < 25; step++)
    lesson_step(&lesson, 0.002);
  assert_ok(mq_trainer_export(lesson.trainer, net->graph, NULL, &err));
  lesson_end(&lesson);
}

static void school_begin(struct school *s, build_fn build) {
  struct mq_err err = {0};
  *s = (struct school){0};
  build(&s->net);
  assert_ok(mq_graph_infer(s->net.graph, true, &err));
  assert_ok(mq_prepare_canonical(s->net.graph, &err));
  pretrain(&s->net);
  const struct mq_shape *input = &s->net.graph->inputs[0]->shape;
  fixture_init_random(&s->fixture, 32, input->dim[1], input->rank == 4 ? input->dim[2] : 1, 2);
}

static void school_end(struct school *s) {
  mq_graph_destroy(s->net.graph);
  fixture_deinit(&s->fixture);
}

static void course_begin(struct course *c, const struct school *school, mq_bn_fold fold, quantized kind) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  const struct mq_calibrate_options options = fixture_calibration(fixture_indices, 32);
  const struct mq_method method = {.quantizer = mq_quantizer_find("lsq"), .option = NAN};
  const struct mq_graph *model = school->net.graph;
  *c = (struct course){.school = school, .fold = fold};
  prepare(&c->first, model, is_training_form(fold) ? MQ_BN_FOLD_0 : fold);
  prepare(&c->trained, model, fold);
  assert_ok(mq_calibrate(&result, &c->first, school->fixture.data, &options, school->fixture.pool, &err));
  assert_ok(mq_assign_quantizers(&c->first, &method, &err));
  drop_quantizers(&c->first, kind);
  assert_ok(mq_copy_quantizers(&c->trained, &c->first, &err));
}

static void course_end(struct course *c) {
  mq_prepared_deinit(&c->first);
  mq_prepared_deinit(&c->trained);
}

static void lesson_of(struct lesson *lesson, struct course *c, int64_t bn_groups) {
  const struct mq_trainer_options options = {.momentum = 0.9, .bn_groups = bn_groups};
  lesson_begin(lesson, c->trained.graph, c->trained.points, c->trained.n_points, &options);
}

/* The same points over another graph. */
static void share_points(struct mq_prepared *prepared, struct mq_graph *graph,
                         const struct mq_prepared *like) {
  *prepared = (struct mq_prepared){.graph = graph, .n_points = like->n_points};
  prepared->points = mq_alloc(like->n_points + 1, sizeof *prepared->points);
  assert_non_null(prepared->points);
  for (size_t i = 0; i < like->n_points; i++) {
    prepared->points[i] = like->points[i];
    prepared->points[i].parameters = NULL;
    prepared->points[i].qparams = (struct mq_qparams){0};
  }
}

/* What is deployed: strategy 0's form of the model with the learned values; none and 0 keep their graph. */
static void deploy(struct mq_prepared *deployed, struct course *c, const struct lesson *lesson) {
  struct mq_err err = {0};
  struct mq_graph *graph = NULL;
  bool has_model_names = is_training_form(c->fold);
  assert_ok(mq_graph_clone(&graph, has_model_names ? c->school->net.graph : c->trained.graph, &err));
  assert_ok(mq_trainer_export(lesson->trainer, graph, c->trained.points, &err));
  if (has_model_names) {
    prepare(deployed, graph, MQ_BN_FOLD_0);
    mq_graph_destroy(graph);
  } else {
    share_points(deployed, graph, &c->trained);
  }
  assert_ok(mq_copy_quantizers(deployed, &c->trained, &err));
}

/* ---- The forms, against the paper's formulas ----------------------------------------------------------- */

/* One linear layer with a bias and a BN: y = BN(x W' + c), 5 inputs, 4 channels. */
enum {
  N_IN = 5,
  N_OUT = 4
};

static void build_linear(struct net *net) {
  net_begin(net, "linear");
  struct mq_value *x = net_input(net, "input", (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, N_IN}});
  net_output(net, net_bn(net, net_gemm(net, x, "fc", N_OUT), "bn"));
}

struct formula {
  const float *x;                  /* LESSON_IMAGES x N_IN */
  double w[N_OUT][N_IN], c[N_OUT]; /* as the model has them */
  double gamma[N_OUT], beta[N_OUT], mu[N_OUT], v[N_OUT];
  double scale[N_OUT]; /* of the weights' quantizer, 4 bits */
  int64_t first, n;    /* images of the group */
};

static const double epsilon = (double)1e-5f;

static double product(const double w[N_IN], const float *x) {
  double sum = 0;
  for (int i = 0; i < N_IN; i++)
    sum += w[i] * (double)x[i];
  return sum;
}

/* fq(w f) of channel o */
static void quantize(double q[N_IN], const struct formula *f, int o, double factor) {
  for (int i = 0; i < N_IN; i++) {
    double code = nearbyint((double)(float)(f->w[o][i] * factor) / f->scale[o]);
    q[i] = f->scale[o] * fmin(fmax(code, -7), 7);
  }
}

/* Mean and biased variance of what products with these weights, divided by d, plus c are in the group. */
static void statistics(double *mean, double *variance, const struct formula *f, const double w[N_IN],
                       double d, double c) {
  *mean = *variance = 0;
  for (int64_t n = f->first; n < f->first + f->n; n++)
    *mean += (product(w, f->x + n * N_IN) / d + c) / (double)f->n;
  for (int64_t n = f->first; n < f->first + f->n; n++) {
    double y = product(w, f->x + n * N_IN) / d + c - *mean;
    *variance += y * y / (double)f->n;
  }
}

/* Training's output of image n, channel o; the running statistics after the group in *mu and *v. first_v: the
 * running variance after the first group, which is the one that counts; NAN: this is the first. */
static double expected(double *mu, double *v, const struct formula *f, mq_bn_fold fold, double first_v,
                       int64_t n, int o) {
  double q[N_IN], m, s, factor = f->gamma[o] / sqrt(f->v[o] + epsilon);
  double unbiased = (double)f->n / (double)(f->n - 1);
  const float *x = f->x + n * N_IN;
  *mu = f->mu[o];
  *v = f->v[o];
  if (fold == MQ_BN_FOLD_1) {
    quantize(q, f, o, factor);
    return product(q, x) + f->beta[o] + factor * (f->c[o] - f->mu[o]);
  }
  if (fold == MQ_BN_FOLD_4) {
    quantize(q, f, o, factor);
    statistics(&m, &s, f, q, factor, f->c[o]);
  } else {
    statistics(&m, &s, f, f->w[o], 1, f->c[o]);
  }
  *mu = 0.9 * f->mu[o] + 0.1 * m;
  *v = 0.9 * f->v[o] + 0.1 * s * unbiased;
  double new_v = isnan(first_v) ? *v : first_v, batch = f->gamma[o] / sqrt(s + epsilon),
         bias = f->beta[o] + batch * (f->c[o] - m);
  if (fold == MQ_BN_FOLD_4) return (product(q, x) / factor + f->c[o] - m) * batch + f->beta[o];
  quantize(q, f, o, fold == MQ_BN_FOLD_2 ? batch : f->gamma[o] / sqrt(new_v + epsilon));
  if (fold == MQ_BN_FOLD_2) return product(q, x) + bias;
  return product(q, x) * sqrt(new_v + epsilon) / sqrt(s + epsilon) + bias;
}

static double constant_at(const struct mq_graph *graph, const char *name, int64_t i) {
  return mq_tensor_get_double(mq_graph_find_value(graph, name)->constant, i);
}

static void read_formula(struct formula *f, const struct mq_graph *model, const struct mq_prepared *trained) {
  for (int o = 0; o < N_OUT; o++) {
    for (int i = 0; i < N_IN; i++)
      f->w[o][i] = constant_at(model, "fc.weight", o * N_IN + i);
    f->c[o] = constant_at(model, "fc.bias", o);
    f->gamma[o] = constant_at(model, "bn.weight", o);
    f->beta[o] = constant_at(model, "bn.bias", o);
    f->mu[o] = constant_at(model, "bn.running_mean", o);
    f->v[o] = constant_at(model, "bn.running_var", o);
    for (size_t p = 0; p < trained->n_points; p++) {
      if (trained->points[p].kind == MQ_POINT_WEIGHT) f->scale[o] = (double)trained->points[p].parameters[o];
    }
  }
}

static void check_running(const struct lesson *lesson, const char *name, int o, double value) {
  for (size_t i = 0; i < mq_trainer_state_count(lesson->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(lesson->trainer, i);
    if (!strcmp(state.name, name)) assert_true(fabs((double)state.values[o] - value) < 1e-5);
  }
}

static void check_formula(const struct school *school, mq_bn_fold fold, int64_t groups) {
  struct course c;
  struct lesson lesson;
  float images[LESSON_IMAGES * N_IN];
  struct formula f = {.x = images, .n = LESSON_IMAGES / groups};
  course_begin(&c, school, fold, WEIGHTS);
  read_formula(&f, school->net.graph, &c.trained);
  lesson_images(images, school->net.graph);
  lesson_of(&lesson, &c, groups);
  lesson_differentiate(&lesson);
  for (int o = 0; o < N_OUT; o++) {
    double mu, v, new_v = 0;
    for (int64_t n = 0; n < LESSON_IMAGES; n++) {
      f.first = n / f.n * f.n;
      double y = expected(&mu, &v, &f, fold, n == 0 ? NAN : new_v, n, o);
      double found = (double)lesson.logits[n * N_OUT + o];
      if (n == 0) { /* running statistics follow the first group */
        check_running(&lesson, "bn.running_mean", o, mu);
        check_running(&lesson, "bn.running_var", o, v);
        new_v = v;
      }
      if (fabs(found - y) > 1e-4 * (1 + fabs(y)))
        fail_msg("folding %d, image %d, channel %d: %g, expected %g", (int)fold - 2, (int)n, o, found, y);
    }
  }
  lesson_end(&lesson);
  course_end(&c);
}

static void formulas(void **state) {
  (void)state;
  struct school school;
  school_begin(&school, build_linear);
  for (int fold = MQ_BN_FOLD_1; fold <= MQ_BN_FOLD_4; fold++) {
    check_formula(&school, (mq_bn_fold)fold, 1);
    check_formula(&school, (mq_bn_fold)fold, 2);
  }
  school_end(&school);
}

/* ---- Gradients: float training against differences of the loss ---------------------------------------- */
static void gradients(void **state) {
  (void)state;
  for (size_t b = 0; b < N_BUILDERS; b++) {
    struct school school;
    school_begin(&school, builders[b]);
    for (int fold = MQ_BN_FOLD_1; fold <= MQ_BN_FOLD_4; fold++) {
      if (test_leaves_out((int64_t)b * 4 + fold - MQ_BN_FOLD_1)) continue;
      struct course c;
      struct lesson lesson;
      course_begin(&c, &school, (mq_bn_fold)fold, FLOAT);
      lesson_of(&lesson, &c, fold % 2 ? 1 : 2);
      check_directions(&lesson, 0.02);
      lesson_end(&lesson);
      course_end(&c);
    }
    school_end(&school);
  }
}

/* ScaleChannels where nothing behind it makes up for a wrong factor: y = (x W') / f + shift, then weights
 * divided by another factor. */
static void build_scaled(struct net *net) {
  net_begin(net, "scaled");
  struct mq_value *x = net_input(net, "input", (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, N_IN}});
  struct mq_value *factors[2], *weight;
  static const char *const names[2] = {"first", "second"};
  x = net_gemm(net, x, "fc1", 6);
  for (int i = 0; i < 2; i++) {
    char text[64];
    snprintf(text, sizeof text, "%s.variance", names[i]);
    struct mq_value *variance = net_vector(net, text, 6, 0.5f, 2);
    snprintf(text, sizeof text, "%s.gamma", names[i]);
    struct mq_value *inputs[] = {variance, net_vector(net, text, 6, 0.5f, 2)};
    factors[i] = net_node(net, MQ_OP_FoldFactor, names[i], inputs, 2, variance->shape);
  }
  struct mq_value *scaled[] = {x, factors[0], net_vector(net, "shift", 6, -1, 1)};
  x = net_node(net, MQ_OP_ScaleChannels, "scale", scaled, 3, x->shape);
  net_check(net, mq_node_set_int(net->graph, x->producer, "divides", 1, &net->err));
  weight = net_constant(net, "fc2.weight", (struct mq_shape){.rank = 2, .dim = {N_OUT, 6}}, -1, 1);
  struct mq_value *divided[] = {weight, factors[1]};
  weight = net_node(net, MQ_OP_ScaleChannels, "divide", divided, 2, weight->shape);
  net_check(net, mq_node_set_int(net->graph, weight->producer, "divides", 1, &net->err));
  struct mq_value *inputs[] = {net_unary(net, MQ_OP_Relu, "relu", x), weight};
  x = net_node(net, MQ_OP_Gemm, "fc2", inputs, 2, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, N_OUT}});
  net_check(net, mq_node_set_int(net->graph, x->producer, "transB", 1, &net->err));
  net_output(net, x);
}

static void scales_alone(void **state) {
  (void)state;
  struct net net;
  struct lesson lesson;
  struct mq_err err = {0};
  build_scaled(&net);
  assert_ok(mq_graph_infer(net.graph, true, &err));
  lesson_begin(&lesson, net.graph, NULL, 0, NULL);
  check_directions(&lesson, 0.02);
  lesson_end(&lesson);
  mq_graph_destroy(net.graph);
}

/* ---- Learning, and what remains of it ------------------------------------------------------------------ */

/* The deployed form gives the training form's outputs, trained on and as the inference engine's simulation.
 */
static void check_deployed(struct course *c, struct lesson *lesson, quantized kind) {
  struct lesson again;
  struct mq_prepared deployed;
  struct mq_err err = {0};
  float logits[LESSON_IMAGES * LESSON_CLASSES];
  lesson_evaluate(lesson);
  deploy(&deployed, c, lesson);
  lesson_begin(&again, deployed.graph, deployed.points, deployed.n_points, NULL);
  lesson_evaluate(&again);
  check_logits(again.logits, lesson->logits, lesson->n_classes, kind == ALL);
  if (c->fold <= MQ_BN_FOLD_2 && kind != ALL) /* the same folded weights and biases, bit for bit */
    assert_memory_equal(again.logits, lesson->logits, sizeof again.logits);
  assert_ok(mq_freeze_quantizers(&deployed, MQ_BIAS_FLOAT, &err));
  infer_lesson(logits, deployed.graph, deployed.points, deployed.n_points);
  check_logits(logits, lesson->logits, lesson->n_classes, kind == ALL);
  lesson_end(&again);
  mq_prepared_deinit(&deployed);
}

static void check_course(const struct school *school, mq_bn_fold fold, quantized kind, int64_t bn_groups) {
  struct course c;
  struct lesson lesson;
  course_begin(&c, school, fold, kind);
  lesson_of(&lesson, &c, bn_groups);
  double first = lesson_step(&lesson, 0.005), least = first;
  for (int64_t step = 0; step < test_effort(10); step++)
    least = fmin(least, lesson_step(&lesson, 0.005));
  if (!(least < 0.99 * first) && !test_is_light())
    fail_msg("folding %d: loss %g does not fall from %g", (int)fold - 2, least, first);
  check_deployed(&c, &lesson, kind);
  lesson_end(&lesson);
  course_end(&c);
}

static void check_school(size_t builder) {
  static const struct {
    quantized kind;
    int64_t bn_groups;
  } courses[] = {{FLOAT, 1}, {WEIGHTS, 1}, {ALL, 1}, {ALL, 2}};
  struct school school;
  school_begin(&school, builders[builder]);
  for (size_t f = 0; f < N_FOLDS; f++)
    for (size_t i = 0; i < 4; i++)
      if (!test_leaves_out((int64_t)((builder * N_FOLDS + f) * 4 + i)))
        check_course(&school, folds[f], courses[i].kind, courses[i].bn_groups);
  school_end(&school);
}

static void residual(void **state) {
  (void)state;
  check_school(0);
}

static void inverted(void **state) {
  (void)state;
  check_school(1);
}

static void norms(void **state) {
  (void)state;
  check_school(2);
}

/* Without quantizers 2, 3 and 4 are batch normalisation: the loss is that of the unfolded network. */
static void float_forms_are_batch_norm(void **state) {
  (void)state;
  struct school school;
  school_begin(&school, net_norms);
  double unfolded = 0;
  for (size_t f = 0; f < N_FOLDS; f++) {
    struct course c;
    struct lesson lesson;
    if (folds[f] == MQ_BN_FOLD_0 || folds[f] == MQ_BN_FOLD_1) continue;
    course_begin(&c, &school, folds[f], FLOAT);
    lesson_of(&lesson, &c, 2);
    double loss = lesson_differentiate(&lesson);
    if (folds[f] == MQ_BN_FOLD_NONE) unfolded = loss;
    assert_true(fabs(loss - unfolded) < 1e-5 * unfolded);
    lesson_end(&lesson);
    course_end(&c);
  }
  school_end(&school);
}

/* A model and another of its forms. */
static void other_points_are_refused(void **state) {
  (void)state;
  struct school a, b;
  struct mq_prepared from, to;
  struct mq_err err = {0};
  school_begin(&a, build_residual);
  school_begin(&b, net_inverted);
  prepare(&from, a.net.graph, MQ_BN_FOLD_0);
  prepare(&to, b.net.graph, MQ_BN_FOLD_1);
  assert_int_equal(mq_copy_quantizers(&to, &from, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "points, expected"));
  mq_prepared_deinit(&to);
  prepare(&to, a.net.graph, MQ_BN_FOLD_1);
  to.points[1].tensor = "other";
  assert_int_equal(mq_copy_quantizers(&to, &from, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "point 1 is other"));
  mq_prepared_deinit(&to);
  mq_prepared_deinit(&from);
  school_end(&a);
  school_end(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(formulas),  cmocka_unit_test(float_forms_are_batch_norm),
      cmocka_unit_test(gradients), cmocka_unit_test(scales_alone),
      cmocka_unit_test(residual),  cmocka_unit_test(inverted),
      cmocka_unit_test(norms),     cmocka_unit_test(other_points_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
