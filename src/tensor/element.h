/* One element of any dtype, as double or int64. */
#ifndef MQ_TENSOR_ELEMENT_H
#define MQ_TENSOR_ELEMENT_H

#include "mqbench/tensor.h"

double mq_element_double(mq_dtype dtype, const void *p);
int64_t mq_element_int(mq_dtype dtype, const void *p);       /* floats: half to even, saturated; NaN is 0 */
void mq_element_set_int(mq_dtype dtype, void *p, int64_t i); /* saturates */
void mq_element_convert(mq_dtype to_dtype, void *to, mq_dtype from_dtype, const void *from);
float mq_float_from_half(uint16_t half);
uint16_t mq_half_from_float(float x); /* half to even */

#endif
