#include "cli/data.h"

#include <string.h>

static mq_status default_eval(struct cli_data *data, const char *argument, struct mq_err *err) {
  struct mq_dataset *dataset = NULL;
  mq_status status = mq_data_spec_parse(&data->eval, argument, err);
  if (status == MQ_OK) {
    status = mq_dataset_open(&dataset, &data->eval, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  bool has_test = mq_dataset_get_info(dataset)->has_test && data->eval.split == MQ_SPLIT_DEFAULT;
  mq_dataset_close(dataset);
  if (has_test) {
    data->train.split = MQ_SPLIT_TRAIN;
    data->eval.split = MQ_SPLIT_TEST;
  }
  return MQ_OK;
}

mq_status cli_data_open(struct cli_data *data, const char *argument, const char *eval_argument,
                        struct mq_err *err) {
  mq_status status = mq_data_spec_parse(&data->train, argument, err);
  if (status == MQ_OK) {
    status = eval_argument ? mq_data_spec_parse(&data->eval, eval_argument, err)
                           : default_eval(data, argument, err);
  }
  if (status == MQ_OK && data->train.has_preprocess && !data->eval.has_preprocess) {
    data->eval.preprocess = data->train.preprocess;
    data->eval.has_preprocess = true;
  }
  if (status == MQ_OK) {
    status = mq_data_spec_format(&data->train_text, &data->train, err);
  }
  if (status == MQ_OK) {
    status = mq_data_spec_format(&data->eval_text, &data->eval, err);
  }
  data->measures_training = status == MQ_OK && !strcmp(data->train_text, data->eval_text);
  return status;
}

void cli_data_close(struct cli_data *data) {
  mq_free(data->train_text);
  mq_free(data->eval_text);
  mq_data_spec_deinit(&data->train);
  mq_data_spec_deinit(&data->eval);
}

void cli_data_warn(const struct cli_data *data) {
  if (data->measures_training) {
    mq_log_warn("measured on calibration data: give --eval-data for an honest accuracy");
  }
}
