/* Do a model and a data set fit? The message says what to set. */
#include "tune/feed.h"

static mq_status check_image(const struct mq_graph *graph, const struct mq_shape *image, struct mq_err *err) {
  const struct mq_value *input = graph->inputs[0];
  struct tune_input_form form;
  char wanted[64], found[64];
  if (image->dim[1] < 0 || image->dim[2] < 0) {
    int64_t size = input->shape.rank == 4 ? input->shape.dim[2] : 0;
    return mq_fail(
        err, MQ_BAD_INPUT,
        "the data's images differ in size, model %s expects input %s of %s: set resize=...,crop=%lld "
        "(or size=%lldx%lld) in the data argument",
        graph->name, input->name, mq_shape_format(wanted, sizeof wanted, &input->shape), (long long)size,
        (long long)size, (long long)size);
  }
  if (tune_input_form(&form, &input->shape, image)) {
    return MQ_OK;
  }
  mq_shape_format(wanted, sizeof wanted, &input->shape);
  mq_shape_format(found, sizeof found, image);
  if (input->shape.rank == 4 && input->shape.dim[1] != image->dim[0] &&
      input->shape.dim[3] != image->dim[0]) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "the data has %lld channels (images of %s), model %s expects input %s of %s",
                   (long long)image->dim[0], found, graph->name, input->name, wanted);
  }
  bool is_nchw = input->shape.rank == 4 && input->shape.dim[1] == image->dim[0];
  int64_t height = input->shape.rank == 4 ? input->shape.dim[is_nchw ? 2 : 1] : 0;
  int64_t width = input->shape.rank == 4 ? input->shape.dim[is_nchw ? 3 : 2] : 0;
  return mq_fail(err, MQ_BAD_INPUT,
                 "the data's images are %s (channels x height x width), model %s expects input %s of %s: set "
                 "crop=%lld (with resize=) or size=%lldx%lld in the data argument",
                 found, graph->name, input->name, wanted, (long long)height, (long long)height,
                 (long long)width);
}

/* Class folders say exactly how many classes there are; a list only says at least how many. */
static bool is_exact_count(const struct mq_dataset *data) {
  return mq_dataset_class_name(data, 0) != NULL;
}

static mq_status check_classes(const struct mq_graph *graph, const struct mq_dataset *data, int64_t classes,
                               struct mq_err *err) {
  const struct mq_dataset_info *info = mq_dataset_get_info(data);
  if (!info->has_labels || info->n_classes == classes ||
      (!is_exact_count(data) && info->n_classes < classes)) {
    return MQ_OK;
  }
  if (info->n_classes == classes + 1 || info->n_classes == classes - 1) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "the data has %lld classes, model %s has %lld: set label_offset=%d in the data argument if "
        "one of them counts a background class",
        (long long)info->n_classes, graph->name, (long long)classes, info->n_classes > classes ? -1 : 1);
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "the data has %lld classes, model %s has %lld: set list= to a file of labels that are the "
                 "model's (or label_offset=) in the data argument, or take a model trained on this data",
                 (long long)info->n_classes, graph->name, (long long)classes);
}

mq_status mq_check_model_data(const struct mq_graph *graph, const struct mq_dataset *data,
                              struct mq_err *err) {
  if (graph->n_inputs != 1 || graph->inputs[0]->dtype != MQ_F32) {
    return mq_fail(err, MQ_BAD_INPUT, "model %s has %zu inputs, expected one input of float32 images",
                   graph->name, graph->n_inputs);
  }
  const struct mq_value *output = graph->n_outputs > 0 ? graph->outputs[0] : NULL;
  bool is_matrix = output && output->dtype == MQ_F32 && output->shape.rank >= 2;
  for (int i = 2; is_matrix && i < output->shape.rank; i++) {
    is_matrix = output->shape.dim[i] == 1;
  }
  if (!is_matrix || output->shape.dim[0] != graph->inputs[0]->shape.dim[0]) {
    char shape[128] = "none";
    return mq_fail(err, MQ_BAD_INPUT, "model %s: first output is %s, expected float32 logits of N x classes",
                   graph->name, output ? mq_shape_format(shape, sizeof shape, &output->shape) : shape);
  }
  mq_status status = check_image(graph, &mq_dataset_get_info(data)->image, err);
  return status == MQ_OK ? check_classes(graph, data, output->shape.dim[1], err) : status;
}

void mq_warn_of_labels(const struct mq_graph *graph, const struct mq_dataset *data) {
  const struct mq_dataset_info *info = mq_dataset_get_info(data);
  int64_t classes = graph->outputs[0]->shape.dim[1];
  if (info->has_labels && !is_exact_count(data) && info->n_classes == classes - 1) {
    mq_log_warn(
        "the largest label is %lld, model %s has %lld classes: if the labels lack a background class, "
        "set label_offset=1 in the data argument",
        (long long)info->n_classes - 1, graph->name, (long long)classes);
  }
}
