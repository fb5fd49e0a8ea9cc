/* Vectors of float32 as wide as the level's registers, for loops whose accumulators must stay in them. Fused
 * multiply-add where the level has it. */
#ifndef MQ_KERNEL_SIMD_VECTOR_H
#define MQ_KERNEL_SIMD_VECTOR_H

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
typedef __m512 mq_vec;
#define MQ_LANES 16
static inline mq_vec mq_load(const float *p) {
  return _mm512_loadu_ps(p);
}
static inline void mq_store(float *p, mq_vec v) {
  _mm512_storeu_ps(p, v);
}
static inline mq_vec mq_multiply_add(mq_vec a, mq_vec b, mq_vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
#elif defined(__AVX2__)
typedef __m256 mq_vec;
#define MQ_LANES 8
static inline mq_vec mq_load(const float *p) {
  return _mm256_loadu_ps(p);
}
static inline void mq_store(float *p, mq_vec v) {
  _mm256_storeu_ps(p, v);
}
static inline mq_vec mq_multiply_add(mq_vec a, mq_vec b, mq_vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
#else
/* Registers of 16 bytes, which every 64-bit processor has. */
typedef float mq_vec __attribute__((vector_size(16)));
#define MQ_LANES 4
static inline mq_vec mq_load(const float *p) {
  mq_vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void mq_store(float *p, mq_vec v) {
  memcpy(p, &v, sizeof v);
}
static inline mq_vec mq_multiply_add(mq_vec a, mq_vec b, mq_vec c) {
  return a * b + c;
}
#endif

#ifdef __FMA__
static inline float mq_multiply_add_1(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
#else
static inline float mq_multiply_add_1(float a, float b, float c) {
  return a * b + c;
}
#endif

#endif
