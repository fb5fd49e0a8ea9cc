/* Loops compiled once per instruction set, and the tables that choose among them.
 *
 * Every source in kernel/simd/ is compiled three times (cmake/simd.cmake): for the baseline (SSE2), AVX2 and
 * AVX-512. Each subject is one struct of function pointers and one constant table per level:
 *
 *   kernel/simd/elementwise.h   struct mq_simd_elementwise { void (*clip)(...); ... };
 *                               MQ_SIMD_DECLARE(mq_simd_elementwise)
 *   kernel/simd/elementwise.c   static void clip(...) { plain C that the compiler vectorises }
 *                               const struct mq_simd_elementwise MQ_SIMD_NAME(mq_simd_elementwise) = {.clip =
 * clip}; a caller                    mq_simd_elementwise_at(mq_simd_level_used())->clip(...);
 *
 * Rules for these sources, so that every level gives the same bits: float arithmetic is written in the order
 * in which it is to happen (no fused multiply-add, no reassociation: the build forbids both), reductions run
 * in a fixed number of lanes that are combined in a fixed order, and no function of libm is called (before
 * SSE4.1 even rintf is a call). Everything but the table is static: a function shared between levels would be
 * linked from whichever level comes first. */
#ifndef MQ_KERNEL_SIMD_H
#define MQ_KERNEL_SIMD_H

#include "mqbench/kernel.h"

typedef enum mq_simd_level {
  MQ_SIMD_BASE,
  MQ_SIMD_AVX2,
  MQ_SIMD_AVX512,
  MQ_SIMD_COUNT
} mq_simd_level;

/* The level of the resolved instruction set; the baseline before mq_kernel_start. */
mq_simd_level mq_simd_level_used(void);
/* The best level that this CPU can run, whatever the cap (for tests that compare the tables). */
mq_simd_level mq_simd_level_best(void);

/* Declares the three tables of a subject and <subject>_at(level). */
#define MQ_SIMD_DECLARE(subject)                                                          \
  extern const struct subject subject##_base, subject##_avx2, subject##_avx512;           \
  static inline const struct subject *subject##_at(mq_simd_level level) {                 \
    const struct subject *const table[MQ_SIMD_COUNT] = {&subject##_base, &subject##_avx2, \
                                                        &subject##_avx512};               \
    return table[level];                                                                  \
  }

#ifdef MQ_SIMD_LEVEL
#define MQ_SIMD_PASTE_EXPANDED(name, level) name##_##level
#define MQ_SIMD_PASTE(name, level) MQ_SIMD_PASTE_EXPANDED(name, level)
/* The name of this level's table: mq_simd_elementwise_avx2. */
#define MQ_SIMD_NAME(name) MQ_SIMD_PASTE(name, MQ_SIMD_LEVEL)
#endif

/* In front of a loop whose iterations touch nothing of each other. Without it a loop that runs in place falls
 * back to scalar code, since the compiler's overlap test sees the same memory. */
#ifdef __clang__
#define MQ_SIMD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MQ_SIMD_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* In front of a loop of few constant rounds over an array that is to live in registers. */
#ifdef __clang__
#define MQ_SIMD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MQ_SIMD_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
