/* Lines and progress bars on stderr. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mqbench/base.h"

#define BAR_START_NS ((int64_t)1000000000)        /* nothing is shown for work under a second */
#define TERMINAL_INTERVAL_NS ((int64_t)100000000) /* 10 a second */
#define PLAIN_INTERVAL_NS ((int64_t)15000000000)  /* a line every 15 seconds */

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int log_level = MQ_LOG_INFO;
static bool is_bar_visible; /* guarded by output */

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double mq_now(void) {
  return (double)now_ns() * 1e-9;
}

void mq_log_set_level(mq_log_level level) {
  atomic_store(&log_level, (int)level);
}

static void clear_bar(void) {
  if (is_bar_visible) {
    fputs("\r\033[K", stderr);
    is_bar_visible = false;
  }
}

static void print_line(const char *prefix, const char *format, va_list arguments) {
  char text[2 * MQ_ERR_MESSAGE_BYTES];
  vsnprintf(text, sizeof text, format, arguments);
  for (unsigned char *c = (unsigned char *)text; *c; c++) {
    if (*c < 0x20 || *c == 0x7f) {
      *c = '?';
    }
  }
  pthread_mutex_lock(&output);
  clear_bar();
  fprintf(stderr, "%s%s\n", prefix, text);
  pthread_mutex_unlock(&output);
}

void mq_log_warn(const char *format, ...) {
  if (atomic_load(&log_level) >= MQ_LOG_WARNING) {
    va_list arguments;
    va_start(arguments, format);
    print_line("mqbench: warning: ", format, arguments);
    va_end(arguments);
  }
}

void mq_log_info(const char *format, ...) {
  if (atomic_load(&log_level) >= MQ_LOG_INFO) {
    va_list arguments;
    va_start(arguments, format);
    print_line("mqbench: ", format, arguments);
    va_end(arguments);
  }
}

/* ---- Ticks ------------------------------------------------------------------------------------------ */

static struct {
  pthread_mutex_t lock;
  mq_tick_fn call; /* NULL: none */
  void *context;
  int64_t interval_ns;
} ticker = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Atomic int64_t tick_due_ns = INT64_MAX;

void mq_progress_set_tick(mq_tick_fn tick, void *context, double seconds) {
  pthread_mutex_lock(&ticker.lock);
  ticker.call = tick;
  ticker.context = context;
  ticker.interval_ns = (int64_t)(seconds * 1e9);
  atomic_store(&tick_due_ns, tick ? now_ns() + ticker.interval_ns : INT64_MAX);
  pthread_mutex_unlock(&ticker.lock);
}

static void tick(void) {
  int64_t due = atomic_load(&tick_due_ns);
  if (due == INT64_MAX || now_ns() < due || pthread_mutex_trylock(&ticker.lock) != 0) {
    return;
  }
  if (ticker.call && now_ns() >= atomic_load(&tick_due_ns)) {
    ticker.call(ticker.context);
    atomic_store(&tick_due_ns, now_ns() + ticker.interval_ns);
  }
  pthread_mutex_unlock(&ticker.lock);
}

/* ---- Progress --------------------------------------------------------------------------------------- */

void mq_progress_init(struct mq_progress *progress, const char *label, uint64_t total) {
  memset(progress, 0, sizeof *progress);
  progress->label = label;
  progress->total = total;
  progress->start_ns = now_ns();
  progress->is_shown = atomic_load(&log_level) >= MQ_LOG_INFO;
  int64_t first = isatty(STDERR_FILENO) ? BAR_START_NS : PLAIN_INTERVAL_NS;
  atomic_store(&progress->next_print_ns, progress->start_ns + first);
}

/* "evaluate  4200/10000  42%  2210/s  2.6 s left" */
static void print_progress(const struct mq_progress *progress, int64_t now, bool is_terminal) {
  uint64_t done = atomic_load(&progress->done), total = progress->total;
  double elapsed = (double)(now - progress->start_ns) * 1e-9;
  double rate = elapsed > 0 ? (double)done / elapsed : 0;
  double left = rate > 0 && total > done ? (double)(total - done) / rate : 0;
  double share = total ? (double)done / (double)total : 1;
  char bar[25] = {0};
  for (int i = 0; i < 24; i++) {
    bar[i] = (double)i < share * 24 ? '#' : '.';
  }
  pthread_mutex_lock(&output);
  clear_bar();
  fprintf(stderr, "%s [%s] %llu/%llu  %.0f/s  %.1f s left%s", progress->label, bar, (unsigned long long)done,
          (unsigned long long)total, rate, left, is_terminal ? "" : "\n");
  is_bar_visible = is_terminal;
  fflush(stderr);
  pthread_mutex_unlock(&output);
}

void mq_progress_add(struct mq_progress *progress, uint64_t n) {
  atomic_fetch_add(&progress->done, n);
  tick();
  if (!progress->is_shown) {
    return;
  }
  int64_t now = now_ns(), due = atomic_load(&progress->next_print_ns);
  bool is_terminal = isatty(STDERR_FILENO);
  int64_t next = now + (is_terminal ? TERMINAL_INTERVAL_NS : PLAIN_INTERVAL_NS);
  if (now >= due && atomic_compare_exchange_strong(&progress->next_print_ns, &due, next)) {
    print_progress(progress, now, is_terminal);
  }
}

void mq_progress_end(struct mq_progress *progress) {
  if (progress->is_shown) {
    pthread_mutex_lock(&output);
    clear_bar();
    fflush(stderr);
    pthread_mutex_unlock(&output);
  }
}
