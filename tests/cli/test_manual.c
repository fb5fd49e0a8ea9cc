/* The man page says all that the help texts and the JSON answers say, and names no page that is not there. */
#include <ctype.h>

#include "base/file.h"
#include "help_program.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"
#define DATA "npy:x.npy,labels=y.npy"

static struct outcome o;
static char *manual; /* without escapes: what a reader sees, but for line breaks */

/* Drops \fB and the like, and the backslash of \- */
static void strip_escapes(char *text) {
  char *to = text;
  for (const char *from = text; *from; from++) {
    if (*from == '\\' && from[1] == 'f') {
      from += 2;
    } else if (*from != '\\') {
      *to++ = *from;
    }
  }
  *to = 0;
}

static int set_up(void **state) {
  size_t n = 0;
  make_scratch(state);
  write_images(12);
  if (mq_file_read(&manual, &n, MQ_SOURCE_DIRECTORY "/docs/man/mqbench.1", 1 << 20, NULL) != MQ_OK) {
    return 1;
  }
  strip_escapes(manual);
  return 0;
}

static int tear_down(void **state) {
  mq_free(manual);
  return drop_scratch(state);
}

/* Is `word` (n characters) in the text, not as a part of a longer one? */
static bool has_word(const char *text, const char *word, size_t n) {
  for (const char *at = text; *at; at++) {
    bool is_start = at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '_' && at[-1] != '-');
    if (is_start && !strncmp(at, word, n) && !isalnum((unsigned char)at[n]) && at[n] != '_' && at[n] != '-') {
      return true;
    }
  }
  return false;
}

/* The part from a heading ("\n.SS bench\n") to the next of its rank or above; to be freed. */
static char *section_of(const char *kind, const char *name) {
  char heading[64];
  snprintf(heading, sizeof heading, "\n.%s %s\n", kind, name);
  const char *start = strstr(manual, heading);
  if (!start) {
    fail_msg("the man page has no section '%s'", name);
    return NULL;
  }
  start += strlen(heading);
  const char *major = strstr(start, "\n.SH "), *minor = strstr(start, "\n.SS ");
  const char *end = minor && (!major || minor < major) ? minor : major;
  return strndup(start, end ? (size_t)(end - start) : strlen(start));
}

static const char *const commands[] = {"bench",  "report", "quantize", "train",     "eval",
                                       "show",   "verify", "data",     "reproduce", "diff",
                                       "export", "list",   "target",   "latency"};

/* Every option in the lines of a help text: "  -o, --output DIR   text". */
static int check_options(const char *lines, const char *section, const char *where) {
  int n = 0;
  for (const char *line = lines; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    if (strncmp(line, "  -", 3) != 0) continue;
    for (const char *word = line + 2; *word == '-';) {
      size_t length = strcspn(word, " ,\n");
      if (!has_word(section, word, length)) {
        fail_msg("%s: the man page lacks %.*s", where, (int)length, word);
      }
      n++;
      word += length + strspn(word + length, ", ");
    }
  }
  return n;
}

static void every_option_of_the_help_is_in_the_man_page(void **state) {
  (void)state;
  int n = 0;
  char *common = section_of("SH", "COMMON OPTIONS");
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    run(&o, "%s --help", commands[i]);
    assert_int_equal(o.status, 0);
    char *section = section_of("SS", commands[i]), *rest = strstr(o.out, "common options:");
    assert_non_null(rest);
    assert_true(check_options(rest, common, commands[i]) >= 8);
    *rest = 0;
    n += check_options(o.out, section, commands[i]);
    free(section);
  }
  free(common);
  assert_true(n > 30);
}

static void every_command_of_the_help_is_in_the_man_page(void **state) {
  (void)state;
  run(&o, "--help");
  const char *line = strstr(o.out, "commands:\n");
  assert_non_null(line);
  size_t n = 0;
  for (line = strchr(line, '\n') + 1; !strncmp(line, "  ", 2); line = strchr(line, '\n') + 1, n++) {
    char name[32] = "";
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 2, " "), line + 2);
    free(section_of("SS", name));
  }
  assert_int_equal(n, sizeof commands / sizeof commands[0]); /* those that are tested here */
}

/* Behind "JSON:", for the fields of an object and of the objects in its lists. */
static void check_fields(const json_t *object, const char *fields, const char *what) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    if (!has_word(fields, key, strlen(key))) {
      fail_msg("%s: the man page lacks the field %s", what, key);
    }
    const json_t *first = json_is_array(value) ? json_array_get(value, 0) : NULL;
    if (json_is_object(first)) check_fields(first, fields, what);
  }
}

static void every_json_field_is_in_the_man_page(void **state) {
  (void)state;
  static const struct {
    const char *command, *line;
  } cases[] = {
      {"quantize", "quantize " MODEL " --target snpe --data " DATA " -o b1 -q --json"},
      {"quantize", "quantize " MODEL " --target snpe --data npy:x.npy -o b2 --w-bits 4 -q --json"},
      {"eval", "eval b1 --data " DATA " --json"},
      {"eval", "eval b1 --data npy:x.npy --json"},
      {"verify", "verify b1 --data npy:x.npy --engine onednn --json"},
      {"show", "show b1 --json"},
      {"show", "show " MODELS "/squeeze_excite_opset14.onnx --target snpe --json"},
      {"diff", "diff b1 b2 --json"},
      {"export", "export b1 --format onnx_qdq -o other --json"},
      {"list", "list targets --json"},
      {"data", "data info fractal: --json"},
      {"data", "data make fractal -o made --images 2 --test-images 2 --classes 2 --json"},
      {"latency", "latency b1 --batch 1 --seconds 0.01 --json"},
      {"target", "target check acl --images 8 -q --json"},
      {"bench", "bench plan.yaml -o out -q --json"},
      {"bench", "bench --dry-run -o dry --json"},
      {"report", "report out/results.db -o rep --json"},
      {"reproduce", "reproduce out/results.db 1 --json"},
      {"bench", "bench nowhere.yaml --json"},
  };
  char path[700];
  snprintf(path, sizeof path, "%s/plan.yaml", scratch);
  const char *const plan = "models: " MODEL "\ndata: {eval: \"" DATA "\"}\ngrid: {method: float}\n";
  assert_int_equal(mq_file_write(path, plan, strlen(plan), NULL), MQ_OK);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "%s", cases[i].line);
    json_t *object = parse_json(&o);
    bool is_error = json_object_get(object, "error") != NULL;
    assert_true(is_error == (i + 1 == sizeof cases / sizeof cases[0]));
    char *section = is_error ? section_of("SH", "COMMON OPTIONS") : section_of("SS", cases[i].command);
    const char *fields = is_error ? section : strstr(section, "\nJSON: ");
    assert_non_null(fields);
    check_fields(object, fields, cases[i].line);
    free(section);
    json_decref(object);
  }
}

/* "docs/plans.md" */
static void every_page_it_names_is_there(void **state) {
  (void)state;
  int n = 0;
  for (const char *at = manual; (at = strstr(at, "docs/")); at++, n++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%.*s", MQ_SOURCE_DIRECTORY, (int)strcspn(at, " ,;()\n"), at);
    size_t length = strlen(path);
    path[path[length - 1] == '.' ? length - 1 : length] = 0;
    if (!mq_file_exists(path)) {
      fail_msg("the man page names %s", path);
    }
  }
  assert_true(n >= 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_option_of_the_help_is_in_the_man_page),
      cmocka_unit_test(every_command_of_the_help_is_in_the_man_page),
      cmocka_unit_test(every_json_field_is_in_the_man_page),
      cmocka_unit_test(every_page_it_names_is_there),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
