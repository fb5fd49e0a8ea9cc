/* Near misses of names, for messages that say what may have been meant. */
#ifndef MQ_BASE_SPELLING_H
#define MQ_BASE_SPELLING_H

#include <stddef.h>

/* Levenshtein distance: the least number of letters inserted, dropped or replaced. SIZE_MAX where a name is
 * over 200 bytes long. */
size_t mq_edit_distance(const char *a, const char *b);

#endif
