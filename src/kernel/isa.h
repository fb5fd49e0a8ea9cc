/* What the CPU and the operating system offer (CPUID and XCR0). */
#ifndef MQ_KERNEL_ISA_H
#define MQ_KERNEL_ISA_H

#include "mqbench/kernel.h"

/* The best instruction set of this machine, no cap. Valgrind's CPUID has no AVX-512. */
mq_isa mq_isa_detect(void);

#endif
