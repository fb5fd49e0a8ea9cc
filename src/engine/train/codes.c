#include "engine/train/codes.h"

/* ---- What codes a quantizer has ------------------------------------------------------------------- */
/* Rows that no method takes for a special case. */
#define PROBE_COUNT 4

static int bits_of(const struct mq_qparams *grid) {
  int bits = 1;
  if (grid->quant_min < 0) {
    while (grid->quant_min < -(1 << (bits - 1)) || grid->quant_max >= 1 << (bits - 1)) {
      bits++;
    }
  } else {
    while (grid->quant_max >= 1 << bits) {
      bits++;
    }
  }
  return bits;
}

/* Memory of the compiler: dies with it. */
static mq_status alloc(void **block, struct engine_compiler *c, size_t count, size_t bytes,
                       struct mq_err *err) {
  *block = mq_arena_alloc(&c->arena, count + 1, bytes);
  return *block ? MQ_OK : mq_fail_memory(err, "engine compiler");
}

/* The form a training step would derive from parameters and data without zeros: a parameter that happens to
 * begin at 0 (a real offset) must not look like none. */
static mq_status probe_form(double **form, struct engine_compiler *c, const struct mq_quantizer_ops *ops,
                            const struct mq_quantizer_config *config, const float *parameters,
                            struct mq_err *err) {
  void *block, *values, *statistics, *rows;
  size_t n_parameters = mq_quantizer_parameter_total(ops, config);
  size_t n_statistics = ops->statistics_count ? ops->statistics_count(config) : 0;
  int64_t n_rows = config->is_weight ? config->n_rows : 1;
  mq_status status = alloc(&block, c, ops->form_count(config), sizeof(double), err);
  if (status == MQ_OK) {
    status = alloc(&values, c, n_parameters, sizeof(float), err);
  }
  if (status == MQ_OK) {
    status = alloc(&statistics, c, n_statistics, sizeof(double), err);
  }
  if (status == MQ_OK) {
    status = alloc(&rows, c, (size_t)n_rows * PROBE_COUNT, sizeof(float), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  for (size_t i = 0; i < n_parameters; i++) {
    ((float *)values)[i] = parameters[i] == 0 ? 0.5f : parameters[i];
  }
  for (int64_t i = 0; i < n_rows * PROBE_COUNT; i++) {
    ((float *)rows)[i] = (float)(i % 7) - 2.5f;
  }
  if (n_statistics > 0) {
    ops->observe(statistics, config, rows, n_rows, PROBE_COUNT);
  }
  *form = block;
  ops->derive(*form, config, values, statistics, NULL);
  return MQ_OK;
}

static mq_status find_kind(bool *is_on_grid, struct engine_code_kind *kind, struct engine_compiler *c,
                           const struct mq_point *point, const struct mq_quantizer_config *config,
                           struct mq_err *err) {
  const struct mq_quantizer_ops *ops = point->quantizer;
  double *form;
  struct mq_qparams grid = {0};
  *is_on_grid = false;
  *kind = (struct engine_code_kind){0};
  if (!ops->grid) {
    return MQ_OK;
  }
  mq_status status = probe_form(&form, c, ops, config, point->parameters, err);
  if (status == MQ_OK) {
    status = mq_qparams_init(&grid, config->n_channels, -1, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *is_on_grid = ops->grid(&grid, config, form);
  if (*is_on_grid) {
    *kind = (struct engine_code_kind){.is_signed = grid.quant_min < 0, .bits = bits_of(&grid)};
    kind->has_zero_point = !config->scheme.is_symmetric;
    for (int64_t i = 0; i < config->n_channels; i++) {
      kind->has_zero_point = kind->has_zero_point || grid.zero_point[i] != 0;
    }
    *is_on_grid = kind->bits <= 8;
  }
  mq_qparams_deinit(&grid);
  return MQ_OK;
}

/* ---- Who reads them ------------------------------------------------------------------------------- */
/* Is the value made of elements of its first input? */
static bool selects(const struct mq_node *node, const struct mq_value *value) {
  bool is_view = node->op == MQ_OP_Flatten || node->op == MQ_OP_Reshape || node->op == MQ_OP_Identity;
  return (is_view || node->op == MQ_OP_MaxPool) && node->outputs[0] == value;
}

const struct mq_node *engine_grid_source(const struct mq_value *value) {
  while (value->producer && selects(value->producer, value)) {
    value = value->producer->inputs[0];
  }
  const struct mq_node *node = value->producer;
  return node && node->op == MQ_OP_FakeQuantize ? node : NULL;
}

static const struct mq_point *point_of(const struct engine_compiler *c, const struct mq_node *node) {
  int64_t index;
  if (!node || node->op != MQ_OP_FakeQuantize || mq_node_get_int(&index, node, "point", -1, NULL) != MQ_OK ||
      index < 0 || (size_t)index >= c->training->n_points) {
    return NULL;
  }
  const struct mq_point *point = &c->training->points[index];
  return point->quantizer ? point : NULL;
}

mq_status engine_point_codes(bool *is_on_grid, struct engine_code_kind *kind, struct engine_compiler *c,
                             const struct mq_point *point, struct mq_err *err) {
  struct mq_quantizer_config config = point->quantizer_config;
  config.n_rows = config.n_channels;
  config.n_elements = PROBE_COUNT;
  return find_kind(is_on_grid, kind, c, point, &config, err);
}

/* Is it a product with weights that are packed once per step? (op_gemm.c sends others to the general one.) */
static bool is_packed(const struct mq_node *node) {
  if (node->op == MQ_OP_Conv) {
    return true;
  }
  bool is_linear = node->op == MQ_OP_Gemm || node->op == MQ_OP_MatMul;
  const struct mq_node *weights = is_linear ? node->inputs[1]->producer : NULL;
  if (!weights || !weights->inputs[0]->constant || weights->inputs[0]->shape.rank != 2) {
    return false;
  }
  float alpha, beta;
  int64_t is_transposed;
  bool has_attributes = mq_node_get_float(&alpha, node, "alpha", 1, NULL) == MQ_OK &&
                        mq_node_get_float(&beta, node, "beta", 1, NULL) == MQ_OK &&
                        mq_node_get_int(&is_transposed, node, "transA", 0, NULL) == MQ_OK;
  const struct mq_value *bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
  bool has_row = !bias || (bias->constant && bias->shape.rank == 1 &&
                           bias->shape.dim[0] == node->outputs[0]->shape.dim[1]);
  return has_attributes && alpha == 1.0f && beta == 1.0f && !is_transposed && has_row;
}

/* Is the use an operand of a product of an activation and weights that both lie on grids? */
static mq_status is_coded(bool *is_product, struct engine_compiler *c, const struct mq_use *use, int input,
                          struct mq_err *err) {
  const struct mq_node *node = use->node;
  struct engine_code_kind kind;
  *is_product = use->input == input && is_packed(node);
  mq_status status = MQ_OK;
  for (int i = 0; i < 2 && *is_product && status == MQ_OK; i++) {
    const struct mq_value *value = node->inputs[i];
    const struct mq_point *point = point_of(c, i == 0 ? engine_grid_source(value) : value->producer);
    *is_product = point && point->quantizer_config.is_weight == (i == 1);
    if (*is_product) {
      status = engine_point_codes(is_product, &kind, c, point, err);
    }
  }
  return status;
}

/* The node that alone reads the value; NULL: there are more, or it is an output. */
static const struct mq_node *only_reader(const struct mq_value *value) {
  return value->n_uses == 1 && !value->is_output ? value->uses[0].node : NULL;
}

/* Is it one of two summands that the step of a point behind them adds itself (op_codes.c)? That one can read
 * codes. Where it does not come to that, floats are made of them (engine_decode). */
static bool is_summand(const struct engine_compiler *c, const struct mq_use *use) {
  const struct mq_node *add = use->node;
  if (add->op != MQ_OP_Add || add->inputs[0] == add->inputs[1] || add->inputs[1 - use->input]->constant ||
      !mq_shape_equal(&add->inputs[0]->shape, &add->inputs[1]->shape)) {
    return false;
  }
  const struct mq_node *reader = only_reader(add->outputs[0]);
  if (reader && (reader->op == MQ_OP_Relu || reader->op == MQ_OP_Clip)) {
    reader = only_reader(reader->outputs[0]);
  }
  return reader && reader->op == MQ_OP_FakeQuantize && point_of(c, reader);
}

mq_status engine_find_code_readers(struct engine_code_readers *readers, struct engine_compiler *c,
                                   const struct mq_node *node, bool is_weight, struct mq_err *err) {
  const struct mq_value *value = node->outputs[0];
  *readers = (struct engine_code_readers){.has_others = value->is_output, .layout = ENGINE_DENSE};
  mq_status status = MQ_OK;
  for (size_t i = 0; i < value->n_uses && status == MQ_OK; i++) {
    bool takes;
    engine_layout layout = value->uses[i].node->op == MQ_OP_Conv ? ENGINE_CHANNELS_LAST : ENGINE_ROW_MAJOR;
    status = is_coded(&takes, c, &value->uses[i], is_weight, err);
    if (status == MQ_OK && !takes && !is_weight && is_summand(c, &value->uses[i])) {
      continue;
    }
    if (status == MQ_OK && (!takes || (readers->are_products && layout != readers->layout))) {
      readers->has_others = true;
    } else {
      readers->are_products = true;
      readers->layout = layout;
    }
  }
  return status;
}

/* ---- Where they are ------------------------------------------------------------------------------- */
const struct engine_codes *engine_codes_of(const struct engine_compiler *c, const struct mq_value *value) {
  const struct engine_codes *codes = c->training->codes_of;
  return codes && codes[value->index].grid >= 0 ? &codes[value->index] : NULL;
}

mq_status engine_note_codes(struct engine_compiler *c, const struct mq_value *value,
                            const struct engine_codes *codes, struct mq_err *err) {
  struct engine_training *t = c->training;
  if (!t->codes_of) {
    void *block;
    mq_status status = alloc(&block, c, c->graph->n_values, sizeof *codes, err);
    if (status != MQ_OK) {
      return status;
    }
    t->codes_of = block;
    for (size_t i = 0; i < c->graph->n_values; i++) {
      t->codes_of[i].grid = -1;
    }
  }
  t->codes_of[value->index] = *codes;
  return MQ_OK;
}
