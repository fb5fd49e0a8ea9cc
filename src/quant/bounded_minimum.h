/* Minimum of a function of one variable on an interval (Brent, Algorithms for Minimization without
 * Derivatives, 1973: golden section and parabolas). Comparisons with NaN are false, so a function that is NaN
 * everywhere ends at the first point tried, lo + 0.382 (hi - lo). */
#ifndef MQ_QUANT_BOUNDED_MINIMUM_H
#define MQ_QUANT_BOUNDED_MINIMUM_H

typedef double (*mq_function_fn)(void *context, double x);
/* Place of the minimum, to about `tolerance`; lo < hi. */
double mq_bounded_minimum(mq_function_fn function, void *context, double lo, double hi, double tolerance);

#endif
