/* The quantizers' tables, and the parts that several of them are made of. */
#ifndef MQ_QUANT_QUANTIZERS_QUANTIZERS_H
#define MQ_QUANT_QUANTIZERS_QUANTIZERS_H

#include "mqbench/quant.h"

extern const struct mq_quantizer_ops mq_quantizer_lsq, mq_quantizer_lsq_plus, mq_quantizer_pact,
    mq_quantizer_dorefa, mq_quantizer_dsq, mq_quantizer_qil, mq_quantizer_apot, mq_quantizer_tqt,
    mq_quantizer_lqnet, mq_quantizer_nnie, mq_quantizer_minmax;

/* Whether a table is whole, as mq_quantizer_load asks of plug-ins: what is missing, or NULL. */
const char *mq_quantizer_defect(const struct mq_quantizer_ops *quantizer);

/* ---- Configuration --------------------------------------------------------------------------------------
 */
/* The scheme is sound and the quantizer takes this kind of tensor. */
mq_status mq_quantizer_check_kind(const struct mq_quantizer_ops *quantizer,
                                  const struct mq_quantizer_config *config, const char *what,
                                  struct mq_err *err) MQ_MUST_CHECK;
/* For methods that are defined for symmetric schemes only. */
mq_status mq_quantizer_check_symmetric(const struct mq_quantizer_ops *quantizer,
                                       const struct mq_quantizer_config *config, const char *what,
                                       struct mq_err *err) MQ_MUST_CHECK;
/* Mean and standard deviation (with N - 1; 0 of a single value) of channel c's rows, all rows per tensor. */
void mq_quantizer_moments(double *mean, double *std, const struct mq_quantizer_config *config, int64_t c,
                          const float *rows, int64_t n_rows, int64_t row_count);
bool mq_quantizer_has_option(const struct mq_quantizer_config *config); /* a switch: given and not 0 */
static inline int64_t mq_quantizer_channel(const struct mq_quantizer_config *config, int64_t row) {
  return config->n_channels > 1 ? row : 0;
}
/* LSQ's gradient scale 1/sqrt(N p) (Esser et al., 1902.08153). */
double mq_quantizer_gradient_scale(const struct mq_quantizer_config *config);
/* The smallest value a learned scale or clip may have: the spacing of float32 at 1. */
#define MQ_LEAST_PARAMETER 0x1p-23f
float mq_quantizer_safe_scale(float scale); /* max(|scale|, that); NaN stays */

/* ---- The form of a uniform quantizer --------------------------------------------------------------------
 *   r = clip(rne(v), n - z, p - z),  v = (x - offset) / s;   y = s r + offset;   code = r + z
 * The backward tells three kinds of values apart by two thresholds, whatever the mask:
 *   mask before rounding (m):  n - z <= v <= p - z           mq_uniform_mask_before
 *   mask after rounding (m'):  n - z <= rne(v) <= p - z      mq_uniform_mask_after
 * A threshold for m' is the last float that rounds to the bound. */
struct mq_uniform_channel {
  double scale, zero_point; /* in use: s^ with a power-of-two scale; a whole number */
  double slope;             /* ds^/ds: s^/s with a power-of-two scale, else 1 */
  double lo, hi;            /* first and last value of the inside */
};
struct mq_uniform {
  double quant_min, quant_max; /* of the codes */
  double offset;               /* 0: the outputs lie on the grid s (q - z) */
  double is_masked_after;      /* of all channels: which mask mq_uniform_backward takes */
  double own[5];               /* the method's own numbers */
  struct mq_uniform_channel channel[];
};
static inline struct mq_uniform *mq_uniform_of(double *form) {
  return (struct mq_uniform *)(void *)form;
}
static inline const struct mq_uniform *mq_uniform_of_const(const double *form) {
  return (const struct mq_uniform *)(const void *)form;
}
size_t mq_uniform_form_count(const struct mq_quantizer_config *config);

/* Bounds, and channel c's scale, zero point and slope, by quant/qparams. `scheme`: config's, or one like it.
 * Values that are not finite make the scale NaN. */
struct mq_uniform_rule {
  const struct mq_scheme *scheme;
  bool is_non_negative;
  const float *least_scale; /* of all channels, or NULL */
};
struct mq_uniform_rule mq_uniform_rule(const struct mq_quantizer_config *config, const float *least_scale);
void mq_uniform_set_scale(struct mq_uniform *uniform, const struct mq_uniform_rule *rule, int64_t c,
                          float scale, float zero_point);
void mq_uniform_set_range(struct mq_uniform *uniform, const struct mq_uniform_rule *rule, int64_t c, float lo,
                          float hi);
void mq_uniform_mask_before(struct mq_uniform *uniform, int64_t c);
void mq_uniform_mask_after(struct mq_uniform *uniform, int64_t c);

/* Entries for the tables. Two sums per channel, what scale and zero point learn from (before LSQ's gradient
 * scale): mq_loop_lsq_backward in kernel.h. */
enum {
  MQ_SUM_SCALE,      /* g (inside ? r - v : the bound passed, less z) */
  MQ_SUM_ZERO_POINT, /* g (inside ? 0 : -s) */
  MQ_N_SUMS
};
size_t mq_uniform_sum_count(const struct mq_quantizer_config *config);
void mq_uniform_forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                        const float *x, int64_t n_rows, int64_t row_count);
/* dx = g inside, else 0; sums NULL: not wanted. */
void mq_uniform_backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                         const double *form, const float *g, const float *x, int64_t n_rows,
                         int64_t row_count);
bool mq_uniform_grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form);

/* A run of values of one channel: what the above and methods with a transform are made of. codes, y: either
 * may be NULL; y may be x. */
void mq_uniform_forward_run(float *y, uint8_t *codes, const struct mq_uniform *uniform, int64_t c,
                            const float *x, int64_t n);

/* ---- Clip with learned or fixed ends: PACT's activations, and DoReFa's with alpha 1
 * ------------------------- Thresholds are of x itself. own[MQ_CLIP_ABOVE], own[MQ_CLIP_BELOW]: what the sums
 * count for (the variant `published` loses them where an end rounds beyond its bound). */
enum {
  MQ_CLIP_ABOVE,
  MQ_CLIP_BELOW,
  MQ_CLIP_N_SUMS
};
typedef enum mq_clip_kind {
  MQ_CLIP_BOTH,         /* [-alpha, alpha]: symmetric on a signed range */
  MQ_CLIP_NON_NEGATIVE, /* [0, alpha] */
  MQ_CLIP_TWO           /* [beta, alpha], asymmetric, nudged so that zero is a grid point */
} mq_clip_kind;
mq_clip_kind mq_clip_kind_of(const struct mq_quantizer_config *config);
/* is_open: the ends themselves are outside. */
void mq_clip_derive(double *form, const struct mq_quantizer_config *config, float alpha, float beta,
                    bool is_open, const float *least_scale);
void mq_clip_backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                      const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count);

/* ---- Statistics: extrema per channel, beginning from zeros ------------------------------------------------
 */
size_t mq_extrema_count(const struct mq_quantizer_config *config);
void mq_extrema_observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                        int64_t n_rows, int64_t row_count);
void mq_extrema_merge(double *into, const double *from, const struct mq_quantizer_config *config);
struct mq_range mq_extrema_range(const double *statistics, int64_t c); /* NaN in the data: NaN */

#endif
