#include "report/group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report/text.h"

struct keyed {
  const char *key;
  size_t bytes, item;
};

void mq_put_key(FILE *out, const char *text) {
  fputc(text ? '+' : '-', out);
  fputs(text ? text : "", out);
  fputc('\0', out);
}

void mq_put_key_number(FILE *out, int64_t number) {
  fprintf(out, "%" PRId64, number);
  fputc('\0', out);
}

static bool is_same_key(const struct keyed *a, const struct keyed *b) {
  return a->bytes == b->bytes && !memcmp(a->key, b->key, a->bytes);
}

static int compare_keys(const void *a, const void *b) {
  const struct keyed *x = a, *y = b;
  int order = memcmp(x->key, y->key, x->bytes < y->bytes ? x->bytes : y->bytes);
  if (order == 0) order = (x->bytes > y->bytes) - (x->bytes < y->bytes);
  return order ? order : (x->item > y->item) - (x->item < y->item);
}

/* Keys come one behind the other; their places are known once the last one is written. */
static mq_status write_keys(struct mq_text *text, struct keyed *keys, size_t n, mq_group_key_fn put_key,
                            const void *context, struct mq_err *err) {
  mq_status status = mq_text_open(text, err);
  if (status != MQ_OK) {
    return status;
  }
  for (size_t i = 0; i < n; i++) {
    long before = ftell(text->stream);
    put_key(text->stream, context, i);
    keys[i] = (struct keyed){.bytes = (size_t)(ftell(text->stream) - before), .item = i};
  }
  status = mq_text_close(text, err);
  size_t used = 0;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    keys[i].key = text->bytes + used;
    used += keys[i].bytes;
  }
  return status;
}

/* Equal keys stand together, the first item first: it numbers its group in a second walk, by item. */
static void number_groups(struct mq_groups *groups, const struct keyed *keys, size_t n) {
  for (size_t i = 0; i < n; i++) {
    bool is_new = i == 0 || !is_same_key(&keys[i], &keys[i - 1]);
    groups->of[keys[i].item] = is_new ? keys[i].item : groups->of[keys[i - 1].item];
  }
  for (size_t i = 0; i < n; i++) {
    size_t leader = groups->of[i];
    if (leader == i) {
      groups->first[groups->n] = i;
      groups->of[i] = groups->n++;
    } else {
      groups->of[i] = groups->of[leader];
    }
  }
}

mq_status mq_group(struct mq_groups *groups, size_t n_items, mq_group_key_fn put_key, const void *context,
                   struct mq_arena *arena, struct mq_err *err) {
  size_t n = n_items ? n_items : 1;
  struct mq_text text = {.bytes = NULL};
  struct keyed *keys = mq_alloc(n, sizeof *keys);
  *groups = (struct mq_groups){.of = mq_arena_alloc(arena, n, sizeof *groups->of),
                               .first = mq_arena_alloc(arena, n, sizeof *groups->first)};
  mq_status status = keys && groups->of && groups->first ? MQ_OK : mq_fail_memory(err, "groups of runs");
  if (status == MQ_OK) {
    status = write_keys(&text, keys, n_items, put_key, context, err);
  }
  if (status == MQ_OK) {
    qsort(keys, n_items, sizeof *keys, compare_keys);
    number_groups(groups, keys, n_items);
  }
  mq_text_deinit(&text);
  mq_free(keys);
  return status;
}
