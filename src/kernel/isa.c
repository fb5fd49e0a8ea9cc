#include "kernel/isa.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernel/onednn.h"
#include "kernel/simd.h"

static const char *const isa_names[] = {"base",        "avx2", "avx512", "avx512_vnni",
                                        "avx512_bf16", "amx",  "native"};

mq_status mq_isa_parse(mq_isa *isa, const char *text, struct mq_err *err) {
  for (size_t i = 0; i < sizeof isa_names / sizeof *isa_names; i++) {
    if (strcmp(text, isa_names[i]) == 0) {
      *isa = (mq_isa)i;
      return MQ_OK;
    }
  }
  return mq_fail(err, MQ_BAD_USAGE,
                 "instruction set \"%s\": expected avx2, avx512, avx512_vnni, avx512_bf16, amx or native",
                 text);
}

const char *mq_isa_name(mq_isa isa) {
  return isa_names[isa];
}

#if defined(__x86_64__)
struct cpuid {
  unsigned eax, ebx, ecx, edx;
};

static struct cpuid read_cpuid(unsigned leaf, unsigned subleaf) {
  struct cpuid r = {0};
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) r = (struct cpuid){0};
  return r;
}

/* XCR0: which register states the operating system saves. */
static uint64_t read_xcr0(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static bool has(unsigned bits, unsigned wanted) {
  return (bits & wanted) == wanted;
}

mq_isa mq_isa_detect(void) {
  const unsigned fma_osxsave_avx = 1u << 12 | 1u << 27 | 1u << 28;
  const struct cpuid leaf1 = read_cpuid(1, 0), leaf7 = read_cpuid(7, 0), leaf7_1 = read_cpuid(7, 1);
  if (!has(leaf1.ecx, fma_osxsave_avx)) return MQ_ISA_BASE;
  const uint64_t xcr0 = read_xcr0();
  const uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
  if ((xcr0 & ymm) != ymm || !has(leaf7.ebx, bit_AVX2)) return MQ_ISA_BASE;
  const unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  if ((xcr0 & zmm) != zmm || !has(leaf7.ebx, avx512)) return MQ_ISA_AVX2;
  if (!has(leaf7.ecx, 1u << 11)) return MQ_ISA_AVX512;       /* AVX512_VNNI */
  if (!has(leaf7_1.eax, 1u << 5)) return MQ_ISA_AVX512_VNNI; /* AVX512_BF16 */
  const unsigned amx = 1u << 22 | 1u << 24 | 1u << 25;       /* AMX-BF16, AMX-TILE, AMX-INT8 */
  if ((xcr0 & tiles) != tiles || !has(leaf7.edx, amx)) return MQ_ISA_AVX512_BF16;
  return MQ_ISA_AMX;
}

/* The brand string, 48 bytes in three leaves, without the blanks some makers put first. */
static void read_cpu_name(char name[49]) {
  char text[49] = "";
  if ((unsigned)__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return;
  for (unsigned i = 0; i < 3; i++) {
    const struct cpuid part = read_cpuid(0x80000002u + i, 0);
    memcpy(text + 16 * i, &part, sizeof part);
  }
  const char *first = text + strspn(text, " ");
  memcpy(name, first, strlen(first) + 1);
}
#else
/* The levels are x86's: other processors run the baseline loops, and oneDNN chooses for itself. */
mq_isa mq_isa_detect(void) {
  return MQ_ISA_BASE;
}

static void read_cpu_name(char name[49]) {
  name[0] = 0;
}
#endif

static mq_isa resolved = MQ_ISA_BASE;
static bool is_started;
static char cpu_name[49];

mq_status mq_kernel_start(mq_isa cap, struct mq_err *err) {
  const mq_isa best = mq_isa_detect(), isa = cap < best ? cap : best;
  if (is_started) {
    if (isa == resolved) return MQ_OK;
    return mq_fail(err, MQ_BAD_USAGE, "instruction set already fixed to %s, asked for %s",
                   mq_isa_name(resolved), mq_isa_name(isa));
  }
  const mq_status status = mq_onednn_start(isa, err);
  if (status != MQ_OK) return status;
  resolved = isa;
  read_cpu_name(cpu_name);
  is_started = true;
  return MQ_OK;
}

mq_isa mq_kernel_isa(void) {
  return resolved;
}

const char *mq_kernel_cpu_name(void) {
  return cpu_name;
}

void mq_kernel_start_worker(unsigned worker) {
  (void)worker;
  mq_onednn_set_threads();
}

static mq_simd_level level_of(mq_isa isa) {
  return isa >= MQ_ISA_AVX512 ? MQ_SIMD_AVX512 : isa == MQ_ISA_AVX2 ? MQ_SIMD_AVX2 : MQ_SIMD_BASE;
}

mq_simd_level mq_simd_level_used(void) {
  return level_of(resolved);
}

mq_simd_level mq_simd_level_best(void) {
  return level_of(mq_isa_detect());
}
