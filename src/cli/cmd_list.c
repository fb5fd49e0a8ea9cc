/* mqbench list: what there is. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/yaml.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/deploy.h"
#include "mqbench/quant.h"
#include "mqbench/target.h"
#include "mqbench/verify.h"
#include "mqbench/zoo.h"

#define MAX_ITEMS 1024

struct list {
  struct mq_arena arena;
  struct {
    const char *name, *describes;
  } item[MAX_ITEMS];
  size_t n;
};

static void add(struct list *list, const char *name, const char *describes) {
  if (list->n < MAX_ITEMS) {
    list->item[list->n].name = name;
    list->item[list->n++].describes = describes;
  }
}

static mq_status add_targets(struct list *list, struct mq_err *err) {
  struct mq_target_item *items = NULL;
  size_t n = 0;
  mq_status status = mq_target_list(&items, &n, &list->arena, err);
  for (size_t i = 0; status == MQ_OK && i < n; i++) {
    add(list, items[i].name, items[i].describes);
  }
  return status;
}

static mq_status add_observers(struct list *list, struct mq_err *err) {
  (void)err;
  for (size_t i = 0; i < mq_observer_count(); i++) {
    add(list, mq_observer_at(i)->name, mq_observer_at(i)->describes);
  }
  return MQ_OK;
}

static mq_status add_methods(struct list *list, struct mq_err *err) {
  (void)err;
  add(list, "float", "no quantization: the model as it is");
  add(list, "ptq", "post-training quantization: scales from calibration, weights rounded to nearest");
  for (size_t i = 0; i < mq_quantizer_count(); i++) {
    add(list, mq_quantizer_at(i)->name, mq_quantizer_at(i)->describes);
  }
  return MQ_OK;
}

static mq_status add_datasets(struct list *list, struct mq_err *err) {
  (void)err;
  add(list, "cifar10", "CIFAR-10's binary files: cifar10:DIR");
  add(list, "idx", "MNIST-like IDX files, .gz too: idx:DIR");
  add(list, "folder", "class folders of JPEG or PNG files, or list=FILE: folder:DIR");
  add(list, "tar", "the same in tar files, .gz too: tar:train-*.tar");
  add(list, "npy", "NumPy arrays: npy:x.npy,labels=y.npy");
  add(list, "fractal", "made from formulas, no files: fractal:");
  return MQ_OK;
}

static mq_status add_formats(struct list *list, struct mq_err *err) {
  (void)err;
  for (size_t i = 0; i < mq_exporter_count(); i++) {
    add(list, mq_exporter_at(i)->name, mq_exporter_at(i)->describes);
  }
  return MQ_OK;
}

/* What an engine's adapter says of it. */
static const char *engine_description(struct list *list, const char *name) {
  struct mq_adapter_info info = {.is_available = false};
  struct mq_err why = {.message = ""};
  char *path = NULL;
  mq_status status = mq_adapter_find(&path, name, &why);
  if (status == MQ_OK) {
    status = mq_adapter_probe(&info, path, 120, &why);
  }
  mq_free(path);
  if (status != MQ_OK) {
    return mq_arena_strdup(&list->arena, why.message);
  }
  return info.is_available
             ? mq_arena_printf(&list->arena, "%s, reads %s", info.version, info.formats)
             : mq_arena_printf(&list->arena, "not here: %s (reads %s)", info.reason, info.formats);
}

static mq_status add_engines(struct list *list, struct mq_err *err) {
  const char *const *names = NULL;
  size_t n = 0;
  mq_status status = mq_adapter_list(&names, &n, &list->arena, err);
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    const char *text = engine_description(list, names[i]);
    status = mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "interrupted") : MQ_OK;
    add(list, names[i], text ? text : "");
  }
  add(list, MQ_ENGINE_IN_PROCESS, "in process: the fast executor of integer programs");
  return status;
}

/* A plan's `description`, or "". */
static const char *plan_description(struct list *list, const char *path) {
  const struct mq_yaml_node *root = NULL;
  if (mq_yaml_load(&root, path, &list->arena, NULL) != MQ_OK) {
    return "(cannot be read)";
  }
  const struct mq_yaml_node *node = mq_yaml_find(root, "description");
  return node && node->kind == MQ_YAML_SCALAR ? node->text : "";
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files of a share folder that end in `suffix`, sorted. */
static mq_status add_files(struct list *list, const char *folder, const char *suffix, bool is_plan,
                           struct mq_err *err) {
  char *path = mq_path_join(mq_share_directory(), folder);
  if (!path) {
    return mq_fail_memory(err, folder);
  }
  DIR *directory = opendir(path);
  char *names[MAX_ITEMS] = {0};
  size_t n = 0;
  for (struct dirent *entry; directory && (entry = readdir(directory)) && n < MAX_ITEMS;) {
    size_t length = strlen(entry->d_name), suffix_length = strlen(suffix);
    if (length > suffix_length && !strcmp(entry->d_name + length - suffix_length, suffix)) {
      names[n++] = mq_arena_strdup(&list->arena, entry->d_name);
    }
  }
  qsort(names, n, sizeof *names, compare_names);
  for (size_t i = 0; i < n; i++) {
    char *file = mq_arena_printf(&list->arena, "%s/%s", path, names[i]);
    add(list, names[i], is_plan && file ? plan_description(list, file) : file);
  }
  if (directory) {
    closedir(directory);
  }
  mq_free(path);
  return MQ_OK;
}

static mq_status add_models(struct list *list, struct mq_err *err) {
  for (size_t i = 0; i < mq_zoo_count(); i++) { /* to be trained */
    add(list, mq_zoo_at(i)->name, mq_arena_printf(&list->arena, "architecture: %s", mq_zoo_at(i)->describes));
  }
  return add_files(list, "models", ".onnx", false, err);
}

static mq_status add_plans(struct list *list, struct mq_err *err) {
  return add_files(list, "plans", ".yaml", true, err);
}

static const struct {
  const char *name;
  mq_status (*fill)(struct list *list, struct mq_err *err);
} subjects[] = {
    {"targets", add_targets}, {"methods", add_methods},   {"observers", add_observers},
    {"models", add_models},   {"datasets", add_datasets}, {"engines", add_engines},
    {"formats", add_formats}, {"plans", add_plans},
};

static mq_status print_list(const struct list *list, bool is_json, struct mq_err *err) {
  if (!is_json) {
    for (size_t i = 0; i < list->n; i++) {
      printf("%-20s %s\n", list->item[i].name, list->item[i].describes);
    }
    return MQ_OK;
  }
  json_t *items = json_array();
  for (size_t i = 0; i < list->n; i++) {
    json_array_append_new(
        items, json_pack("{s:s, s:s}", "name", list->item[i].name, "describes", list->item[i].describes));
  }
  return cli_print_json(json_pack("{s:o}", "items", items), err);
}

mq_status cmd_list(int argc, char **argv, struct mq_err *err) {
  struct cli_common common;
  bool is_help;
  mq_status status = cli_parse(&common, &is_help, cli_find_command("list"), NULL, 0, 1, 1, argc, argv, err);
  if (status != MQ_OK || is_help) {
    return status;
  }
  struct list *list = mq_alloc(1, sizeof *list);
  if (!list) {
    return mq_fail_memory(err, "list");
  }
  mq_arena_init(&list->arena, 0);
  const char *subject = common.arguments.text[0];
  status = mq_fail(
      err, MQ_BAD_USAGE,
      "list %s: expected targets, methods, observers, models, datasets, engines, formats or plans", subject);
  for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
    if (!strcmp(subjects[i].name, subject)) {
      status = subjects[i].fill(list, err);
      if (status == MQ_OK) {
        status = print_list(list, common.is_json, err);
      }
    }
  }
  mq_arena_deinit(&list->arena);
  mq_free(list);
  return status;
}
