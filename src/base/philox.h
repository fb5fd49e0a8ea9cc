#ifndef MQ_BASE_PHILOX_H
#define MQ_BASE_PHILOX_H

#include <stdint.h>

/* One block of Philox4x32-10. */
void mq_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

#endif
