/* Inside of mq_prepare_qdq: from QuantizeLinear and DequantizeLinear to points.
 *
 * Nodes are visited in order. A tensor that is integers in the file becomes the real numbers that its codes
 * stand for; what is known of it is its grid and that the file has it as codes. */
#ifndef MQ_PREPARE_QDQ_H
#define MQ_PREPARE_QDQ_H

#include "prepare/rewrite.h"

/* What a QuantizeLinear or DequantizeLinear says. */
struct qdq_grid {
  struct mq_qparams q;
  int bits; /* of the type in the file */
};

struct qdq_state {
  uint32_t grid;              /* index + 1; 0: none */
  bool is_codes;              /* integers in the file; otherwise: dequantized already */
  struct mq_value *quantized; /* weights: behind their FakeQuantize, once there is one */
};

struct qdq {
  struct mq_graph *graph;
  struct qdq_grid *grids;
  size_t n_grids, capacity_grids;
  struct qdq_state *states; /* by value->index */
  size_t n_states;
  struct mq_err *err;
};

/* "model: node 'x' (QuantizeLinear): ..." */
mq_status qdq_fail(const struct qdq *qdq, const struct mq_node *node, const char *format, ...)
    MQ_PRINTF(3, 4);
struct qdq_state *qdq_state_of(const struct qdq *qdq, const struct mq_value *value);

/* ---- qdq_grid.c ---- */
/* Scale, zero point and axis of the node, whose integers are `codes`; *grid is an index + 1. */
mq_status qdq_read_grid(uint32_t *grid, struct qdq *qdq, const struct mq_node *node,
                        const struct mq_value *codes) MQ_MUST_CHECK;
const struct qdq_grid *qdq_grid_at(const struct qdq *qdq, uint32_t grid);
bool qdq_same_grid(const struct qdq *qdq, uint32_t a, uint32_t b);
/* The grid along another axis: a new one. */
mq_status qdq_turn_grid(uint32_t *turned, struct qdq *qdq, uint32_t grid, int axis) MQ_MUST_CHECK;
/* The grid with n scales along the axis: its own, or its only one n times. */
mq_status qdq_spread_grid(uint32_t *spread, struct qdq *qdq, uint32_t grid, int64_t n,
                          int axis) MQ_MUST_CHECK;
/* The grid with that scale and the zero point of channel 0. */
mq_status qdq_join_grid(uint32_t *joined, struct qdq *qdq, uint32_t grid, float scale) MQ_MUST_CHECK;

/* ---- qdq_constant.c: constants become real numbers on their grid ---- */
mq_status qdq_quantize_constant(struct qdq *qdq, struct mq_node *node) MQ_MUST_CHECK;
mq_status qdq_dequantize_constant(struct qdq *qdq, struct mq_node *node) MQ_MUST_CHECK;
/* A DequantizeLinear of what qdq_quantize_constant made. */
mq_status qdq_release_constant(struct qdq *qdq, struct mq_node *node) MQ_MUST_CHECK;
/* A Transpose, Reshape, ... of a constant that lies on a grid; *is_moved: it was one. */
mq_status qdq_move_constant(bool *is_moved, struct qdq *qdq, struct mq_node *node) MQ_MUST_CHECK;

/* ---- qdq_activation.c ---- */
/* Every QuantizeLinear, DequantizeLinear, and operator on integers between them. A FakeQuantize bears in
 * `point` the index of its grid. */
mq_status qdq_visit(struct qdq *qdq, struct mq_node *node) MQ_MUST_CHECK;
/* x -> FakeQuantize -> y */
mq_status qdq_add_fake_quantize(struct qdq *qdq, struct mq_value *x, struct mq_value *y,
                                uint32_t grid) MQ_MUST_CHECK;

/* ---- qdq_channels.c ---- */
/* Activations with a scale for each channel get one where only depthwise convolutions read them. */
mq_status qdq_join_channels(struct qdq *qdq) MQ_MUST_CHECK;

/* ---- qdq_layer.c ---- */
/* Before the graph is made canonical: what must not be absorbed into a constant on a grid. */
mq_status qdq_check_layers(struct qdq *qdq) MQ_MUST_CHECK;
/* A FakeQuantize behind every constant on a grid that is a layer's weights. */
mq_status qdq_quantize_weights(struct qdq *qdq) MQ_MUST_CHECK;
/* What is computed in floats; in the graph's arena. */
mq_status qdq_find_islands(struct mq_prepared *prepared, struct mq_err *err) MQ_MUST_CHECK;

#endif
