/* What a run does as the paper's released code does it: all of it ("published"), or parts by name. */
#ifndef MQ_BENCH_VARIANT_H
#define MQ_BENCH_VARIANT_H

#include "base/yaml.h"
#include "mqbench/bench.h"

/* In the order of their names in a variant's text. */
enum {
  MQ_VARIANT_QUANTIZER = 1 << 0,     /* the method's forward and backward */
  MQ_VARIANT_OBSERVER = 1 << 1,      /* mean_minmax, kld */
  MQ_VARIANT_BN_FOLD = 1 << 2,       /* folding 2 and 3 are 1 */
  MQ_VARIANT_BN_VARIANCE = 1 << 3,   /* running variances by C/(C - 1) */
  MQ_VARIANT_OBSERVER_EVAL = 1 << 4, /* PACT, DoReFa: observers go on in evaluation */
  MQ_VARIANT_ALL = (1 << 5) - 1
};

/* From an option: "published", "bn_variance,observer", or a table's "published:observer+bn_variance".
 * *variant: "published", or "published:" and the parts in their order, joined by "+"; in arena. */
mq_status mq_variant_parse(const char **variant, const char *text, struct mq_arena *arena,
                           struct mq_err *err) MQ_MUST_CHECK;
/* From a plan: such a text, or a list of names. */
mq_status mq_variant_read(const char **variant, const struct mq_yaml_node *node, struct mq_arena *arena,
                          struct mq_err *err) MQ_MUST_CHECK;
/* A part that means nothing for the method: MQ_BAD_USAGE. "published" as a whole is what applies. */
mq_status mq_variant_check(const char *variant, const char *method, struct mq_err *err) MQ_MUST_CHECK;
/* Has the method observers that go on in evaluation in the released code? */
bool mq_variant_observes(const char *method);
/* variant NULL: nothing; otherwise a text made by the functions above. */
bool mq_variant_has(const char *variant, unsigned part);

#endif
