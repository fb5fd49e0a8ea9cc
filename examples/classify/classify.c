/* classify PROGRAM.mqi PREPROCESSING IMAGE: which class a quantized network sees in a JPEG or PNG file.
 *   classify bundle/program.mqi preset=cifar frog.jpg */
#include <stdio.h>
#include <stdlib.h>

#include <mqbench/data.h>
#include <mqbench/runtime.h>

static int fail(const struct mq_err *err) {
  fprintf(stderr, "classify: %s\n", err->message);
  return EXIT_FAILURE;
}

int main(int argc, char **argv) {
  struct mq_err err = {.message = "usage: classify PROGRAM.mqi PREPROCESSING IMAGE"};
  struct mq_runtime *network = NULL;
  struct mq_preprocess preprocess;
  if (argc != 4 || mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK ||
      mq_preprocess_parse(&preprocess, argv[2], &err) != MQ_OK ||
      mq_runtime_open(&network, argv[1], NULL, &err) != MQ_OK)
    return fail(&err);
  const struct mq_program *program = mq_runtime_get_program(network);
  const struct mq_program_tensor *x = &program->tensors[program->inputs[0]]; /* [height][width][3] */
  const struct mq_program_tensor *y = &program->tensors[program->outputs[0]];
  if (x->type != MQ_PROGRAM_F32 || x->rank != 3 || x->dim[2] != 3)
    return fail(&(struct mq_err){.message = "the network's input is no image"});
  float *pixels = malloc(mq_program_tensor_bytes(x));
  void *scores = malloc(mq_program_tensor_bytes(y));
  const struct mq_program_run run = {
      .inputs = (const void *[]){pixels}, .outputs = (void *[]){scores}, .n_images = 1};
  if (mq_image_load(pixels, x->dim[0], x->dim[1], argv[3], &preprocess, &err) != MQ_OK ||
      mq_runtime_run(network, &run, &err) != MQ_OK)
    return fail(&err);
  int64_t best = 0;
  for (int64_t c = 1; c < mq_program_elements(y); c++)
    best = mq_program_value(y, scores, c) > mq_program_value(y, scores, best) ? c : best;
  printf("class %lld, %g\n", (long long)best, (double)mq_program_value(y, scores, best));
  mq_runtime_destroy(network);
  return EXIT_SUCCESS;
}
