/* Training steps and evaluations on one small batch of made-up images. Any failure ends the test. */
#ifndef MQ_TESTS_HELP_TRAINING_H
#define MQ_TESTS_HELP_TRAINING_H

#include "help_tune.h"

#define LESSON_IMAGES 16
#define LESSON_SLICE 2
#define LESSON_CLASSES 10 /* at most */

/* The batch: images are a function of their index, uniform in [-1, 1); labels below n_classes. */
struct lesson {
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  float logits[LESSON_IMAGES * LESSON_CLASSES]; /* of the last pass, image after image */
  int64_t n_classes;
};

/* NULL changes: SGD with momentum 0.9. batch and slice_images are set here; points NULL: float. */
void lesson_begin(struct lesson *lesson, const struct mq_graph *graph, struct mq_point *points,
                  size_t n_points, const struct mq_trainer_options *changes);
void lesson_end(struct lesson *lesson);
double lesson_step(struct lesson *lesson, double rate); /* the loss before it */
double lesson_differentiate(struct lesson *lesson);
double lesson_evaluate(struct lesson *lesson);
/* The inference engine's logits for the same images: simulated where there are points. */
void infer_lesson(float *logits, const struct mq_graph *graph, const struct mq_point *points,
                  size_t n_points);
/* The images as the network sees them, row-major. */
void lesson_images(float *images, const struct mq_graph *graph);
/* Logits agree within 1e-5 of the largest. With quantized activations (has_codes) a value on the edge between
 * two codes may fall to either side where the float sums before it differ in the last bit; an image that
 * meets one may differ by more, and there are few of those. */
void check_logits(const float *a, const float *b, int64_t n_classes, bool has_codes);
/* Every variable's gradient along a random direction, against (loss(w + h d) - loss(w - h d)) / 2h. */
void check_directions(struct lesson *lesson, double tolerance);

#endif
