/* The plain model that a file of scales stands beside. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "deploy/export.h"
#include "mqbench/load.h"

static void add_entry(struct deploy_plain *plain, const struct mq_value *value, const struct mq_point *point,
                      const struct mq_node *layer) {
  plain->entries[plain->n_entries++] =
      (struct deploy_entry){.tensor = value->name, .point = point, .layer = layer};
}

/* The node goes; its readers read `in`, which keeps the output's place and name if it is one. */
static void bypass(struct deploy_edit *edit, struct mq_node *fake) {
  struct mq_value *in = fake->inputs[0], *out = fake->outputs[0];
  mq_graph_remove_node(edit->graph, fake);
  edit->status = mq_graph_replace_uses(edit->graph, out, in, NULL, edit->err);
}

/* The points of a bundle are called as the tensors they are behind. */
static void clip(struct deploy_plain *plain, struct mq_node *fake, const struct mq_point *point) {
  struct deploy_edit *edit = &plain->edit;
  const struct mq_qparams *q = &point->qparams;
  struct mq_value *x = fake->inputs[0], *y = fake->outputs[0];
  mq_graph_remove_node(edit->graph, fake);
  deploy_edit_rename(edit, y, deploy_edit_name(edit, x->name, "_clipped"));
  deploy_edit_clip(edit, deploy_edit_name(edit, x->name, "_clip"), x,
                   q->scale[0] * (float)(q->quant_min - q->zero_point[0]),
                   q->scale[0] * (float)(q->quant_max - q->zero_point[0]), y);
  deploy_edit_name_output(edit, x, y);
  if (edit->status == MQ_OK) {
    add_entry(plain, y, point, NULL);
  }
}

static void treat(struct deploy_plain *plain, struct mq_node *fake, const struct mq_point *point,
                  deploy_fits_fn fits) {
  struct mq_value *x = fake->inputs[0];
  const struct mq_value *y = fake->outputs[0];
  if (x->constant) {
    add_entry(plain, x, point, y->n_uses > 0 ? y->uses[0].node : NULL);
    bypass(&plain->edit, fake);
    return;
  }
  size_t own = plain->n_entries;
  add_entry(plain, x, point, NULL);
  if (fits && !fits(&point->qparams)) {
    clip(plain, fake, point);
  } else {
    bypass(&plain->edit, fake);
  }
  plain->entries[own].tensor = x->name; /* it may have been renamed */
}

void deploy_plain_begin(struct deploy_plain *plain, const struct mq_bundle *bundle, deploy_fits_fn fits,
                        struct mq_err *err) {
  *plain = (struct deploy_plain){.n_entries = 0};
  deploy_edit_begin(&plain->edit, bundle, err);
  if (plain->edit.status != MQ_OK) {
    return;
  }
  struct mq_graph *graph = plain->edit.graph;
  plain->entries = mq_arena_alloc(&graph->arena, 2 * graph->n_nodes + 1, sizeof *plain->entries);
  if (!plain->entries) {
    plain->edit.status = mq_fail_memory(err, "points");
  }
  for (size_t i = 0, n = graph->n_nodes; i < n && plain->edit.status == MQ_OK; i++) {
    const struct mq_point *point = deploy_point_of(bundle, graph->nodes[i]);
    if (point) {
      treat(plain, graph->nodes[i], point, fits);
    }
  }
  deploy_edit_end(&plain->edit);
}

void deploy_plain_write(struct deploy_plain *plain, const char *stem) {
  const char *path = deploy_edit_name(&plain->edit, stem, ".onnx");
  if (plain->edit.status == MQ_OK) {
    plain->edit.status = mq_onnx_write(path, plain->edit.graph, plain->edit.err);
  }
}

mq_status deploy_plain_end(struct deploy_plain *plain) {
  mq_graph_destroy(plain->edit.graph);
  plain->edit.graph = NULL;
  return plain->edit.status;
}

/* ---- Files --------------------------------------------------------------------------------------- */

mq_status deploy_write_json(const char *stem, const char *suffix, json_t *object, struct mq_err *err) {
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  const char *path = mq_arena_printf(&arena, "%s%s", stem, suffix);
  mq_status status =
      text && path ? mq_file_write(path, text, strlen(text), err) : mq_fail_memory(err, "scales in JSON");
  mq_arena_deinit(&arena);
  free(text);
  json_decref(object);
  return status;
}

void deploy_plain_print(struct deploy_plain *plain, const char *stem, const char *suffix,
                        deploy_print_fn print) {
  struct deploy_edit *edit = &plain->edit;
  struct mq_file_out out = {0};
  const char *path = deploy_edit_name(edit, stem, suffix);
  if (edit->status == MQ_OK) {
    edit->status = mq_file_out_open(&out, path, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = print(out.stream, plain, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_file_out_commit(&out, edit->err);
  }
  mq_file_out_abandon(&out);
}

mq_status deploy_check_name(const char *format, const char *name, bool allows_spaces, struct mq_err *err) {
  for (const char *at = name; *at; at++) {
    if (iscntrl((unsigned char)*at) || (!allows_spaces && isspace((unsigned char)*at))) {
      return mq_fail(
          err, MQ_BAD_INPUT,
          "format %s: found a name with white space, '%.200s', expected one that its lines can hold", format,
          name);
    }
  }
  return MQ_OK;
}
