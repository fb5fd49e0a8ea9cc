/* A gradient that is no number in one slice alone, while the loss is one: the sum over the slices must not
 * lose it, and the step that takes it into the parameters says so. */
#include <math.h>

#include "help_gradients.h"
#include "mqbench/kernel.h"

#define COUNT 20 /* elements of an image */
#define WHERE 7

/* clip(x b): with b infinite the value is at the clip's end and the gradient at x is 0 times infinity. */
static void build(struct net *net) {
  net_begin(net, "lost");
  struct mq_value *x = net_data(net, "x", DIMS(5, 4));
  struct mq_value *b = net_input(net, "b", (struct mq_shape){.rank = 3, .dim = {MQ_DIM_BATCH, 5, 4}});
  struct mq_value *y = net_clip(net, net_op2(net, MQ_OP_Mul, "mul", x, b), "clip", -1, 1);
  net_output(net, net_op1(net, MQ_OP_Flatten, "logits", y));
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
}

static void check_image(int64_t image, unsigned workers) {
  const struct mq_trainer_options options = {0};
  struct net net;
  struct gradient_batch batch;
  struct gradient_session s;
  struct mq_trainer_result result;
  struct mq_err err;
  build(&net);
  gradient_batch_init(&batch, net.graph);
  const struct mq_trainer_job job = gradient_batch_job(&batch);
  ((float *)batch.inputs[1].data)[image * COUNT + WHERE] = INFINITY;
  gradient_session_init(&s, &batch, &options, workers);
  assert_true(s.result.is_finite);
  const float *gradient = mq_trainer_gradient(s.trainer, gradient_find(&s, "x_shift_weights"));
  for (int64_t i = 0; i < COUNT; i++)
    if (isnan(gradient[i]) != (i == WHERE))
      fail_msg("image %lld: element %lld of the gradient is %g", (long long)image, (long long)i,
               (double)gradient[i]);
  assert_ok(mq_trainer_step(&result, s.trainer, &job, 0.1, &err));
  assert_true(isfinite(result.loss));
  assert_false(result.is_finite);
  assert_ok(mq_trainer_step(&result, s.trainer, &job, 0.1, &err));
  assert_false(result.is_finite || isfinite(result.loss));
  gradient_session_deinit(&s);
  gradient_batch_deinit(&batch);
  mq_graph_destroy(net.graph);
}

static void test_one_slice(void **state) {
  (void)state;
  for (int64_t image = 0; image < GRADIENT_IMAGES; image++)
    for (unsigned workers = 1; workers < 3; workers++)
      check_image(image, workers);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_slice)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
