/* Scales and zero points of a file: constants, with one number or one per index of an axis. Nothing in them
 * is believed, because a senseless one would run and be wrong. */
#include <float.h>
#include <math.h>

#include "prepare/qdq.h"

const struct qdq_grid *qdq_grid_at(const struct qdq *qdq, uint32_t grid) {
  return &qdq->grids[grid - 1];
}

bool qdq_same_grid(const struct qdq *qdq, uint32_t a, uint32_t b) {
  if (a == b) return true;
  const struct mq_qparams *p = &qdq_grid_at(qdq, a)->q, *q = &qdq_grid_at(qdq, b)->q;
  bool is_same = p->n_channels == q->n_channels && p->channel_axis == q->channel_axis &&
                 p->is_signed == q->is_signed && qdq_grid_at(qdq, a)->bits == qdq_grid_at(qdq, b)->bits;
  for (int64_t c = 0; c < p->n_channels && is_same; c++)
    is_same = p->scale[c] == q->scale[c] && p->zero_point[c] == q->zero_point[c];
  return is_same;
}

/* ---- Types ------------------------------------------------------------------------------------------ */

static int bits_of(const struct mq_value *codes, const struct mq_value *zero_point) {
  if (codes->packed_bits) return codes->packed_bits;
  if (zero_point && zero_point->packed_bits) return zero_point->packed_bits;
  return 8 * mq_dtype_get(codes->dtype)->bytes;
}

static mq_status set_type(struct qdq_grid *grid, const struct qdq *qdq, const struct mq_node *node,
                          const struct mq_value *codes, const struct mq_value *zero_point) {
  switch (codes->dtype) {
    case MQ_I8:
    case MQ_U8:
    case MQ_I16:
    case MQ_U16:
      break;
    case MQ_I32: /* biases; never the result of a QuantizeLinear */
      if (node->op == MQ_OP_DequantizeLinear) break;
      /* fall through */
    default:
      return qdq_fail(qdq, node, "its integers '%.100s' are %s, expected 4, 8 or 16 bits, or int32 constants",
                      codes->name, mq_dtype_get(codes->dtype)->name);
  }
  bool is_signed = mq_dtype_get(codes->dtype)->is_signed;
  grid->bits = bits_of(codes, zero_point);
  grid->q.is_signed = is_signed;
  if (grid->bits == 32) {
    grid->q.quant_min = INT32_MIN;
    grid->q.quant_max = INT32_MAX;
    return MQ_OK;
  }
  const struct mq_scheme scheme = {.bits = (uint8_t)grid->bits, .is_signed = is_signed};
  mq_scheme_bounds(&grid->q.quant_min, &grid->q.quant_max, &scheme);
  return MQ_OK;
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

/* Normal floats only, as quant/qparams makes them, and the whole range is finite. */
static mq_status read_scale(float *scale, const struct qdq *qdq, const struct mq_node *node,
                            const struct mq_qparams *q, int64_t c) {
  double s = mq_tensor_get_double(node->inputs[1]->constant, c);
  double span = (double)q->quant_max - (double)q->quant_min;
  *scale = (float)s;
  if (s >= (double)FLT_MIN && s * span <= (double)FLT_MAX) return MQ_OK;
  return qdq_fail(qdq, node, "scale %lld is %g, expected a normal number above 0 whose range is finite",
                  (long long)c, s);
}

static mq_status read_zero_point(int32_t *zero_point, const struct qdq *qdq, const struct mq_node *node,
                                 const struct qdq_grid *grid, const struct mq_value *value, int64_t c) {
  int64_t z = value ? mq_tensor_get_int(value->constant, c) : 0;
  int64_t lo = grid->bits == 32 ? 0 : grid->q.quant_min, hi = grid->bits == 32 ? 0 : grid->q.quant_max;
  *zero_point = (int32_t)z;
  if (z >= lo && z <= hi) return MQ_OK;
  return qdq_fail(qdq, node, "zero point %lld is %lld, expected %lld to %lld", (long long)c, (long long)z,
                  (long long)lo, (long long)hi);
}

static mq_status check_scale(int64_t *n, int *axis, const struct qdq *qdq, const struct mq_node *node,
                             const struct mq_value *codes) {
  const struct mq_value *scale = node->inputs[1];
  if (!scale || !scale->constant || scale->constant->dtype != MQ_F32) {
    return qdq_fail(qdq, node,
                    "its scale '%.100s' is no constant of floats: scales that are computed while "
                    "the network runs are not supported",
                    scale ? scale->name : "");
  }
  *n = mq_shape_count(&scale->constant->shape);
  *axis = -1;
  if (*n == 1) return MQ_OK;
  mq_status status = mq_node_get_axis(axis, node, 1, codes->shape.rank, qdq->err);
  if (status || (*n > 1 && codes->shape.dim[*axis] == *n && scale->constant->shape.rank == 1)) return status;
  return qdq_fail(qdq, node, "%lld scales, expected one, or one for each index of axis %d of '%.100s'",
                  (long long)*n, *axis, codes->name);
}

static mq_status check_zero_point(const struct qdq *qdq, const struct mq_node *node,
                                  const struct mq_value *codes, const struct mq_value *zero_point,
                                  int64_t n) {
  if (!zero_point) return MQ_OK;
  if (!zero_point->constant || zero_point->constant->dtype != codes->dtype) {
    return qdq_fail(qdq, node, "its zero point '%.100s' is no constant of %s", zero_point->name,
                    mq_dtype_get(codes->dtype)->name);
  }
  int64_t count = mq_shape_count(&zero_point->constant->shape);
  if (count == n) return MQ_OK;
  return qdq_fail(qdq, node, "%lld zero points, expected %lld, one for each scale", (long long)count,
                  (long long)n);
}

static mq_status append(uint32_t *index, struct qdq *qdq, const struct qdq_grid *grid) {
  if (qdq->n_grids == qdq->capacity_grids) {
    size_t capacity = qdq->capacity_grids ? 2 * qdq->capacity_grids : 64;
    struct qdq_grid *larger = mq_realloc(qdq->grids, capacity, sizeof *larger);
    if (!larger) return mq_fail_memory(qdq->err, "quantization parameters");
    qdq->grids = larger;
    qdq->capacity_grids = capacity;
  }
  qdq->grids[qdq->n_grids++] = *grid;
  *index = (uint32_t)qdq->n_grids;
  return MQ_OK;
}

static mq_status fill(struct qdq_grid *grid, const struct qdq *qdq, const struct mq_node *node,
                      const struct mq_value *zero_point) {
  mq_status status = MQ_OK;
  for (int64_t c = 0; c < grid->q.n_channels && !status; c++) {
    status = read_scale(&grid->q.scale[c], qdq, node, &grid->q, c);
    if (!status) status = read_zero_point(&grid->q.zero_point[c], qdq, node, grid, zero_point, c);
  }
  return status;
}

mq_status qdq_read_grid(uint32_t *index, struct qdq *qdq, const struct mq_node *node,
                        const struct mq_value *codes) {
  const struct mq_value *zero_point = node->n_inputs > 2 ? node->inputs[2] : NULL;
  int64_t n = 0;
  int axis = -1;
  *index = 0;
  mq_status status = check_scale(&n, &axis, qdq, node, codes);
  if (!status) status = check_zero_point(qdq, node, codes, zero_point, n);
  struct qdq_grid grid = {.bits = 0};
  if (!status) status = mq_qparams_init(&grid.q, n, axis, qdq->err);
  if (!status) status = set_type(&grid, qdq, node, codes, zero_point);
  if (!status) status = fill(&grid, qdq, node, zero_point);
  if (!status) status = append(index, qdq, &grid);
  if (status) mq_qparams_deinit(&grid.q);
  return status;
}

mq_status qdq_turn_grid(uint32_t *turned, struct qdq *qdq, uint32_t index, int axis) {
  struct qdq_grid grid = {.bits = qdq_grid_at(qdq, index)->bits};
  *turned = 0;
  mq_status status = mq_qparams_copy(&grid.q, &qdq_grid_at(qdq, index)->q, qdq->err);
  grid.q.channel_axis = axis;
  if (!status) status = append(turned, qdq, &grid);
  if (status) mq_qparams_deinit(&grid.q);
  return status;
}

mq_status qdq_spread_grid(uint32_t *spread, struct qdq *qdq, uint32_t index, int64_t n, int axis) {
  const struct qdq_grid *from = qdq_grid_at(qdq, index);
  struct qdq_grid grid = {.bits = from->bits};
  *spread = 0;
  mq_status status = mq_qparams_init(&grid.q, n, axis, qdq->err);
  if (status) return status;
  grid.q.quant_min = from->q.quant_min;
  grid.q.quant_max = from->q.quant_max;
  grid.q.is_signed = from->q.is_signed;
  for (int64_t c = 0; c < n; c++) {
    const int64_t old = from->q.n_channels > 1 ? c : 0;
    grid.q.scale[c] = from->q.scale[old];
    grid.q.zero_point[c] = from->q.zero_point[old];
  }
  status = append(spread, qdq, &grid);
  if (status) mq_qparams_deinit(&grid.q);
  return status;
}

mq_status qdq_join_grid(uint32_t *joined, struct qdq *qdq, uint32_t index, float scale) {
  mq_status status = qdq_spread_grid(joined, qdq, index, 1, -1);
  if (!status) qdq->grids[*joined - 1].q.scale[0] = scale;
  return status;
}
