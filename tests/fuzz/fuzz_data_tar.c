/* Tar archives from anywhere: indexed or refused; entries lie in memory that can be read, and their names
 * sort into classes. */
#include <stdlib.h>
#include <string.h>

#include "data/tar.h"
#include "data/tree.h"

#define MEMORY_BYTES ((size_t)1 << 30)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void sort_into_classes(const struct mq_tar *tar, bool is_archive) {
  struct mq_source source = {0};
  struct mq_tree tree = {0};
  size_t *ids = NULL;
  mq_arena_init(&source.arena, 0);
  for (size_t i = 0; i < tar->n; i++) {
    const struct mq_tree_file file = {.path = tar->entries[i].name, .id = i};
    if (mq_tree_add(&tree, &file, NULL) != MQ_OK) {
      abort();
    }
  }
  if (mq_tree_take_folders(&source, &ids, &tree, MQ_SPLIT_DEFAULT, is_archive, "fuzz", NULL) == MQ_OK) {
    for (int64_t i = 0; i < source.n_entries; i++) {
      if (ids[i] >= tar->n || source.entries[i].label >= source.n_classes) {
        abort();
      }
    }
  }
  mq_tree_deinit(&tree);
  mq_free(source.entries);
  mq_arena_deinit(&source.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct mq_tar tar = {0};
  struct mq_arena arena;
  mq_memory_set_limit(MEMORY_BYTES);
  mq_arena_init(&arena, 0);
  if (mq_tar_index(&tar, bytes, n, "fuzz.tar", &arena, NULL) == MQ_OK) {
    unsigned sum = 0;
    for (size_t i = 0; i < tar.n; i++) {
      for (size_t k = 0; k < tar.entries[i].n; k++) {
        sum += tar.entries[i].bytes[k];
      }
    }
    sort_into_classes(&tar, sum % 2);
  }
  mq_tar_deinit(&tar);
  mq_arena_deinit(&arena);
  return 0;
}
