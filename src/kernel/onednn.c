#include "kernel/onednn.h"

#include <dnnl.h>
#include <omp.h>

#include <stdio.h>

#include "kernel/onednn_internal.h"

static dnnl_engine_t engine; /* lives as long as the process */
static char library_version[32];

dnnl_engine_t mq_onednn_engine(void) {
  return engine;
}

mq_status mq_onednn_check(dnnl_status_t status, const char *call, struct mq_err *err) {
  if (status == dnnl_success) return MQ_OK;
  if (status == dnnl_out_of_memory) return mq_fail_memory(err, call);
  const char *why = status == dnnl_unimplemented       ? "unimplemented"
                    : status == dnnl_invalid_arguments ? "invalid arguments"
                                                       : "runtime error";
  return mq_fail(err, MQ_FAILED, "oneDNN %s: %s", call, why);
}

static dnnl_cpu_isa_t library_isa(mq_isa isa) {
  switch (isa) {
    case MQ_ISA_AVX2:
      return dnnl_cpu_isa_avx2;
    case MQ_ISA_AVX512:
      return dnnl_cpu_isa_avx512_core;
    case MQ_ISA_AVX512_VNNI:
      return dnnl_cpu_isa_avx512_core_vnni;
    case MQ_ISA_AVX512_BF16:
      return dnnl_cpu_isa_avx512_core_bf16;
    case MQ_ISA_AMX:
      return dnnl_cpu_isa_avx512_core_amx;
    case MQ_ISA_BASE:
    case MQ_ISA_NATIVE:
      break;
  }
  return dnnl_cpu_isa_sse41;
}

mq_status mq_onednn_start(mq_isa cap, struct mq_err *err) {
  mq_onednn_use_one_thread();
  mq_status status = mq_onednn_check(dnnl_set_max_cpu_isa(library_isa(cap)), "set_max_cpu_isa", err);
  if (status == MQ_OK) {
    /* An environment variable may allow lower precision inside float32 convolutions: never here. */
    status = mq_onednn_check(dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict), "set_fpmath_mode", err);
  }
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine_create", err);
  const dnnl_version_t *version = dnnl_version();
  snprintf(library_version, sizeof library_version, "%d.%d.%d", version->major, version->minor,
           version->patch);
  return status;
}

void mq_onednn_use_one_thread(void) {
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
}

const char *mq_kernel_onednn_version(void) {
  return library_version;
}
