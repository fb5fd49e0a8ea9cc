/* Inside of the exporters: the registry's tables, and rewriting a bundle's graph into a file's. */
#ifndef MQ_DEPLOY_EXPORT_H
#define MQ_DEPLOY_EXPORT_H

#include <jansson.h>

#include "mqbench/deploy.h"

extern const struct mq_exporter mq_exporter_onnx_qdq, mq_exporter_tensorrt, mq_exporter_snpe, mq_exporter_acl,
    mq_exporter_openvino, mq_exporter_vitis, mq_exporter_ppl_cuda, mq_exporter_ppl_w8a16, mq_exporter_tengine,
    mq_exporter_stpu, mq_exporter_tflite, mq_exporter_onnx_qoperator, mq_exporter_nnie;

/* ---- A graph on its way to a file. The first failure stays in `status`; calls after it do nothing and
 * answer NULL. ------------------------------------------------------------------------------------------- */
struct deploy_edit {
  struct mq_graph *graph; /* a copy of the bundle's */
  const struct mq_bundle *bundle;
  struct mq_err *err;
  mq_status status;
};
void deploy_edit_begin(struct deploy_edit *edit, const struct mq_bundle *bundle, struct mq_err *err);
/* Sorts, drops what nobody reads any more and checks. */
void deploy_edit_end(struct deploy_edit *edit);
/* A name in the graph's arena: `name` and `suffix`. */
const char *deploy_edit_name(struct deploy_edit *edit, const char *name, const char *suffix);
struct mq_value *deploy_edit_constant(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                      const struct mq_shape *shape, const void *data);
/* One number: rank 0; n numbers: rank 1. */
struct mq_value *deploy_edit_floats(struct deploy_edit *edit, const char *name, const float *x, int64_t n,
                                    bool is_scalar);
/* Of one or more int32, as `dtype`. */
struct mq_value *deploy_edit_ints(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                  const int32_t *x, int64_t n, bool is_scalar);
/* A node called as its output; `output` NULL: a value of `dtype` with input 0's shape is made for it. */
struct mq_node *deploy_edit_node(struct deploy_edit *edit, mq_op op, const char *name,
                                 struct mq_value *const *inputs, int n_inputs, mq_dtype dtype,
                                 struct mq_value *output);
void deploy_edit_set_input(struct deploy_edit *edit, struct mq_node *node, int input, struct mq_value *value);
void deploy_edit_rename(struct deploy_edit *edit, struct mq_value *value, const char *name);
/* A point's tensor x and what its readers read now, y: where y is an output of the network, the user reads it
 * by x's name, and x is called "..._float". */
void deploy_edit_name_output(struct deploy_edit *edit, struct mq_value *x, struct mq_value *y);
/* Clip(x) into a new value or into `output`. */
struct mq_value *deploy_edit_clip(struct deploy_edit *edit, const char *name, struct mq_value *x, float lo,
                                  float hi, struct mq_value *output);
/* The integers of a constant on its grid. */
struct mq_value *deploy_edit_quantized(struct deploy_edit *edit, const char *name,
                                       const struct mq_tensor *constant, const struct mq_qparams *q,
                                       mq_dtype dtype);
/* rne(b / scale), scale being s_x s_w in double; a bias beyond int32 is a failure that names the layer. */
void deploy_quantize_bias(struct deploy_edit *edit, int32_t *out, float b, double scale,
                          const struct mq_node *layer);
/* A model of an older opset gets the forms of `opset` (13 or 21), if it is below. */
void deploy_edit_raise_opset(struct deploy_edit *edit, int opset);

/* ---- Points of a graph --------------------------------------------------------------------------------- */
/* The point of a FakeQuantize node; NULL for any other node. */
const struct mq_point *deploy_point_of(const struct mq_bundle *bundle, const struct mq_node *node);
/* The FakeQuantize node whose grid the values of `value` lie on: its producer, or one further up behind ops
 * that only move values and behind averages that keep their input's scale. NULL: the value is float. */
struct mq_node *deploy_grid_of(const struct mq_bundle *bundle, const struct mq_value *value);
/* A conv or linear whose weights are quantized: their point; NULL for any other node. */
const struct mq_point *deploy_layer_weights(const struct mq_bundle *bundle, const struct mq_node *node);
/* True where values of the bundle's tensor cannot be below zero: an activation function's output, also behind
 * averages and points. */
bool deploy_is_non_negative(const struct mq_bundle *bundle, const char *tensor);
/* Whether the integers fill a type of `bits`; `allows_narrow`: or all of it but the lowest. */
bool deploy_fills(const struct mq_qparams *q, int bits, bool allows_narrow);

/* ---- The plain model that a file of scales stands beside -------------------------------------------------
 * Floats without any quantization, weights on their grid. Where the format's own range is wider than the
 * point's, a Clip behind the tensor keeps it. */
struct deploy_entry {
  const char *tensor;
  const struct mq_point *point;
  const struct mq_node *layer; /* weights: who reads them; else NULL */
};
struct deploy_plain {
  struct deploy_edit edit;
  struct deploy_entry *entries; /* in the graph's order; an activation with a Clip twice: before and behind */
  size_t n_entries;
};
/* `fits` NULL: no Clip anywhere; otherwise a Clip where it answers false. */
typedef bool (*deploy_fits_fn)(const struct mq_qparams *q);
void deploy_plain_begin(struct deploy_plain *plain, const struct mq_bundle *bundle, deploy_fits_fn fits,
                        struct mq_err *err);
/* Writes STEM.onnx. */
void deploy_plain_write(struct deploy_plain *plain, const char *stem);
/* Releases everything and answers how it went. */
mq_status deploy_plain_end(struct deploy_plain *plain);

/* ---- Files --------------------------------------------------------------------------------------------- */
/* STEM and suffix. Releases `object`; NULL is exhausted memory. */
mq_status deploy_write_json(const char *stem, const char *suffix, json_t *object,
                            struct mq_err *err) MQ_MUST_CHECK;
/* Calls `print` on STEM and suffix, which is there whole or not at all. */
typedef mq_status (*deploy_print_fn)(void *stream, const struct deploy_plain *plain, struct mq_err *err);
void deploy_plain_print(struct deploy_plain *plain, const char *stem, const char *suffix,
                        deploy_print_fn print);
/* Text with a line for each tensor: names must have no white space or control characters. */
mq_status deploy_check_name(const char *format, const char *name, bool allows_spaces,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
