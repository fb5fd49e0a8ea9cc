#include "cli/bundle.h"

#include <string.h>

mq_status cli_bundle_check_target(const struct mq_bundle *bundle, const char *path, const char *target,
                                  struct mq_err *err) {
  if (strcmp(target, bundle->target) == 0) {
    return MQ_OK; /* also where the file is not here any more */
  }
  struct mq_target *named = NULL;
  mq_status status = mq_target_load(&named, target, err);
  if (status == MQ_OK && strcmp(named->name, bundle->target) != 0) {
    status =
        mq_fail(err, MQ_BAD_USAGE, "--target %s: the bundle %s was made for %s; quantize the model again",
                target, path, bundle->target);
  }
  mq_target_destroy(named);
  return status;
}
