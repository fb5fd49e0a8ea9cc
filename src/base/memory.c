/* Counted heap memory and arenas. */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqbench/base.h"

#define ALIGNMENT ((size_t)64)
#define ARENA_BLOCK_BYTES ((size_t)64 << 10)

/* In front of every block of mq_alloc: keeps the alignment, remembers the size. */
struct header {
  size_t bytes;
  unsigned char padding[64 - sizeof(size_t)];
};

static atomic_size_t used_bytes;
static atomic_size_t limit_bytes;

void mq_memory_set_limit(size_t bytes) {
  atomic_store(&limit_bytes, bytes);
}
size_t mq_memory_used(void) {
  return atomic_load(&used_bytes);
}

static bool reserve(size_t bytes) {
  size_t limit = atomic_load(&limit_bytes);
  size_t before = atomic_fetch_add(&used_bytes, bytes);
  if (limit && (before > limit || bytes > limit - before)) {
    atomic_fetch_sub(&used_bytes, bytes);
    return false;
  }
  return true;
}

static bool total_size(size_t *total, size_t count, size_t bytes) {
  if (__builtin_mul_overflow(count, bytes, total) || *total > SIZE_MAX / 2) {
    return false;
  }
  *total = (*total + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return true;
}

void *mq_alloc(size_t count, size_t bytes) {
  size_t total;
  if (!total_size(&total, count, bytes) || !reserve(total)) {
    return NULL;
  }
  struct header *header = aligned_alloc(ALIGNMENT, sizeof *header + total);
  if (!header) {
    atomic_fetch_sub(&used_bytes, total);
    return NULL;
  }
  header->bytes = total;
  return memset(header + 1, 0, total);
}

void *mq_realloc(void *block, size_t count, size_t bytes) {
  void *grown = mq_alloc(count, bytes);
  if (grown && block) {
    size_t old_bytes = ((struct header *)block - 1)->bytes;
    size_t new_bytes = count * bytes;
    memcpy(grown, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    mq_free(block);
  }
  return grown;
}

void mq_free(void *block) {
  if (block) {
    struct header *header = (struct header *)block - 1;
    atomic_fetch_sub(&used_bytes, header->bytes);
    free(header);
  }
}

struct mq_arena_block {
  struct mq_arena_block *next;
  size_t capacity, used;
  unsigned char padding[64 - 3 * sizeof(size_t)];
};

void mq_arena_init(struct mq_arena *arena, size_t limit) {
  *arena = (struct mq_arena){.limit_bytes = limit};
}

void mq_arena_deinit(struct mq_arena *arena) {
  for (struct mq_arena_block *block = arena->blocks, *next; block; block = next) {
    next = block->next;
    mq_free(block);
  }
  *arena = (struct mq_arena){.limit_bytes = arena->limit_bytes};
}

static struct mq_arena_block *add_block(struct mq_arena *arena, size_t bytes) {
  size_t capacity = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
  struct mq_arena_block *block = mq_alloc(1, sizeof *block + capacity);
  if (!block) {
    return NULL;
  }
  block->capacity = capacity;
  /* A large block goes behind the current one, whose free space stays usable. */
  bool is_large = bytes > ARENA_BLOCK_BYTES / 4 && arena->blocks;
  struct mq_arena_block **link = is_large ? &arena->blocks->next : &arena->blocks;
  block->next = *link;
  *link = block;
  return block;
}

void *mq_arena_alloc(struct mq_arena *arena, size_t count, size_t bytes) {
  size_t total;
  if (!total_size(&total, count, bytes)) {
    return NULL;
  }
  if (arena->limit_bytes &&
      (arena->used_bytes > arena->limit_bytes || total > arena->limit_bytes - arena->used_bytes)) {
    return NULL;
  }
  struct mq_arena_block *block = arena->blocks;
  if (!block || block->capacity - block->used < total) {
    block = add_block(arena, total);
    if (!block) {
      return NULL;
    }
  }
  void *result = (unsigned char *)(block + 1) + block->used;
  block->used += total;
  arena->used_bytes += total;
  return result;
}

char *mq_arena_strdup(struct mq_arena *arena, const char *text) {
  size_t bytes = strlen(text) + 1;
  char *copy = mq_arena_alloc(arena, 1, bytes);
  return copy ? memcpy(copy, text, bytes) : NULL;
}

char *mq_arena_printf(struct mq_arena *arena, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = length < 0 ? NULL : mq_arena_alloc(arena, 1, (size_t)length + 1);
  if (text) {
    vsnprintf(text, (size_t)length + 1, format, again);
  }
  va_end(again);
  return text;
}
