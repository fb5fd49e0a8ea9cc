#include "bench/variant.h"

#include <stdio.h>
#include <string.h>

#define WHOLE "published"
#define SEPARATORS ",+ "

static const struct {
  const char *name;
  unsigned part;
} parts[] = {{"quantizer", MQ_VARIANT_QUANTIZER},
             {"observer", MQ_VARIANT_OBSERVER},
             {"bn_fold", MQ_VARIANT_BN_FOLD},
             {"bn_variance", MQ_VARIANT_BN_VARIANCE},
             {"observer_eval", MQ_VARIANT_OBSERVER_EVAL}};

#define N_PARTS (sizeof parts / sizeof *parts)

/* 0: no such part. */
static unsigned find_part(const char *name, size_t n) {
  for (size_t i = 0; i < N_PARTS; i++) {
    if (strlen(parts[i].name) == n && !strncmp(parts[i].name, name, n)) {
      return parts[i].part;
    }
  }
  return strlen(WHOLE) == n && !strncmp(WHOLE, name, n) ? MQ_VARIANT_ALL : 0;
}

static mq_status add_words(unsigned *set, const char *text, struct mq_err *err) {
  const char *words = strncmp(text, WHOLE ":", strlen(WHOLE) + 1) ? text : text + strlen(WHOLE) + 1;
  bool is_empty = true;
  for (const char *word = words + strspn(words, SEPARATORS); *word; word += strspn(word, SEPARATORS)) {
    size_t n = strcspn(word, SEPARATORS);
    unsigned part = find_part(word, n);
    if (!part) {
      return mq_fail(
          err, MQ_BAD_USAGE,
          "variant %.*s: expected published, or some of quantizer, observer, bn_fold, bn_variance, "
          "observer_eval",
          n < 60 ? (int)n : 60, word);
    }
    *set |= part;
    is_empty = false;
    word += n;
  }
  return is_empty ? mq_fail(err, MQ_BAD_USAGE, "variant: found nothing, expected published or parts of it")
                  : MQ_OK;
}

static mq_status format(const char **variant, unsigned set, struct mq_arena *arena, struct mq_err *err) {
  char text[128] = WHOLE;
  size_t used = strlen(text);
  for (size_t i = 0; i < N_PARTS && set != MQ_VARIANT_ALL; i++) {
    if (set & parts[i].part) {
      used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", strchr(text, ':') ? "+" : ":",
                               parts[i].name);
    }
  }
  *variant = mq_arena_strdup(arena, text);
  return *variant ? MQ_OK : mq_fail_memory(err, "variant");
}

mq_status mq_variant_parse(const char **variant, const char *text, struct mq_arena *arena,
                           struct mq_err *err) {
  unsigned set = 0;
  *variant = NULL;
  mq_status status = add_words(&set, text, err);
  return status == MQ_OK ? format(variant, set, arena, err) : status;
}

mq_status mq_variant_read(const char **variant, const struct mq_yaml_node *node, struct mq_arena *arena,
                          struct mq_err *err) {
  bool is_list = node->kind == MQ_YAML_LIST;
  size_t n = is_list ? node->n : 1;
  unsigned set = 0;
  *variant = NULL;
  if (n == 0) {
    return mq_yaml_fail(err, node, "variant: found an empty list, expected published or parts of it");
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_yaml_node *item = is_list ? node->items[i] : node;
    const char *text = NULL;
    struct mq_err why = {0};
    mq_status status = mq_yaml_get_text(&text, item, err);
    if (status != MQ_OK) {
      return status;
    }
    if (add_words(&set, text, &why) != MQ_OK) {
      return mq_yaml_fail(err, item, "%s", why.message);
    }
  }
  return format(variant, set, arena, err);
}

bool mq_variant_has(const char *variant, unsigned part) {
  unsigned set = 0;
  return variant && add_words(&set, variant, NULL) == MQ_OK && (set & part);
}

static bool has_published(const struct mq_quantizer_ops *quantizer) {
  const struct mq_quantizer_ops *of_weights =
      quantizer->w_quantizer ? mq_quantizer_find(quantizer->w_quantizer) : NULL;
  return quantizer->has_published || (of_weights && of_weights->has_published);
}

bool mq_variant_observes(const char *method) {
  return !strcmp(method, "pact") || !strcmp(method, "dorefa");
}

mq_status mq_variant_check(const char *variant, const char *method, struct mq_err *err) {
  if (!variant || !strcmp(variant, WHOLE)) {
    return MQ_OK;
  }
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(method);
  if (mq_variant_has(variant, MQ_VARIANT_OBSERVER_EVAL) && !mq_variant_observes(method)) {
    return mq_fail(err, MQ_BAD_USAGE, "variant observer_eval: method %s, expected pact or dorefa", method);
  }
  if (!strcmp(method, "float")) {
    return mq_fail(err, MQ_BAD_USAGE, "variant %s: method float has none", variant);
  }
  if (mq_variant_has(variant, MQ_VARIANT_QUANTIZER) && (!quantizer || !has_published(quantizer))) {
    return mq_fail(err, MQ_BAD_USAGE, "variant quantizer: method %s has no other form in the released code",
                   method);
  }
  if (!quantizer && mq_variant_has(variant, MQ_VARIANT_BN_FOLD | MQ_VARIANT_BN_VARIANCE)) {
    return mq_fail(err, MQ_BAD_USAGE, "variant %s: method %s trains nothing; expected observer", variant,
                   method);
  }
  return MQ_OK;
}
