/* From data to a drawing, along one axis. */
#ifndef MQ_REPORT_SCALE_H
#define MQ_REPORT_SCALE_H

struct mq_scale {
  double lo, hi;   /* of the data */
  double from, to; /* of the drawing */
  double step;     /* of the ticks */
};

double mq_scale_place(const struct mq_scale *scale, double x);
/* Widens lo..hi to hold x, unless that is NAN. */
void mq_scale_take(struct mq_scale *scale, double x);
/* Widens lo..hi to whole ticks, about n of them. */
void mq_scale_round_out(struct mq_scale *scale, double n_ticks);
int mq_scale_decimals(double step);

#endif
