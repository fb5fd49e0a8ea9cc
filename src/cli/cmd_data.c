/* mqbench data: makes the embedded data set as files, or tells what a data set holds. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/data.h"

struct data_run {
  struct cli_common common;
  const char *output;
  int64_t n_images, n_test, n_classes, size;
  bool is_making; /* an option of `data make` was given */
  struct mq_pool *pool;
};

static mq_status write_split(const struct data_run *run, const char *split, int64_t n_images,
                             struct mq_err *err) {
  char text[256], name[32];
  snprintf(text, sizeof text, "fractal:,split=%s,images=%lld,classes=%lld,size=%lld,seed=%lld", split,
           (long long)n_images, (long long)run->n_classes, (long long)run->size, (long long)run->common.seed);
  snprintf(name, sizeof name, "%s.tar", split);
  struct mq_data_spec spec = {0};
  struct mq_dataset *dataset = NULL;
  char *path = mq_path_join(run->output, name);
  mq_status status = path ? mq_data_spec_parse(&spec, text, err) : mq_fail_memory(err, run->output);
  if (status == MQ_OK) {
    status = mq_dataset_open(&dataset, &spec, err);
  }
  if (status == MQ_OK) {
    status = mq_dataset_write_tar(path, dataset, err);
  }
  if (status == MQ_OK && !run->common.is_json) {
    printf("%s: %lld images\n", path, (long long)n_images);
  }
  mq_dataset_close(dataset);
  mq_data_spec_deinit(&spec);
  mq_free(path);
  return status;
}

static mq_status make_data(const struct data_run *run, struct mq_err *err) {
  if (run->common.arguments.n != 2 || strcmp(run->common.arguments.text[1], "fractal") != 0) {
    return mq_fail(err, MQ_BAD_USAGE, "data make: expected fractal");
  }
  if (!run->output) {
    return mq_fail(err, MQ_BAD_USAGE, "data make: -o DIR is missing");
  }
  mq_status status = mq_file_make_directories(run->output, err);
  if (status == MQ_OK) {
    status = write_split(run, "train", run->n_images, err);
  }
  if (status == MQ_OK) {
    status = write_split(run, "test", run->n_test, err);
  }
  if (status == MQ_OK && run->common.is_json) {
    status =
        cli_print_json(json_pack("{s:I, s:I, s:[I,I,I]}", "images", (json_int_t)(run->n_images + run->n_test),
                                 "classes", (json_int_t)run->n_classes, "shape", (json_int_t)3,
                                 (json_int_t)run->size, (json_int_t)run->size),
                       err);
  }
  return status;
}

static mq_status print_info(const struct data_run *run, const struct mq_dataset_info *info,
                            struct mq_err *err) {
  if (run->common.is_json) {
    json_t *shape = json_array();
    for (int i = 0; i < info->image.rank; i++) {
      json_array_append_new(shape, info->image.dim[i] < 0 ? json_null() : json_integer(info->image.dim[i]));
    }
    return cli_print_json(json_pack("{s:I, s:o, s:o, s:b}", "images", (json_int_t)info->n_images, "classes",
                                    info->has_labels ? json_integer(info->n_classes) : json_null(), "shape",
                                    shape, "has_test", (int)info->has_test),
                          err);
  }
  printf("images   %lld\n", (long long)info->n_images);
  if (info->has_labels) {
    printf("classes  %lld\n", (long long)info->n_classes);
  } else {
    printf("classes  no labels\n");
  }
  printf("shape    ");
  for (int i = 0; i < info->image.rank; i++) {
    if (info->image.dim[i] < 0) {
      printf("%s?", i ? " x " : "");
    } else {
      printf("%s%lld", i ? " x " : "", (long long)info->image.dim[i]);
    }
  }
  printf("\nsplits   %s\n", info->has_test ? "train, test" : "none of its own");
  return MQ_OK;
}

static mq_status show_info(const struct data_run *run, struct mq_err *err) {
  if (run->common.arguments.n != 2) {
    return mq_fail(err, MQ_BAD_USAGE, "data info: expected one data argument, KIND:PATH[,key=value...]");
  }
  if (run->is_making) {
    return mq_fail(
        err, MQ_BAD_USAGE,
        "data info takes no options of data make: say limit=, classes= or size= in the data argument");
  }
  struct mq_data_spec spec = {0};
  struct mq_dataset *dataset = NULL;
  mq_status status = mq_data_spec_parse(&spec, run->common.arguments.text[1], err);
  if (status == MQ_OK) {
    status = mq_dataset_open(&dataset, &spec, err);
  }
  if (status == MQ_OK) {
    status = print_info(run, mq_dataset_get_info(dataset), err);
  }
  mq_dataset_close(dataset);
  mq_data_spec_deinit(&spec);
  return status;
}

mq_status cmd_data(int argc, char **argv, struct mq_err *err) {
  struct data_run run = {.n_images = 10000, .n_test = 2000, .n_classes = 10, .size = 32};
  const struct cli_option options[] = {
      {"--output", 'o', CLI_TEXT, &run.output, "DIR", "make: where train.tar and test.tar go", 0, 0},
      {"--images", 0, CLI_INT, &run.n_images, "N", "make: training images (default 10000)", 1, 100000000},
      {"--test-images", 0, CLI_INT, &run.n_test, "N", "make: test images (default 2000)", 1, 100000000},
      {"--classes", 0, CLI_INT, &run.n_classes, "N", "make: classes (default 10)", 2, 100000},
      {"--size", 0, CLI_INT, &run.size, "N", "make: pixels a side (default 32)", 8, 1024},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("data"), options,
                               sizeof options / sizeof options[0], 1, 2, argc, argv, err);
  if (status != MQ_OK || is_help) {
    return status;
  }
  status = cli_session_start(&run.pool, &run.common, err);
  if (status == MQ_OK) {
    const char *verb = run.common.arguments.text[0];
    run.is_making =
        run.output || run.n_images != 10000 || run.n_test != 2000 || run.n_classes != 10 || run.size != 32;
    if (!strcmp(verb, "make")) {
      status = make_data(&run, err);
    } else if (!strcmp(verb, "info")) {
      status = show_info(&run, err);
    } else {
      status = mq_fail(err, MQ_BAD_USAGE, "data %s: expected make or info", verb);
    }
  }
  mq_pool_destroy(run.pool);
  return status;
}
