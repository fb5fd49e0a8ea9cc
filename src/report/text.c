#include "report/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void mq_put_html(FILE *out, const char *text) {
  for (const char *c = text ? text : ""; *c; c++) {
    switch (*c) {
      case '&':
        fputs("&amp;", out);
        break;
      case '<':
        fputs("&lt;", out);
        break;
      case '>':
        fputs("&gt;", out);
        break;
      case '"':
        fputs("&quot;", out);
        break;
      case '\'':
        fputs("&#39;", out);
        break;
      default:
        fputc(*c, out);
    }
  }
}

void mq_put_csv(FILE *out, const char *text) {
  text = text ? text : "";
  if (!strpbrk(text, ",\"\r\n")) {
    fputs(text, out);
    return;
  }
  fputc('"', out);
  for (const char *c = text; *c; c++) {
    if (*c == '"') fputc('"', out);
    fputc(*c, out);
  }
  fputc('"', out);
}

void mq_put_markdown(FILE *out, const char *text) {
  for (const char *c = text ? text : ""; *c; c++) {
    if (*c == '|' || *c == '\\') fputc('\\', out);
    if (*c == '<') {
      fputs("&lt;", out);
    } else {
      fputc(*c == '\n' ? ' ' : *c, out);
    }
  }
}

void mq_put_percent(FILE *out, double fraction) {
  if (isnan(fraction)) {
    fputs("–", out);
  } else {
    fprintf(out, "%.2f", 100 * fraction);
  }
}

void mq_put_cell(FILE *out, const struct mq_table_cell *cell) {
  if (cell->n_runs == 0) {
    fputs("–", out);
  } else if (!isnan(cell->mean)) {
    mq_put_percent(out, cell->mean);
    if (!isnan(cell->std)) fprintf(out, " ± %.2f", 100 * cell->std);
    if (cell->n_nc) fprintf(out, " (%zu/%zu NC)", cell->n_nc, cell->n_runs);
    if (cell->n_failed) fprintf(out, " (%zu/%zu failed)", cell->n_failed, cell->n_runs);
  } else if (cell->n_nc) {
    fputs("NC", out);
  } else {
    fputs(cell->n_failed ? "failed" : "no labels", out);
  }
}

#define LABEL_CHARACTERS 42

void mq_put_short_name(FILE *out, const char *name) {
  char text[4 * LABEL_CHARACTERS + 8];
  size_t n = 0, used = 0, i = 0;
  for (const char *c = name; *c; c++) {
    n += ((unsigned char)*c & 0xc0) != 0x80;
  }
  for (const char *c = name; *c && used + 8 < sizeof text; c++) {
    bool is_start = ((unsigned char)*c & 0xc0) != 0x80;
    i += is_start;
    bool is_cut = n > LABEL_CHARACTERS && i > LABEL_CHARACTERS / 2 && i <= n - LABEL_CHARACTERS / 2;
    if (is_cut && is_start && i == LABEL_CHARACTERS / 2 + 1) {
      used += (size_t)snprintf(text + used, 8, "…");
    }
    if (!is_cut) {
      text[used++] = *c;
    }
  }
  text[used] = '\0';
  mq_put_html(out, text);
}

mq_status mq_text_open(struct mq_text *text, struct mq_err *err) {
  *text = (struct mq_text){.bytes = NULL};
  text->stream = open_memstream(&text->bytes, &text->n);
  return text->stream ? MQ_OK : mq_fail_memory(err, "text");
}

mq_status mq_text_close(struct mq_text *text, struct mq_err *err) {
  int failed = ferror(text->stream);
  failed |= fclose(text->stream);
  text->stream = NULL;
  return failed || !text->bytes ? mq_fail_memory(err, "text") : MQ_OK;
}

void mq_text_deinit(struct mq_text *text) {
  if (text->stream) {
    fclose(text->stream);
  }
  free(text->bytes);
  *text = (struct mq_text){.bytes = NULL};
}
