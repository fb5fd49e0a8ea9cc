/* Reads a bundle back: the files that the manifest was written for, and model.onnx with the points of
 * quant.json put in. Everything is checked: a bundle is a file from outside like any other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "deploy/bundle_program.h"
#include "deploy/field.h"
#include "deploy/json.h"
#include "deploy/read.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"

bool mq_bundle_is(const char *path) {
  char *quant = mq_path_join(path, "quant.json");
  bool is_bundle = quant && mq_file_is_directory(path) && mq_file_exists(quant);
  mq_free(quant);
  return is_bundle;
}

struct reader {
  const char *directory;
  struct mq_bundle *bundle;
  struct mq_err *err;
};

/* A fraction; NAN where the manifest has none. */
static mq_status read_fraction(double *out, const struct deploy_at *at, const json_t *manifest,
                               const char *key) {
  const json_t *item = json_object_get(manifest, key);
  *out = NAN;
  if (!item || json_is_null(item)) {
    return MQ_OK;
  }
  double value = json_number_value(item);
  if (!json_is_number(item) || value < 0 || value > 1) {
    return deploy_fail_found(at, key, item, "a number from 0 to 1, or null");
  }
  *out = value;
  return MQ_OK;
}

static mq_status verify_file(const struct deploy_at *at, const json_t *hashes, const char *name) {
  const char *expected = NULL;
  char hex[65], *path = NULL;
  mq_status status = deploy_get_text(&expected, at, hashes, name);
  if (status == MQ_OK) {
    path = mq_path_join(at->directory, name);
    status = path ? mq_sha256_file(hex, path, at->err) : mq_fail_memory(at->err, name);
  }
  if (status == MQ_OK && strcmp(expected, hex) != 0) {
    status = mq_fail(at->err, MQ_BAD_INPUT,
                     "%s: differs from the manifest's hash: the bundle is mixed or damaged: found %s, "
                     "expected %.64s",
                     path, hex, expected);
  }
  mq_free(path);
  return status;
}

/* The program's own hash, or why there is no program; bundles of before it have neither. */
static mq_status verify_program(bool *has_program, const struct reader *r, struct deploy_at *at,
                                const json_t *manifest, const json_t *hashes) {
  *has_program = deploy_has(hashes, DEPLOY_PROGRAM);
  if (*has_program) {
    return verify_file(at, hashes, DEPLOY_PROGRAM);
  }
  const char *why = json_string_value(json_object_get(json_object_get(manifest, "program"), "skipped"));
  snprintf(r->bundle->no_program, sizeof r->bundle->no_program, "%s", why ? why : "");
  return MQ_OK;
}

/* The files are those the manifest was written for: a model with another bundle's scales would run and be
 * wrong. */
static mq_status read_manifest(bool *has_program, const struct reader *r) {
  static const char *const names[] = {"model.onnx", "float.onnx", "preprocess.json", "quant.json"};
  struct deploy_at at = {.directory = r->directory, .name = "manifest.json", .err = r->err};
  json_t *manifest = NULL;
  mq_status status = deploy_json_read(&manifest, r->directory, "manifest.json", r->err);
  const json_t *hashes = json_object_get(manifest, "files");
  if (status == MQ_OK && !json_is_object(hashes)) {
    status = deploy_fail_found(&at, "files", hashes, "an object with the SHA-256 of each file");
  }
  snprintf(at.where, sizeof at.where, "files: ");
  for (size_t i = 0; status == MQ_OK && i < sizeof names / sizeof names[0]; i++) {
    status = verify_file(&at, hashes, names[i]);
  }
  if (status == MQ_OK) {
    status = verify_program(has_program, r, &at, manifest, hashes);
  }
  at.where[0] = 0;
  if (status == MQ_OK) {
    status = read_fraction(&r->bundle->float_top1, &at, manifest, "float_top1");
  }
  if (status == MQ_OK) {
    status = read_fraction(&r->bundle->top1, &at, manifest, "top1");
  }
  json_decref(manifest);
  return status;
}

static mq_status read_model(struct mq_bundle *bundle, const char *directory, struct mq_err *err) {
  struct mq_graph *graph = NULL;
  char *path = mq_path_join(directory, "model.onnx");
  mq_status status = path ? mq_onnx_read(&graph, path, NULL, err) : mq_fail_memory(err, directory);
  bundle->prepared.graph = graph;
  mq_free(path);
  return status;
}

mq_status deploy_read_parts(struct mq_bundle *bundle, const char *directory, struct mq_err *err) {
  json_t *quant = NULL, *preprocess = NULL;
  mq_status status = read_model(bundle, directory, err);
  if (status == MQ_OK) {
    status = deploy_json_read(&quant, directory, "quant.json", err);
  }
  if (status == MQ_OK) {
    status = deploy_read_quant(bundle, quant, directory, err);
  }
  if (status == MQ_OK) {
    status = deploy_json_read(&preprocess, directory, "preprocess.json", err);
  }
  if (status == MQ_OK) {
    status = deploy_read_preprocess(bundle, preprocess, directory, err);
  }
  json_decref(quant);
  json_decref(preprocess);
  return status;
}

mq_status mq_bundle_read(struct mq_bundle *bundle, const char *directory, struct mq_err *err) {
  *bundle = (struct mq_bundle){0};
  if (!mq_bundle_is(directory)) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "%s: not a bundle: found no quant.json in it, expected a directory that mqbench quantize wrote",
        directory);
  }
  const struct reader reader = {.directory = directory, .bundle = bundle, .err = err};
  bool has_program = false;
  mq_status status = read_manifest(&has_program, &reader);
  if (status == MQ_OK) {
    status = deploy_read_parts(bundle, directory, err);
  }
  if (status == MQ_OK && has_program) {
    status = deploy_program_read(bundle, directory, err);
  }
  if (status != MQ_OK) {
    mq_bundle_deinit(bundle);
  }
  return status;
}

void mq_bundle_deinit(struct mq_bundle *bundle) {
  mq_prepared_deinit(&bundle->prepared);
  mq_free(bundle->program_file);
  mq_free(bundle->program_memory);
  bundle->program = NULL;
  bundle->program_file = bundle->program_memory = NULL;
}
