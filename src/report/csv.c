/* One line for each run, for other programs. */
#include <inttypes.h>
#include <math.h>

#include "report/formats.h"
#include "report/text.h"

static void put_texts(FILE *out, const char *const *texts, size_t n) {
  for (size_t i = 0; i < n; i++) {
    fputc(',', out);
    mq_put_csv(out, texts[i]);
  }
}

/* Seventeen digits: reading it back gives the same number. */
static void put_real(FILE *out, double x) {
  fputc(',', out);
  if (!isnan(x)) {
    fprintf(out, "%.17g", x);
  }
}

static void put_count(FILE *out, int64_t n) {
  fputc(',', out);
  if (n != -1) {
    fprintf(out, "%" PRId64, n);
  }
}

mq_status mq_report_write_csv(FILE *out, const struct mq_report *report, struct mq_err *err) {
  (void)err;
  fputs(
      "model,target,method,variant,w_observer,a_observer,options,w_bits,a_bits,seed,images,correct,"
      "float_correct,top1,top5,loss,float_top1,seconds,calib_seconds,eval_seconds,best_top1,train_seconds,"
      "status,message,plan,"
      "started,"
      "version,cpu,isa,onednn,model_sha256,data_sha256,eval_sha256,target_sha256,identity,result_sha256\n",
      out);
  for (size_t i = 0; i < report->rows.n_runs; i++) {
    const struct mq_run *run = &report->rows.runs[i].run;
    const char *const names[] = {run->target,     run->method,     run->variant,
                                 run->w_observer, run->a_observer, run->options};
    const char *const facts[] = {run->status,       run->message,      run->plan,        run->started,
                                 run->version,      run->cpu,          run->isa,         run->onednn,
                                 run->model_sha256, run->data_sha256,  run->eval_sha256, run->target_sha256,
                                 run->identity,     run->result_sha256};
    const int64_t counts[] = {run->w_bits, run->a_bits,  run->seed,
                              run->images, run->correct, run->float_correct};
    const double reals[] = {run->top1,         run->top5,      run->loss,
                            run->float_top1,   run->seconds,   run->calib_seconds,
                            run->eval_seconds, run->best_top1, run->train_seconds};
    mq_put_csv(out, run->model);
    put_texts(out, names, sizeof names / sizeof names[0]);
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
      put_count(out, counts[k]);
    }
    for (size_t k = 0; k < sizeof reals / sizeof reals[0]; k++) {
      put_real(out, reals[k]);
    }
    put_texts(out, facts, sizeof facts / sizeof facts[0]);
    fputc('\n', out);
  }
  return MQ_OK;
}
