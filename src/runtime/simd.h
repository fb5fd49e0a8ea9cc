/* Which loops run: kernel/simd.h's levels, and AVX-512 with VNNI. */
#ifndef MQ_RUNTIME_SIMD_H
#define MQ_RUNTIME_SIMD_H

#include "kernel/simd.h"

typedef enum runtime_level {
  RUNTIME_BASE,
  RUNTIME_AVX2,
  RUNTIME_AVX512,
  RUNTIME_VNNI,
  RUNTIME_LEVELS
} runtime_level;

static inline mq_simd_level runtime_simd(runtime_level level) {
  return level == RUNTIME_VNNI ? MQ_SIMD_AVX512 : (mq_simd_level)level;
}

#endif
