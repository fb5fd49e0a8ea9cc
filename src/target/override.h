/* Which overrides match which points and ops. */
#ifndef MQ_TARGET_OVERRIDE_H
#define MQ_TARGET_OVERRIDE_H

#include "mqbench/target.h"

/* Of `layer` (NULL: of any), setting nothing yet. */
struct mq_scheme_override mq_override_blank(const char *layer);
/* The last override for both roles that matches this op (by class, first, last or name) and says keep_float.
 */
bool mq_override_keeps_op_float(const struct mq_target *target, const struct mq_graph *graph,
                                const struct mq_node *node);
/* *matches: the override speaks of this placement (role, class, name; whatever fields it sets). */
mq_status mq_override_matches(bool *matches, const struct mq_scheme_override *o, const struct mq_graph *graph,
                              const struct mq_placement *placement, struct mq_err *err) MQ_MUST_CHECK;
/* The override names this op: by node name, the stem of its weights' name, or /expression/. */
bool mq_override_names_op(const struct mq_scheme_override *o, const struct mq_node *node);
/* The override names this tensor, exactly or by /expression/. */
bool mq_override_names_tensor(const struct mq_scheme_override *o, const struct mq_value *value);
/* NULL if `layer` is a name or a good /expression/, otherwise what is wrong, in caller storage. */
const char *mq_layer_pattern_check(char *text, size_t text_bytes, const char *layer);

#endif
