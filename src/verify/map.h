/* What of a program and of the graph that it was lowered from belongs together. */
#ifndef MQ_VERIFY_MAP_H
#define MQ_VERIFY_MAP_H

#include "mqbench/prepare.h"
#include "mqbench/program.h"

/* A tensor that both have: a point's codes, a layer's that stays float, or an output. */
struct verify_link {
  uint32_t tensor;
  const struct mq_value *value; /* behind the FakeQuantize; the layer's; an output */
  const struct mq_node *node;   /* the FakeQuantize; NULL: floats */
  size_t offset;                /* elements of an image's links before it */
};

struct verify_map {
  const struct mq_program *program;
  const struct mq_graph *graph;
  struct verify_link *links;
  size_t n_links;
  bool has_float_layers;
  int64_t n_elements;        /* of an image, in all links */
  int64_t *link_of;          /* by tensor; -1: none */
  unsigned char *kinds;      /* reality_kind by tensor */
  const double **biases;     /* by step: real biases by channel, or NULL */
  const size_t *made_offset; /* by tensor: where it lies in an image's block; constants: 0 */
  size_t made_bytes;         /* of an image's block */
};
/* Everything is in `arena`. MQ_BAD_INPUT where they contradict each other. */
mq_status verify_map_make(struct verify_map *map, const struct mq_prepared *prepared,
                          const struct mq_program *program, struct mq_arena *arena,
                          struct mq_err *err) MQ_MUST_CHECK;

/* The point of activations that the node is; NULL: it is none. */
const struct mq_point *verify_point_of(const struct mq_prepared *prepared, const struct mq_node *node);

/* ---- From the order of a program's tensor to that of the graph's value ------------------------------------
 * Element i of an image in the program's order lies at `strides` in the value's memory. */
struct verify_order {
  int n;
  int64_t dim[MQ_MAX_RANK], stride[MQ_MAX_RANK];
};
/* `value`: with the batch in front; strides are those of `tensor`. */
struct verify_order verify_order_of(const struct mq_program_tensor *t, const struct mq_tensor *value);
/* values[i] for every element of the image whose first element lies at `from`; and back. */
void verify_gather(float *values, const struct verify_order *order, const float *from);
void verify_scatter(float *to, const struct verify_order *order, const float *values);

/* The step of floats that are no codes: an 8-bit one of what the tensor holds for this image. */
double verify_float_step(const float *values, int64_t n);
/* Real value of an element of a program's tensor. */
float verify_value(const struct mq_program_tensor *t, const void *data, int64_t at);

#endif
