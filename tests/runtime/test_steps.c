/* Steps beside layers of codes: transposed convolutions, layers on floats, operands that repeat, functions,
 * means and moves. Each has a loop of its own and the reference's bits. */
#include "help_runtime.h"
#include "program/help_program.h"

static void begin(struct help *help, uint64_t seed, mq_arithmetic_kind kind) {
  help_begin(help, seed);
  help->program.arithmetic = kind;
  help->program.tensors = help->tensors;
  help->program.steps = help->steps;
}

/* The last step's output is the network's; no step is left to the reference. */
static void check(struct help *help, const char *what, uint32_t y) {
  struct mq_err err = {0};
  struct mq_runtime *runtime;
  help_output(help, y);
  if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK)
    fail_msg("%s: %s", what, help->err.message);
  assert_ok(mq_runtime_create(&runtime, &help->program, NULL, &err));
  if (mq_runtime_get_info(runtime).n_reference != 0) fail_msg("%s: left to the reference", what);
  mq_runtime_destroy(runtime);
  runtime_compare_all(what, &help->program, true);
  help_end(help);
}

/* ---- Windows ----------------------------------------------------------------------------------------------
 */
struct shape {
  const char *name;
  int32_t height, width, inputs, outputs, groups, kernel, stride, dilation, pad, more; /* more: at the end */
};

static int32_t size_of(const struct shape *s, int32_t in, bool is_transposed) {
  const int32_t extent = (s->kernel - 1) * s->dilation + 1;
  return is_transposed ? (in - 1) * s->stride + extent - 2 * s->pad + s->more
                       : (in + 2 * s->pad - extent) / s->stride + 1;
}

static struct mq_program_window window_of(const struct shape *s) {
  struct mq_program_window window = help_window(s->kernel, s->stride, s->pad);
  for (int axis = 0; axis < 2; axis++) {
    window.dilation[axis] = s->dilation;
    window.pad_end[axis] = s->pad - s->more;
  }
  return window;
}

static const struct shape transposed[] = {
    {"2x2 stride 2", 5, 7, 24, 40, 1, 2, 2, 1, 0, 0},
    {"4x4 stride 2", 6, 5, 5, 70, 1, 4, 2, 1, 1, 0},
    {"3x3 stride 2, output pad", 4, 9, 16, 16, 1, 3, 2, 1, 1, 1},
    {"3x3", 5, 5, 7, 9, 1, 3, 1, 1, 1, 0},
    {"1x1 stride 3", 4, 4, 8, 12, 1, 1, 3, 1, 0, 2}, /* most outputs have no tap */
    {"grouped", 4, 6, 12, 42, 2, 3, 2, 1, 0, 0},
    {"depthwise", 5, 4, 18, 18, 18, 4, 2, 1, 1, 0},
    {"dilated", 5, 6, 4, 8, 1, 3, 2, 3, 2, 0},
    {"wide", 2, 40, 64, 96, 1, 2, 2, 1, 0, 0},
};

static uint32_t make_codes(struct help *help, const int32_t *dims, float scale, mq_arithmetic_kind kind) {
  const bool is_pot = kind == MQ_ARITHMETIC_POT_SHIFT || kind == MQ_ARITHMETIC_POT_SHIFT_EVEN;
  const mq_program_type type = help_random(help, 2) == 0 ? MQ_PROGRAM_S8 : MQ_PROGRAM_U8;
  return help_codes(help, type, dims, scale, is_pot ? 0 : (int32_t)help_random(help, 100));
}

static void transposed_convolutions(void **state) {
  (void)state;
  static struct help help;
  for (size_t i = 0; i < sizeof transposed / sizeof transposed[0]; i++)
    for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
      const struct shape *s = &transposed[i];
      const int32_t h = size_of(s, s->height, true), w = size_of(s, s->width, true);
      const bool is_float = kind == MQ_ARITHMETIC_DEQUANT_F32;
      const bool is_pot = kind == MQ_ARITHMETIC_POT_SHIFT || kind == MQ_ARITHMETIC_POT_SHIFT_EVEN;
      char text[128];
      if (test_leaves_out((int64_t)i * MQ_ARITHMETIC_END + kind)) continue;
      begin(&help, i * 100 + (size_t)kind, (mq_arithmetic_kind)kind);
      const int32_t *in = DIMS(s->height, s->width, s->inputs), *out = DIMS(h, w, s->outputs);
      const uint32_t x = help_input(&help, make_codes(&help, in, 0x1p-5f, (mq_arithmetic_kind)kind));
      const uint32_t y = is_float ? help_floats(&help, out)
                                  : make_codes(&help, out, is_pot ? 0x1p-2f : 0.3f, (mq_arithmetic_kind)kind);
      const bool has_shortcut = kind == MQ_ARITHMETIC_TRT && i % 2 == 0;
      const int inputs[] = {
          (int)x,
          has_shortcut ? (int)help_input(&help, make_codes(&help, out, 0.07f, (mq_arithmetic_kind)kind)) : -1,
          -1};
      struct mq_program_step *step = help_step(&help, MQ_STEP_CONV, (mq_arithmetic_kind)kind, y, inputs);
      step->as.conv =
          (struct mq_program_conv){.window = window_of(s), .groups = s->groups, .is_transposed = true};
      help_layer(&help, step, 0x1p-7f, !is_pot && (i + (size_t)kind) % 2 == 0);
      snprintf(text, sizeof text, "transposed, %s, %s", s->name,
               mq_program_arithmetic_get((mq_arithmetic_kind)kind)->name);
      check(&help, text, y);
    }
}

/* ---- Layers on floats
 * -------------------------------------------------------------------------------------- */
static const struct shape plain[] = {
    {"stem", 15, 17, 3, 33, 1, 7, 2, 1, 3, 0},      {"3x3", 7, 11, 9, 16, 1, 3, 1, 1, 1, 0},
    {"1x1", 5, 9, 40, 50, 1, 1, 1, 1, 0, 0},        {"grouped", 6, 6, 12, 36, 2, 3, 1, 1, 1, 0},
    {"depthwise", 8, 9, 37, 37, 37, 3, 1, 1, 1, 0}, {"depthwise 2", 9, 9, 16, 16, 16, 5, 2, 1, 2, 0},
    {"two each", 5, 6, 6, 12, 6, 3, 1, 1, 1, 0},    {"dilated", 8, 8, 4, 5, 1, 3, 1, 2, 2, 0},
};

static void float_layer(const struct shape *s, bool is_transposed, uint64_t seed) {
  static struct help help;
  char text[128];
  begin(&help, seed, MQ_ARITHMETIC_ORT);
  const int32_t h = size_of(s, s->height, is_transposed), w = size_of(s, s->width, is_transposed);
  const uint32_t x = help_input(&help, help_floats(&help, DIMS(s->height, s->width, s->inputs)));
  const uint32_t y = help_floats(&help, DIMS(h, w, s->outputs));
  struct mq_program_step *step = help_step(&help, MQ_STEP_CONV_FLOAT, 0, y, INPUTS((int)x));
  step->as.conv_float = (struct mq_program_conv_float){
      .window = window_of(s), .groups = s->groups, .is_transposed = is_transposed};
  help_layer_float(&help, step);
  if (seed % 2 == 0) step->clip_lo = 0;
  snprintf(text, sizeof text, "floats, %s%s", s->name, is_transposed ? ", transposed" : "");
  check(&help, text, y);
}

static void layers_of_floats(void **state) {
  (void)state;
  static struct help help;
  for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
    float_layer(&plain[i], false, i);
  for (size_t i = 0; i < sizeof transposed / sizeof transposed[0]; i++)
    if (!test_leaves_out((int64_t)i)) float_layer(&transposed[i], true, i + 1);
  for (int32_t rows = 1; rows < 8; rows += 6) {
    begin(&help, (uint64_t)rows, MQ_ARITHMETIC_ORT);
    const uint32_t x = help_input(&help, help_floats(&help, rows > 1 ? DIMS(2, rows, 70) : DIMS(70)));
    const uint32_t y = help_floats(&help, rows > 1 ? DIMS(2, rows, 43) : DIMS(43));
    struct mq_program_step *step = help_step(&help, MQ_STEP_LINEAR_FLOAT, 0, y, INPUTS((int)x));
    step->as.conv_float = (struct mq_program_conv_float){.window = help_window(1, 1, 0), .groups = 1};
    help_layer_float(&help, step);
    check(&help, "floats, linear", y);
  }
}

/* ---- Two operands
 * ------------------------------------------------------------------------------------------ */
static const int32_t repeats[][5] = {{7, 9, 21, 0}, {1, 1, 21, 0}, {7, 9, 1, 0},
                                     {1, 9, 21, 0}, {7, 1, 1, 0},  {1, 1, 1, 0}};
#define N_REPEATS (sizeof repeats / sizeof repeats[0])

static void operands_that_repeat(void **state) {
  (void)state;
  static struct help help;
  for (size_t i = 0; i < N_REPEATS; i++)
    for (int kind = 1; kind < MQ_PROGRAM_BINARY_END; kind++) {
      char text[128];
      begin(&help, i * 10 + (size_t)kind, MQ_ARITHMETIC_ORT);
      const bool is_first = kind % 2 == 0; /* it is operand 0 that repeats */
      const int32_t *dims[2] = {is_first ? repeats[i] : repeats[0], is_first ? repeats[0] : repeats[i]};
      const uint32_t a = help_input(&help, help_floats(&help, dims[0]));
      const uint32_t b = help_input(&help, help_floats(&help, dims[1]));
      const uint32_t y = help_floats(&help, repeats[0]);
      struct mq_program_step *step = help_step(&help, MQ_STEP_BINARY, 0, y, INPUTS((int)a, (int)b));
      step->as.binary.kind = (mq_program_binary)kind;
      if (i % 2 == 0) step->clip_hi = 3;
      snprintf(text, sizeof text, "binary %d, %zu", kind, i);
      check(&help, text, y);
    }
}

static void sums_that_repeat(void **state) {
  (void)state;
  static struct help help;
  for (size_t i = 1; i < N_REPEATS; i++)
    for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
      char text[128];
      if (test_leaves_out((int64_t)i * MQ_ARITHMETIC_END + kind)) continue;
      begin(&help, i * 10 + (size_t)kind, (mq_arithmetic_kind)kind);
      const bool is_first = kind % 2 == 0;
      const int32_t *dims[2] = {is_first ? repeats[i] : repeats[0], is_first ? repeats[0] : repeats[i]};
      const uint32_t a = help_input(&help, make_codes(&help, dims[0], 0x1p-5f, (mq_arithmetic_kind)kind));
      const uint32_t b = help_input(&help, make_codes(&help, dims[1], 0x1p-6f, (mq_arithmetic_kind)kind));
      const uint32_t y = make_codes(&help, repeats[0], 0x1p-4f, (mq_arithmetic_kind)kind);
      help_step(&help, MQ_STEP_ADD, (mq_arithmetic_kind)kind, y, INPUTS((int)a, (int)b));
      snprintf(text, sizeof text, "add, %s, %zu", mq_program_arithmetic_get((mq_arithmetic_kind)kind)->name,
               i);
      check(&help, text, y);
    }
}

/* ---- One operand
 * ------------------------------------------------------------------------------------------- */
static void functions_and_means(void **state) {
  (void)state;
  static struct help help;
  for (int kind = MQ_PROGRAM_SIGMOID; kind < MQ_PROGRAM_UNARY_END; kind++) {
    begin(&help, (uint64_t)kind, MQ_ARITHMETIC_ORT);
    const uint32_t x = help_input(&help, help_floats(&help, DIMS(7, 9, 21)));
    const uint32_t large = help_floats(&help, DIMS(7, 9, 21)), y = help_floats(&help, DIMS(7, 9, 21));
    /* As far as the exponential's ends. */
    struct mq_program_step *step = help_step(&help, MQ_STEP_BINARY, 0, large, INPUTS((int)x, (int)x));
    step->as.binary.kind = MQ_PROGRAM_MUL;
    step = help_step(&help, MQ_STEP_UNARY, 0, y, INPUTS(kind % 2 ? (int)x : (int)large));
    step->as.unary.kind = (mq_program_unary)kind;
    step->as.unary.alpha = 0.3f;
    step->as.unary.beta = 0.4f;
    check(&help, "unary", y);
  }
  begin(&help, 3, MQ_ARITHMETIC_ORT);
  const uint32_t x = help_input(&help, help_floats(&help, DIMS(7, 9, 21)));
  const uint32_t y = help_floats(&help, DIMS(1, 1, 21));
  help_step(&help, MQ_STEP_MEAN, 0, y, INPUTS((int)x));
  check(&help, "mean of floats", y);
}

/* ---- Moves
 * ------------------------------------------------------------------------------------------------- */
static uint32_t make(struct help *help, mq_program_type type, const int32_t *dims) {
  return type == MQ_PROGRAM_F32 ? help_floats(help, dims) : help_codes(help, type, dims, 0.1f, 3);
}

/* A layer of 3x3 behind it, whose pads the output has to have. */
static uint32_t read_windows(struct help *help, uint32_t x) {
  const struct mq_program_tensor *t = &help->tensors[x];
  const uint32_t y = help_codes(help, MQ_PROGRAM_S8, DIMS(t->dim[0], t->dim[1], 5), 0.5f, 1);
  struct mq_program_step *step = help_step(help, MQ_STEP_CONV, MQ_ARITHMETIC_ORT, y, INPUTS((int)x));
  step->as.conv = (struct mq_program_conv){.window = help_window(3, 1, 1), .groups = 1};
  help_layer(help, step, 0.01f, false);
  return y;
}

static void moves(void **state) {
  (void)state;
  static struct help help;
  static const mq_program_type types[] = {MQ_PROGRAM_S8, MQ_PROGRAM_U8, MQ_PROGRAM_S16, MQ_PROGRAM_F32};
  static const int32_t index[] = {0, 0, 1, 1, 2, 2, 4, 4};
  for (size_t i = 0; i < 4; i++)
    for (int form = 0; form < 8; form++) {
      char text[64];
      begin(&help, i * 8 + (size_t)form, MQ_ARITHMETIC_ORT);
      const bool has_four = form == 7;
      const uint32_t x =
          help_input(&help, make(&help, types[i], has_four ? DIMS(3, 2, 5, 6) : DIMS(5, 6, 12)));
      static const int32_t dims[8][5] = {{8, 6, 12, 0}, {5, 8, 12, 0}, {5, 6, 8, 0},  {5, 6, 4, 0},
                                         {3, 2, 3, 0},  {12, 5, 6, 0}, {6, 5, 12, 0}, {2, 6, 3, 5, 0}};
      const mq_step_kind kind = form < 3 ? MQ_STEP_GATHER : form < 5 ? MQ_STEP_SLICE : MQ_STEP_TRANSPOSE;
      uint32_t y = make(&help, types[i], dims[form]);
      struct mq_program_step *step = help_step(&help, kind, 0, y, INPUTS((int)x));
      if (kind == MQ_STEP_GATHER) {
        step->as.gather.axis = form;
        step->as.gather.index = index;
      } else if (kind == MQ_STEP_SLICE) {
        const int32_t starts[2][3] = {{0, 0, 5}, {4, 1, 2}}, by[2][3] = {{1, 1, 1}, {-2, 3, 4}};
        for (int axis = 0; axis < MQ_PROGRAM_MAX_RANK; axis++)
          step->as.slice.step[axis] = 1;
        memcpy(step->as.slice.start, starts[form - 3], sizeof starts[0]);
        memcpy(step->as.slice.step, by[form - 3], sizeof by[0]);
      } else {
        const int32_t perm[3][4] = {{2, 0, 1, 0}, {1, 0, 2, 0}, {1, 3, 0, 2}};
        memcpy(step->as.transpose.perm, perm[form - 5], sizeof perm[0]);
      }
      if (types[i] < MQ_PROGRAM_S16 && !has_four) y = read_windows(&help, y);
      snprintf(text, sizeof text, "move %d of type %d", form, (int)types[i]);
      check(&help, text, y);
    }
}

static void pads(void **state) {
  (void)state;
  static struct help help;
  static const mq_program_type types[] = {MQ_PROGRAM_S8, MQ_PROGRAM_S16, MQ_PROGRAM_F32, MQ_PROGRAM_S32};
  for (size_t i = 0; i < 4; i++)
    for (int32_t rank = 1; rank <= 3; rank++) {
      begin(&help, i, MQ_ARITHMETIC_ORT);
      const int32_t *in = rank == 1 ? DIMS(7) : rank == 2 ? DIMS(6, 7) : DIMS(5, 6, 7);
      const int32_t *out = rank == 1 ? DIMS(10) : rank == 2 ? DIMS(8, 10) : DIMS(9, 8, 10);
      uint32_t x = make(&help, types[i], in), y = make(&help, types[i], out);
      if (types[i] == MQ_PROGRAM_S32) {
        help.tensors[x].scale = help.tensors[y].scale = 0;
        help.tensors[x].zero_point = help.tensors[y].zero_point = 0;
        help.tensors[x].code_min = help.tensors[y].code_min = 0;
        help.tensors[x].code_max = help.tensors[y].code_max = 0;
      }
      x = help_input(&help, x);
      struct mq_program_step *step = help_step(&help, MQ_STEP_PAD, 0, y, INPUTS((int)x));
      static const int32_t begins[3] = {2, 1, 3};
      memcpy(step->as.pad.begin, begins + 3 - rank, (size_t)rank * sizeof *begins);
      if (types[i] == MQ_PROGRAM_F32)
        step->as.pad.value = 1.5f;
      else
        step->as.pad.code = types[i] == MQ_PROGRAM_S32 ? 100000 : 5;
      if (types[i] == MQ_PROGRAM_S8 && rank == 3) y = read_windows(&help, y);
      check(&help, "pad", y);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(transposed_convolutions),
      cmocka_unit_test(layers_of_floats),
      cmocka_unit_test(operands_that_repeat),
      cmocka_unit_test(sums_that_repeat),
      cmocka_unit_test(functions_and_means),
      cmocka_unit_test(moves),
      cmocka_unit_test(pads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
