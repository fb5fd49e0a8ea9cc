/* Layers and their parameters. */
#include "zoo/builder.h"

#include <math.h>

#include "zoo/draw.h"

const char *zoo_name(struct zoo_builder *b, const char *format, ...) {
  char text[128];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *name = mq_arena_strdup(&b->graph->arena, text);
  if (!name && b->status == MQ_OK) {
    b->status = mq_fail_memory(b->err, "names of an architecture");
  }
  return name ? name : "";
}

/* The rule of MobileNet's and EfficientNet's released code. */
int64_t zoo_channels(double channels, double factor, int64_t divisor) {
  double wanted = channels * factor;
  int64_t rounded = (int64_t)floor(wanted / (double)divisor + 0.5) * divisor;
  rounded = rounded < divisor ? divisor : rounded;
  return (double)rounded < 0.9 * wanted ? rounded + divisor : rounded;
}

static struct mq_value *parameter(struct zoo_builder *b, const char *name, const struct mq_shape *shape,
                                  const struct zoo_distribution *distribution) {
  struct mq_tensor tensor = {0};
  struct mq_value *value = NULL;
  if (b->status == MQ_OK) {
    b->status = mq_tensor_init(&tensor, MQ_F32, shape, b->err);
  }
  if (b->status == MQ_OK) {
    zoo_draw(&tensor, distribution, b->seed, name);
    b->status = mq_graph_add_constant(&value, b->graph, name, &tensor, b->err);
  }
  mq_tensor_deinit(&tensor);
  return value;
}

/* Appends a node; its output bears its name. */
static struct zoo_tensor append(struct zoo_builder *b, mq_op op, const char *name,
                                struct mq_value *const *inputs, int n_inputs, int64_t channels) {
  struct mq_value *out = NULL;
  struct mq_node *node;
  if (b->status == MQ_OK) {
    b->status = mq_graph_add_value(&out, b->graph, name, 0, NULL, b->err);
  }
  if (b->status == MQ_OK) {
    b->status = mq_graph_add_node(&node, b->graph, op, name, inputs, n_inputs, &out, 1, b->err);
  }
  return (struct zoo_tensor){b->status == MQ_OK ? out : NULL, channels};
}

static void set_int(struct zoo_builder *b, struct zoo_tensor x, const char *attribute, int64_t i) {
  if (b->status == MQ_OK) {
    b->status = mq_node_set_int(b->graph, x.value->producer, attribute, i, b->err);
  }
}

static void set_float(struct zoo_builder *b, struct zoo_tensor x, const char *attribute, float f) {
  if (b->status == MQ_OK) {
    b->status = mq_node_set_float(b->graph, x.value->producer, attribute, f, b->err);
  }
}

/* n times the same number. */
static void set_ints(struct zoo_builder *b, struct zoo_tensor x, const char *attribute, int64_t i, size_t n) {
  const int64_t ints[] = {i, i, i, i};
  if (b->status == MQ_OK) {
    b->status = mq_node_set_ints(b->graph, x.value->producer, attribute, ints, n, b->err);
  }
}

static void set_window(struct zoo_builder *b, struct zoo_tensor x, int64_t kernel, int64_t stride) {
  set_ints(b, x, "dilations", 1, 2);
  set_ints(b, x, "kernel_shape", kernel, 2);
  set_ints(b, x, "pads", kernel / 2, 4);
  set_ints(b, x, "strides", stride, 2);
}

struct zoo_tensor zoo_input(struct zoo_builder *b) {
  struct mq_shape shape = {.rank = 4, .dim = {-1, 3, b->image, b->image}};
  struct mq_value *value = NULL;
  if (b->status == MQ_OK) {
    b->status = mq_graph_add_value(&value, b->graph, "input", MQ_F32, &shape, b->err);
  }
  if (b->status == MQ_OK) {
    b->status = mq_graph_add_input(b->graph, value, b->err);
  }
  return (struct zoo_tensor){value, 3};
}

/* He et al. 2015, "Delving Deep into Rectifiers", equation 14: variance 2 / (k^2 d), where d is the number of
 * outputs that an input reaches, so within its group. */
struct zoo_tensor zoo_convolve(struct zoo_builder *b, struct zoo_tensor x, const char *name,
                               const struct zoo_conv *conv) {
  int64_t groups = conv->groups ? conv->groups : 1;
  struct mq_shape shape = {.rank = 4,
                           .dim = {conv->channels, x.channels / groups, conv->kernel, conv->kernel}};
  double fan_out = (double)(conv->kernel * conv->kernel * conv->channels) / (double)groups;
  struct mq_value *inputs[] = {x.value,
                               parameter(b, zoo_name(b, "%s.weight", name), &shape,
                                         &(struct zoo_distribution){ZOO_NORMAL, sqrt(2.0 / fan_out)})};
  struct zoo_tensor y = append(b, MQ_OP_Conv, name, inputs, 2, conv->channels);
  set_window(b, y, conv->kernel, conv->stride);
  set_int(b, y, "group", groups);
  return y;
}

static struct zoo_tensor normalise(struct zoo_builder *b, struct zoo_tensor x, const char *name,
                                   double gamma) {
  static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
  const double starts[] = {gamma, 0, 0, 1};
  struct mq_shape shape = {.rank = 1, .dim = {x.channels}};
  struct mq_value *inputs[5] = {x.value};
  for (int i = 0; i < 4; i++) {
    inputs[i + 1] = parameter(b, zoo_name(b, "%s.%s", name, parts[i]), &shape,
                              &(struct zoo_distribution){ZOO_CONSTANT, starts[i]});
  }
  struct zoo_tensor y = append(b, MQ_OP_BatchNormalization, name, inputs, 5, x.channels);
  set_float(b, y, "epsilon", 1e-5f);
  set_float(b, y, "momentum", 0.9f);
  return y;
}

struct zoo_tensor zoo_normalise(struct zoo_builder *b, struct zoo_tensor x, const char *name) {
  return normalise(b, x, name, 1);
}

struct zoo_tensor zoo_normalise_to_zero(struct zoo_builder *b, struct zoo_tensor x, const char *name) {
  return normalise(b, x, name, 0);
}

struct zoo_tensor zoo_relu(struct zoo_builder *b, struct zoo_tensor x, const char *name) {
  return append(b, MQ_OP_Relu, name, &x.value, 1, x.channels);
}

struct zoo_tensor zoo_relu6(struct zoo_builder *b, struct zoo_tensor x, const char *name) {
  static const char *const names[] = {"relu6.min", "relu6.max"};
  for (int i = 0; i < 2 && !b->clip_bounds[i]; i++) {
    b->clip_bounds[i] = parameter(b, names[i], &(struct mq_shape){.rank = 0},
                                  &(struct zoo_distribution){ZOO_CONSTANT, 6.0 * i});
  }
  struct mq_value *inputs[] = {x.value, b->clip_bounds[0], b->clip_bounds[1]};
  return append(b, MQ_OP_Clip, name, inputs, 3, x.channels);
}

struct zoo_tensor zoo_add(struct zoo_builder *b, struct zoo_tensor x, struct zoo_tensor y, const char *name) {
  struct mq_value *inputs[] = {x.value, y.value};
  return append(b, MQ_OP_Add, name, inputs, 2, x.channels);
}

struct zoo_tensor zoo_max_pool(struct zoo_builder *b, struct zoo_tensor x, const char *name) {
  struct zoo_tensor y = append(b, MQ_OP_MaxPool, name, &x.value, 1, x.channels);
  set_window(b, y, 3, 2);
  return y;
}

static struct zoo_tensor linear(struct zoo_builder *b, struct zoo_tensor x, const char *name,
                                zoo_classifier how) {
  struct mq_shape shape = {.rank = 2, .dim = {b->classes, x.channels}};
  struct mq_shape bias = {.rank = 1, .dim = {b->classes}};
  double bound = 1.0 / sqrt((double)x.channels);
  bool is_torch = how == ZOO_CLASSIFIER_TORCH;
  struct zoo_distribution uniform = {ZOO_UNIFORM, bound}, normal = {ZOO_NORMAL, 0.01},
                          zero = {ZOO_CONSTANT, 0.0};
  /* One after the other: an initialiser list would leave their order to the compiler. */
  struct mq_value *inputs[3] = {x.value};
  inputs[1] = parameter(b, zoo_name(b, "%s.weight", name), &shape, is_torch ? &uniform : &normal);
  inputs[2] = parameter(b, zoo_name(b, "%s.bias", name), &bias, is_torch ? &uniform : &zero);
  struct zoo_tensor y = append(b, MQ_OP_Gemm, name, inputs, 3, b->classes);
  set_float(b, y, "alpha", 1.0f);
  set_float(b, y, "beta", 1.0f);
  set_int(b, y, "transB", 1);
  return y;
}

void zoo_classify(struct zoo_builder *b, struct zoo_tensor x, const char *name, zoo_classifier how) {
  x = append(b, MQ_OP_GlobalAveragePool, "avgpool", &x.value, 1, x.channels);
  x = append(b, MQ_OP_Flatten, "flatten", &x.value, 1, x.channels);
  set_int(b, x, "axis", 1);
  x = linear(b, x, name, how);
  if (b->status == MQ_OK) {
    b->status = mq_graph_rename_value(b->graph, x.value, "logits", b->err);
  }
  if (b->status == MQ_OK) {
    b->status = mq_graph_add_output(b->graph, x.value, b->err);
  }
}
