/* Layers of every shape and arithmetic beside the reference, with numbers that sit on rounding ties and at
 * the ends of the codes. */
#include "help_runtime.h"
#include "program/help_program.h"

/* What a layer is made of. */
struct shape {
  const char *name;
  int32_t height, width, inputs, outputs, groups, kernel, stride, dilation, pad;
};

static const struct shape shapes[] = {
    {"3x3", 9, 11, 5, 70, 1, 3, 1, 1, 1},
    {"3x3 stride 2", 12, 9, 16, 33, 1, 3, 2, 1, 1},
    {"1x1", 8, 15, 24, 96, 1, 1, 1, 1, 0},
    {"1x1 stride 2", 7, 7, 64, 48, 1, 1, 2, 1, 0},
    {"stem", 21, 21, 3, 32, 1, 7, 2, 1, 3},
    {"dilated", 10, 10, 7, 16, 1, 3, 1, 2, 2},
    {"no pads", 6, 30, 4, 16, 1, 5, 1, 1, 0},
    {"grouped", 8, 8, 24, 36, 3, 3, 1, 1, 1},
    {"one each", 5, 6, 6, 12, 6, 3, 1, 1, 1},
    {"depthwise", 14, 14, 40, 40, 40, 3, 1, 1, 1},
    {"depthwise 2", 13, 26, 96, 96, 96, 3, 2, 1, 1},
    {"depthwise 5x5", 8, 8, 9, 9, 9, 5, 1, 1, 2},
    {"depthwise 5x5 stride 2", 11, 9, 80, 80, 80, 5, 2, 1, 2},
    {"depthwise, odd", 7, 9, 100, 100, 100, 3, 1, 1, 1},
    {"depthwise, one row", 3, 6, 130, 130, 130, 3, 1, 1, 0},
    {"dilated depthwise", 9, 9, 17, 17, 17, 3, 1, 2, 2},
    {"several chunks", 5, 112, 4, 16, 1, 3, 1, 1, 1},
    {"rows of 16", 3, 32, 6, 13, 1, 3, 1, 1, 1},
    {"rows of 14", 2, 28, 9, 16, 1, 1, 1, 1, 0},
    {"rows of 8", 7, 15, 4, 11, 1, 3, 2, 1, 1},
    {"rows of 14, 2 blocks", 2, 14, 7, 29, 1, 3, 1, 1, 1},
    {"rows of 8, 2 blocks", 3, 24, 3, 32, 1, 1, 1, 1, 0},
    {"rows of 8, 3 blocks", 2, 16, 4, 47, 1, 3, 1, 1, 1},
    {"rows of 7, 3 blocks", 13, 13, 8, 48, 1, 1, 2, 1, 0},
    {"rows of 6, 4 blocks", 2, 12, 10, 63, 1, 1, 1, 1, 0},
    {"rows of 4, 4 blocks", 3, 8, 4, 64, 1, 3, 1, 1, 1},
    {"winograd", 11, 12, 32, 33, 1, 3, 1, 1, 1},
    {"winograd, no pads", 14, 13, 64, 48, 1, 3, 1, 1, 0},
};
#define N_SHAPES (sizeof shapes / sizeof shapes[0])

static const struct shape *find_shape(const char *name) {
  size_t i = 0;
  while (strcmp(shapes[i].name, name) != 0)
    i++;
  return &shapes[i];
}

/* One layer; the rest comes from the seed. */
struct maker {
  struct help help;
  const struct shape *shape;
  mq_arithmetic_kind kind;
  bool has_ties, has_w_zero, has_shortcut, is_float, is_huge; /* is_huge: in steps of the output */
};

static bool is_pot(mq_arithmetic_kind kind) {
  return kind == MQ_ARITHMETIC_POT_SHIFT || kind == MQ_ARITHMETIC_POT_SHIFT_EVEN;
}

static uint32_t make_codes(struct maker *m, int32_t h, int32_t w, int32_t c, float scale,
                           bool may_be_narrow) {
  struct help *help = &m->help;
  const mq_program_type type = help_random(help, 2) == 0 ? MQ_PROGRAM_S8 : MQ_PROGRAM_U8;
  const int32_t middle = type == MQ_PROGRAM_U8 ? 128 : 0;
  const bool has_zero = !is_pot(m->kind);
  const uint32_t t =
      help_codes(help, type, DIMS(h, w, c), scale, has_zero ? middle + (int)help_random(help, 9) - 4 : 0);
  if (may_be_narrow && help_random(help, 3) == 0) { /* 4 bits */
    help->tensors[t].code_min =
        help->tensors[t].zero_point - (help->tensors[t].zero_point == 0 && type == MQ_PROGRAM_U8 ? 0 : 8);
    help->tensors[t].code_max = help->tensors[t].code_min + 15;
  }
  return t;
}

/* Small weights give sums of a few steps, a half step among them; large ones saturate. */
static void set_weights(struct maker *m, struct mq_program_step *step, int64_t n_outputs, int64_t n) {
  int8_t *weights = (int8_t *)(uintptr_t)step->as.conv.weights;
  struct mq_program_channel *channels = (struct mq_program_channel *)(uintptr_t)step->as.conv.channels;
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_tensor *x = &m->help.tensors[step->inputs[0]], *y = &m->help.tensors[step->output];
  for (int64_t o = 0; o < n_outputs; o++) {
    const bool is_large = help_random(&m->help, 4) == 0;
    const float w_scale = m->has_ties ? 0x1p-6f : 0.01f * help_uniform(&m->help, 0.5f, 2);
    const struct mq_program_layer layer = {
        .x_scale = x->scale,
        .y_scale = m->is_float ? 0 : y->scale,
        .w_scale = is_pot(m->kind) ? ldexpf(1, -(int)help_random(&m->help, 9)) : w_scale,
        .w_zero_point = m->has_w_zero ? (int)help_random(&m->help, 256) - 128 : 0,
        .bias = (double)help_uniform(&m->help, -1, 1)};
    for (int64_t i = 0; i < n; i++)
      weights[o * n + i] =
          (int8_t)(is_large ? (int)help_random(&m->help, 2) * 255 - 128 : (int)help_random(&m->help, 5) - 2);
    if (arithmetic->make_channel(&channels[o], &layer, &m->help.err) != MQ_PROGRAM_OK)
      fail_msg("%s", m->help.err.message);
    /* A bias of half a step of the output, as near as it can be. */
    if (arithmetic->has_float_bias && m->has_ties && o % 2 == 0)
      channels[o].offset = m->kind == MQ_ARITHMETIC_TRT ? 2.5f * y->scale : 0.5f / channels[o].factor;
  }
}

static void make_layer(struct maker *m) {
  const struct shape *s = m->shape;
  struct help *help = &m->help;
  const int32_t extent = (s->kernel - 1) * s->dilation + 1;
  const int32_t h = (s->height + 2 * s->pad - extent) / s->stride + 1;
  const int32_t w = (s->width + 2 * s->pad - extent) / s->stride + 1;
  const float y_scale = m->has_ties ? 0x1p-4f : m->is_huge ? 0x1p-24f : help_uniform(help, 0.02f, 0.2f);
  const uint32_t x = help_input(help, make_codes(m, s->height, s->width, s->inputs, 0x1p-5f, true));
  const uint32_t y = m->is_float
                         ? help_floats(help, DIMS(h, w, s->outputs))
                         : make_codes(m, h, w, s->outputs, is_pot(m->kind) ? 0x1p-4f : y_scale, false);
  const int inputs[] = {
      (int)x, m->has_shortcut ? (int)help_input(help, make_codes(m, h, w, s->outputs, 0.07f, true)) : -1, -1};
  struct mq_program_step *step = help_step(help, MQ_STEP_CONV, m->kind, y, inputs);
  step->as.conv =
      (struct mq_program_conv){.window = help_window(s->kernel, s->stride, s->pad), .groups = s->groups};
  step->as.conv.window.dilation[0] = step->as.conv.window.dilation[1] = s->dilation;
  help_layer(help, step, 0x1p-6f, false);
  set_weights(m, step, s->outputs, (int64_t)s->kernel * s->kernel * s->inputs / s->groups);
  const bool has_clip = help_random(help, 2) == 0;
  if (m->is_float) step->lo = step->hi = 0;
  if (has_clip && (m->is_float || m->kind == MQ_ARITHMETIC_TRT)) {
    step->clip_lo = 0;
    step->clip_hi = 3.3f;
  } else if (has_clip) {
    mq_program_clamp(&step->lo, &step->hi, &help->tensors[y], 0, 3.3f);
  }
  help_output(help, y);
  if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
}

static void check(struct maker m, uint64_t seed) {
  char text[160];
  help_begin(&m.help, seed);
  m.help.program.arithmetic = m.kind;
  m.help.program.tensors = m.help.tensors;
  m.help.program.steps = m.help.steps;
  make_layer(&m);
  snprintf(text, sizeof text, "%s, %s%s%s%s%s", m.shape->name, mq_program_arithmetic_get(m.kind)->name,
           m.has_ties ? ", ties" : "", m.has_w_zero ? ", zero points" : "",
           m.has_shortcut ? ", shortcut" : "",
           m.is_float  ? ", to floats"
           : m.is_huge ? ", huge"
                       : "");
  runtime_compare_all(text, &m.help.program, true);
  help_end(&m.help);
}

static void every_shape_and_arithmetic(void **state) {
  (void)state;
  static struct maker m; /* large */
  uint64_t seed = 1;
  for (size_t s = 0; s < N_SHAPES; s++)
    for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++)
      for (int form = 0; form < 4; form++) {
        if (test_leaves_out(((int64_t)s * MQ_ARITHMETIC_END + kind) * 4 + form)) continue;
        m = (struct maker){.shape = &shapes[s], .kind = (mq_arithmetic_kind)kind, .has_ties = form % 2 == 0};
        m.is_float = kind == MQ_ARITHMETIC_DEQUANT_F32 || (kind == MQ_ARITHMETIC_TRT && form == 3);
        m.has_w_zero = form >= 2 && !is_pot(m.kind);
        m.has_shortcut = kind == MQ_ARITHMETIC_TRT && !m.is_float && form < 3;
        check(m, seed++);
      }
}

/* Values that fit no integer before they are clamped. */
static void huge_values(void **state) {
  (void)state;
  static const char *const names[] = {"1x1", "depthwise 2"};
  static struct maker m;
  for (uint64_t i = 0; i < 4; i++) {
    m = (struct maker){.shape = find_shape(names[i / 2]),
                       .kind = i % 2 == 0 ? MQ_ARITHMETIC_FBGEMM : MQ_ARITHMETIC_TRT,
                       .is_huge = true};
    check(m, i + 1);
  }
}

/* Additions: every pair of codes meets. */
static void additions(void **state) {
  (void)state;
  static struct maker m;
  for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++)
    for (int form = 0; form < 6; form++) {
      if (test_leaves_out(kind * 6 + form)) continue;
      struct help *help = &m.help;
      char text[64];
      m = (struct maker){.kind = (mq_arithmetic_kind)kind};
      help_begin(help, (uint64_t)form + 77);
      help->program.tensors = help->tensors;
      help->program.steps = help->steps;
      const bool is_even = form % 2 == 0 || is_pot(m.kind);
      const float s = is_even ? 0x1p-5f : 0.043f;
      const uint32_t a = help_input(help, make_codes(&m, 9, 29, 83, s, false));
      const uint32_t b = help_input(help, make_codes(&m, 9, 29, 83, is_even ? s / 2 : s * 1.37f, false));
      const uint32_t y = make_codes(&m, 9, 29, 83, is_even ? s * 2 : s * 1.9f, false);
      struct mq_program_step *step = help_step(help, MQ_STEP_ADD, m.kind, y, INPUTS((int)a, (int)b));
      if (form % 3 == 1 && kind == MQ_ARITHMETIC_TRT) step->clip_lo = 0;
      if (form % 3 == 1 && kind != MQ_ARITHMETIC_TRT)
        mq_program_clamp(&step->lo, &step->hi, &help->tensors[y], 0, INFINITY);
      help_output(help, y);
      if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
      snprintf(text, sizeof text, "add, %s, %d", mq_program_arithmetic_get(m.kind)->name, form);
      runtime_compare_all(text, &help->program, true);
      help_end(help);
    }
}

/* Sums at the ends of what 26 bits hold, where the fast executor may still take fewer products, and one
 * weight beyond: every code is 255, and a channel's first `n` weights are `weight`, the others 0. */
static void long_sums(void **state) {
  (void)state;
  static const struct { int weight, n; } sums[] = {{127, 1036}, {127, 1037}, {-128, 1028}, {-128, 1029}};
  const struct shape shape = {"long sums", 10, 14, 128, 32, 1, 3, 1, 1, 0};
  static struct maker m;
  for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
    char text[64];
    m = (struct maker){.shape = &shape, .kind = MQ_ARITHMETIC_DEQUANT_F32, .is_float = true};
    help_begin(&m.help, 1);
    m.help.program.arithmetic = m.kind;
    m.help.program.tensors = m.help.tensors;
    m.help.program.steps = m.help.steps;
    make_layer(&m);
    struct mq_program_tensor *x = &m.help.tensors[m.help.steps[0].inputs[0]];
    *x = (struct mq_program_tensor){
        .type = MQ_PROGRAM_U8, .rank = x->rank, .name = x->name, .scale = x->scale};
    memcpy(x->dim, DIMS(shape.height, shape.width, shape.inputs), 3 * sizeof *x->dim);
    x->code_min = x->code_max = x->zero_point = 255;
    int8_t *weights = (int8_t *)(uintptr_t)m.help.steps[0].as.conv.weights;
    for (int o = 0; o < shape.outputs; o++)
      for (int k = 0; k < 9 * shape.inputs; k++)
        weights[o * 9 * shape.inputs + k] = (int8_t)(k < sums[i].n ? sums[i].weight : 0);
    if (mq_program_finish(&m.help.program, &m.help.err) != MQ_PROGRAM_OK) fail_msg("%s", m.help.err.message);
    snprintf(text, sizeof text, "long sums, %d of %d", sums[i].n, sums[i].weight);
    runtime_compare_all(text, &m.help.program, true);
    help_end(&m.help);
  }
}

/* The same bits with weights in their own size. */
static void less_memory(void **state) {
  (void)state;
  static struct maker m;
  static unsigned char codes[11 * 12 * 32], found[2][11 * 12 * 33];
  size_t weights_bytes[2];
  struct mq_err err = {0};
  m = (struct maker){.shape = find_shape("winograd"), .kind = MQ_ARITHMETIC_FBGEMM};
  help_begin(&m.help, 3);
  m.help.program.arithmetic = m.kind;
  m.help.program.tensors = m.help.tensors;
  m.help.program.steps = m.help.steps;
  make_layer(&m);
  const struct mq_program_tensor *x = &m.help.tensors[m.help.program.inputs[0]];
  for (size_t i = 0; i < sizeof codes; i++)
    codes[i] = (unsigned char)(x->code_min +
                               (int32_t)help_random(&m.help, (uint32_t)(x->code_max - x->code_min + 1)));
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  for (int saves = 0; saves < 2; saves++) {
    const struct mq_runtime_options options = {.saves_memory = saves == 1};
    struct mq_runtime *runtime = NULL;
    const struct mq_program_run run = {
        .inputs = (const void *const[]){codes}, .outputs = (void *[]){found[saves]}, .n_images = 1};
    assert_ok(mq_runtime_create(&runtime, &m.help.program, &options, &err));
    assert_ok(mq_runtime_run(runtime, &run, &err));
    weights_bytes[saves] = mq_runtime_get_info(runtime).weights_bytes;
    mq_runtime_destroy(runtime);
  }
  assert_memory_equal(found[0], found[1], sizeof found[0]);
  assert_true(weights_bytes[1] < weights_bytes[0] / 3);
  help_end(&m.help);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(long_sums),
      cmocka_unit_test(less_memory),
      cmocka_unit_test(every_shape_and_arithmetic),
      cmocka_unit_test(huge_values),
      cmocka_unit_test(additions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
