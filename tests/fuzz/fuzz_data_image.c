/* Image files from anywhere: decoded or refused; what is decoded can be resized and cropped. */
#include <stdlib.h>

#include "data/transform.h"

#define MEMORY_BYTES ((size_t)1 << 30)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static const struct mq_preprocess preprocess[] = {
      {.resize = 24, .crop = 20}, {.size = {9, 33}}, {.crop = 40}, {.resize = 1, .crop = 3}};
  struct mq_image image;
  int64_t peeked[2];
  mq_memory_set_limit(MEMORY_BYTES);
  const mq_status status = mq_image_decode(&image, bytes, n, false, "fuzz", NULL);
  if (status != MQ_OK) {
    return 0;
  }
  if (mq_image_peek(peeked, bytes, n, false, "fuzz", NULL) != MQ_OK || peeked[0] != image.height ||
      peeked[1] != image.width) {
    abort();
  }
  for (size_t i = 0; i < sizeof preprocess / sizeof preprocess[0]; i++) {
    int64_t size[2];
    uint8_t out[40 * 40 * 3];
    mq_transform_size(size, &preprocess[i], image.height, image.width);
    if (mq_transform_geometry(out, &image, &preprocess[i], NULL) == MQ_BAD_USAGE) {
      abort();
    }
  }
  mq_image_deinit(&image);
  return 0;
}
