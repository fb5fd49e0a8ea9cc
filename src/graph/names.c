/* The name index of a graph: lookup, and making names unique. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "graph/internal.h"

/* FNV-1a, then a finaliser so that the low bits depend on every byte. */
static uint64_t hash_name(const char *name) {
  uint64_t h = 14695981039346656037u;
  for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
    h = (h ^ *p) * 1099511628211u;
  }
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdu;
  return h ^ h >> 33;
}

/* The entry of `name`, or the free one where it belongs. */
static struct name_entry *find_entry(const struct mq_graph_names *names, const char *name) {
  size_t i = (size_t)hash_name(name) & (names->capacity - 1);
  while (names->entries[i].name && strcmp(names->entries[i].name, name) != 0) {
    i = (i + 1) & (names->capacity - 1);
  }
  return &names->entries[i];
}

static bool grow(struct mq_graph_names *names, struct mq_arena *arena) {
  if (names->n_entries * 4 < names->capacity * 3) {
    return true;
  }
  struct mq_graph_names larger = {.capacity = names->capacity ? names->capacity * 2 : 64,
                                  .n_entries = names->n_entries};
  larger.entries = mq_arena_alloc(arena, larger.capacity, sizeof *larger.entries);
  if (!larger.entries) {
    return false;
  }
  for (size_t i = 0; i < names->capacity; i++) {
    if (names->entries[i].name) {
      *find_entry(&larger, names->entries[i].name) = names->entries[i];
    }
  }
  *names = larger;
  return true;
}

/* The first free "<base>_<i>", i counting on from the last time; on the heap, NULL without memory. */
static char *make_unique(struct mq_graph_names *names, struct name_entry *base) {
  size_t bytes = strlen(base->name) + 24;
  char *name = mq_alloc(bytes, 1);
  if (!name) {
    return NULL;
  }
  const struct name_entry *entry;
  do {
    base->next_suffix++;
    snprintf(name, bytes, "%s_%zu", base->name, base->next_suffix);
    entry = find_entry(names, name);
  } while (entry->name && entry->object);
  return name;
}

mq_status graph_names_claim(const char **name, struct mq_graph_names *names, struct mq_arena *arena,
                            const char *wanted, const char *fallback, void *object, struct mq_err *err) {
  char *suffixed = NULL;
  mq_status status = MQ_OK;
  *name = NULL;
  if (!grow(names, arena)) {
    return mq_fail_memory(err, "names of a graph");
  }
  const char *base = wanted && *wanted ? wanted : fallback;
  struct name_entry *entry = find_entry(names, base);
  if (entry->name && entry->object) {
    suffixed = make_unique(names, entry);
    if (!suffixed) {
      return mq_fail_memory(err, "names of a graph");
    }
    entry = find_entry(names, suffixed);
  }
  if (!entry->name) {
    const char *copy = mq_arena_strdup(arena, suffixed ? suffixed : base);
    if (!copy) {
      status = mq_fail_memory(err, "names of a graph");
      goto done;
    }
    *entry = (struct name_entry){.name = copy};
    names->n_entries++;
  }
  entry->object = object;
  *name = entry->name;
done:
  mq_free(suffixed);
  return status;
}

void *graph_names_find(const struct mq_graph_names *names, const char *name) {
  return names->capacity ? find_entry(names, name)->object : NULL;
}

void graph_names_point(struct mq_graph_names *names, const char *name, void *object) {
  struct name_entry *entry = find_entry(names, name);
  assert(entry->name);
  entry->object = object;
}
