/* A TFLite file read back and run, by code of its own: a reader of FlatBuffers that knows the format's field
 * numbers, and the reference kernels as plain loops. */
#ifndef MQ_TESTS_HELP_TFLITE_H
#define MQ_TESTS_HELP_TFLITE_H

#include "common.h"
#include "mqbench/program.h"

#define FLAT_MAX_RANK 8
#define FLAT_MAX_INPUTS 8
#define FLAT_MAX_ITEMS 256

enum {
  FLAT_FLOAT32 = 0,
  FLAT_INT32 = 2,
  FLAT_INT8 = 9
};

struct flat_tensor {
  char name[128];
  int type, rank;
  int32_t shape[FLAT_MAX_RANK], first_of_signature; /* 0: no signature */
  int n_scales, quantized_dimension;
  float scale[64];
  int64_t zero_point;
  const uint8_t *data; /* constants */
  uint32_t bytes;
  double *value; /* codes or floats, once the file has run; owned */
};
struct flat_operator {
  int code, version, n_inputs, inputs[FLAT_MAX_INPUTS], output;
  int options_type;
  uint32_t options; /* position of the table; 0: none */
};
struct flat_file {
  char *bytes; /* owned */
  size_t n;
  int n_tensors, n_operators, n_inputs, n_outputs, inputs[4], outputs[4];
  struct flat_tensor tensor[FLAT_MAX_ITEMS];
  struct flat_operator op[FLAT_MAX_ITEMS];
};

/* Anything out of place fails the test. */
void flat_open(struct flat_file *file, const char *path);
void flat_close(struct flat_file *file);
/* NULL if there is none. */
struct flat_tensor *flat_find(struct flat_file *file, const char *name);
const struct flat_operator *flat_maker(const struct flat_file *file, const char *name); /* who makes it */
int64_t flat_count(const struct flat_tensor *tensor);
/* A number of the operator's options; `byte`: fields of one byte. */
int32_t flat_option(const struct flat_file *file, const struct flat_operator *op, int field, bool byte,
                    int32_t without);
/* Runs it on one image, N H W C. */
void flat_run(struct flat_file *file, const float *input);

#endif
