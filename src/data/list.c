/* list=FILE: lines `name label`. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/tree.h"

#define MAX_LIST_BYTES ((size_t)1 << 30)
#define MAX_LABEL 1000000

/* Cuts a label off the line's end: the last word, if it is a whole number. *text is that word, NULL if there
 * is none; false if it is one no label can have. */
static bool cut_label(int64_t *label, const char **text, char *line) {
  char *at = strrchr(line, ' '), *tab = strrchr(line, '\t'), *end = NULL;
  at = !at || (tab && tab > at) ? tab : at;
  *text = NULL;
  if (!at || !isdigit((unsigned char)at[1 + (at[1] == '-')])) {
    return true;
  }
  errno = 0;
  const long long value = strtoll(at + 1, &end, 10);
  if (*end) {
    return true;
  }
  *text = at + 1;
  if (errno || value < 0 || value > MAX_LABEL) {
    return false;
  }
  while (at > line && (*at == ' ' || *at == '\t')) {
    *at-- = 0;
  }
  *label = value;
  return true;
}

static size_t count_lines(const char *text) {
  size_t n = 1;
  for (; *text; text++) {
    n += *text == '\n';
  }
  return n;
}

/* One line that is not empty. */
static mq_status parse_line(struct mq_list_line *entry, char *line, size_t number, const char *path,
                            struct mq_err *err) {
  *entry = (struct mq_list_line){.name = line, .label = -1};
  const char *text;
  if (!cut_label(&entry->label, &text, line)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s:%zu: label %.40s, expected 0 to %d", path, number, text, MAX_LABEL);
  }
  entry->name += strncmp(entry->name, "./", 2) == 0 ? 2 : 0;
  return MQ_OK;
}

mq_status mq_list_parse(struct mq_list_line **lines, size_t *n, char *text, const char *path,
                        struct mq_err *err) {
  *n = 0;
  *lines = mq_alloc(count_lines(text), sizeof **lines);
  if (!*lines) {
    return mq_fail_memory(err, path);
  }
  size_t number = 0;
  mq_status status = MQ_OK;
  for (char *line = text, *next = NULL; line && status == MQ_OK; line = next) {
    number++;
    next = strchr(line, '\n');
    if (next) {
      *next++ = 0;
    }
    for (size_t end = strlen(line); end && isspace((unsigned char)line[end - 1]);) {
      line[--end] = 0;
    }
    line += strspn(line, " \t");
    if (!*line) {
      continue;
    }
    struct mq_list_line *entry = &(*lines)[*n];
    status = parse_line(entry, line, number, path, err);
    const bool has_label = entry->label >= 0;
    if (status == MQ_OK && *n && has_label != ((*lines)[0].label >= 0)) {
      status = mq_fail(err, MQ_BAD_INPUT,
                       "%s:%zu: '%s' %s, expected `name label` on every line or `name` on every line", path,
                       number, line, has_label ? "has a label" : "has no label");
    }
    ++*n;
  }
  if (status != MQ_OK) {
    mq_free(*lines);
    *lines = NULL;
    *n = 0;
  }
  return status;
}

static int compare_files(const void *a, const void *b) {
  return strcmp(((const struct mq_tree_file *)a)->path, ((const struct mq_tree_file *)b)->path);
}

static mq_status take_lines(struct mq_source *source, size_t *ids, const struct mq_list_line *lines, size_t n,
                            const struct mq_tree *tree, const char *list_path, const char *what,
                            struct mq_err *err) {
  qsort(tree->files, tree->n, sizeof *tree->files, compare_files);
  for (size_t i = 0; i < n; i++) {
    const struct mq_tree_file wanted = {.path = lines[i].name};
    const struct mq_tree_file *found = bsearch(&wanted, tree->files, tree->n, sizeof wanted, compare_files);
    if (!found) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: '%s' is not in %s", list_path, lines[i].name, what);
    }
    ids[i] = found->id;
    const char *name = mq_arena_strdup(&source->arena, found->path);
    mq_status status =
        name ? mq_source_add(source, name, lines[i].label, err) : mq_fail_memory(err, "list of images");
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

mq_status mq_tree_take_list(struct mq_source *source, size_t **ids, const struct mq_tree *tree,
                            const char *list_path, const char *what, struct mq_err *err) {
  char *text = NULL;
  struct mq_list_line *lines = NULL;
  size_t n_text = 0, n = 0;
  mq_status status = mq_file_read(&text, &n_text, list_path, MAX_LIST_BYTES, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_list_parse(&lines, &n, text, list_path, err);
  if (status == MQ_OK && n == 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no lines, expected `name label`", list_path);
  }
  if (status == MQ_OK) {
    *ids = mq_arena_alloc(&source->arena, n, sizeof **ids);
    status = *ids ? take_lines(source, *ids, lines, n, tree, list_path, what, err)
                  : mq_fail_memory(err, "list of images");
  }
  mq_free(lines);
  mq_free(text);
  return status;
}
