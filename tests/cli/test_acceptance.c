/* What a deployment engineer and a hardware vendor rely on, tried from outside: every form of the same data
   gives the same numbers, hostile files end in one line, and a benchmark survives whatever happens to it. */
#include <sys/wait.h>
#include <unistd.h>

#include "help_program.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"
#define NPY "npy:x.npy,labels=y.npy"

static struct outcome o;

/* A line for the shell in the scratch directory, with $MQ the program; its status. */
static int MQ_PRINTF(1, 2) shell(const char *format, ...) {
  char line[2048], command[4096];
  va_list list;
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  snprintf(command, sizeof command, "cd '%s' && MQ='%s' && { %s; } >out.txt 2>err.txt </dev/null", scratch,
           MQ_PROGRAM, line);
  int status = system(command);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void write_text(const char *name, const char *text) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

static int count_lines(const char *text) {
  int n = 0;
  for (; *text; text++) {
    n += *text == '\n';
  }
  return n;
}

/* The last run ended with this status, one line on stderr that has the word, and nothing on stdout. */
static void assert_one_line(int status, const char *word) {
  if (o.status != status || count_lines(o.err) != 1 || o.out[0] || !strstr(o.err, word)) {
    fail_msg("expected status %d and one line with '%s': status %d, stderr '%s', stdout '%.200s'", status,
             word, o.status, o.err, o.out);
  }
}

static double loss_of(const char *data) {
  run(&o, "eval " MODEL " --json --data '%s'", data);
  if (o.status) {
    fail_msg("%s: %s", data, o.err);
  }
  json_t *object = parse_json(&o);
  double loss = json_real_value(json_object_get(object, "loss"));
  assert_true(loss > 0);
  json_decref(object);
  return loss;
}

static json_int_t images_of(const char *data) {
  run(&o, "data info --json '%s'", data);
  if (o.status) {
    fail_msg("%s: %s", data, o.err);
  }
  json_t *object = parse_json(&o);
  json_int_t n = json_integer_value(json_object_get(object, "images"));
  json_decref(object);
  return n;
}

static int set_up(void **state) {
  make_scratch(state);
  write_images(24);
  run(&o, "data make fractal -o made --images 20 --test-images 10 --classes 5 --size 16 -q");
  return o.status;
}

static void the_same_images_in_any_container_give_the_same_loss(void **state) {
  (void)state;
  assert_int_equal(
      shell(
          "mkdir -p folder && tar xf made/train.tar -C folder && gzip -kc made/train.tar >train.tgz &&"
          "cd folder && find . -name '*.png' | sort | sed 's,^./,,' >../names &&"
          "head -7 ../names | tar cf ../part-0.tar -T - && tail -n +8 ../names | tar cf ../part-1.tar -T - &&"
          "awk -F/ '{if ($1 != last) {n++; last = $1} print $0, n - 1}' ../names >../list.txt"),
      0);
  double loss = loss_of("folder:folder");
  assert_true(loss == loss_of("folder:folder,list=list.txt"));
  assert_true(loss == loss_of("tar:part-*.tar"));
  assert_true(loss == loss_of("folder:folder,cache=cache"));
  assert_true(loss == loss_of("folder:folder,cache=cache"));
  assert_true(loss_of("tar:made/train.tar") == loss_of("tar:train.tgz"));
  assert_true(loss != loss_of("folder:folder,channels=bgr"));
  assert_int_equal(images_of("tar:part-?.tar,limit=9"), 9);
}

static void write_bytes(const char *name, int records, const uint8_t *header, size_t header_bytes,
                        size_t bytes) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  if (header_bytes > 0) {
    fwrite(header, 1, header_bytes, file);
  }
  for (int i = 0; i < records; i++) {
    for (size_t k = 0; k < bytes; k++) {
      fputc(k ? (int)(k * 7 + (size_t)i) & 255 : i % 10, file);
    }
  }
  assert_int_equal(fclose(file), 0);
}

static void binary_formats_are_read_and_damage_is_named(void **state) {
  (void)state;
  assert_int_equal(shell("mkdir -p cifar mnist"), 0);
  write_bytes("cifar/data_batch_1.bin", 6, (const uint8_t[]){0}, 0, 3073);
  write_bytes("cifar/test_batch.bin", 3, (const uint8_t[]){0}, 0, 3073);
  assert_int_equal(images_of("cifar10:cifar"), 6);
  assert_int_equal(images_of("cifar10:cifar,split=test"), 3);
  write_bytes("mnist/train-images-idx3-ubyte", 4,
              (const uint8_t[]){0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 28, 0, 0, 0, 28}, 16, 784);
  write_bytes("mnist/train-labels-idx1-ubyte", 4, (const uint8_t[]){0, 0, 8, 1, 0, 0, 0, 4}, 8, 1);
  assert_int_equal(images_of("idx:mnist"), 4);
  assert_int_equal(shell("gzip mnist/*"), 0);
  assert_int_equal(images_of("idx:mnist"), 4);
  assert_int_equal(
      shell("truncate -s 3000 cifar/data_batch_1.bin; head -c 300 mnist/train-images-idx3-ubyte.gz >t.gz;"
            "mv t.gz mnist/train-images-idx3-ubyte.gz; head -c 4000 made/train.tar >half.tar;"
            "head -c 700 train.tgz >half.tgz; head -c 100 x.npy >half.npy; mkdir -p out;"
            "echo '../x.npy 0' >escape.txt"),
      0);
  const char *const damaged[] = {"cifar10:cifar",     "idx:mnist",     "tar:half.tar",
                                 "tar:half.tgz",      "npy:half.npy",  "folder:folder,list=escape.txt",
                                 "tar:nothing-*.tar", "tar:/dev/zero", "folder:out"};
  for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
    run(&o, "data info '%s'", damaged[i]);
    assert_one_line(3, ": ");
  }
}

static void a_damaged_model_ends_in_one_line(void **state) {
  (void)state;
  char path[700];
  snprintf(path, sizeof path, "%s/hurt.onnx", scratch);
  FILE *file = fopen(MODEL, "rb");
  assert_non_null(file);
  static uint8_t bytes[1 << 20];
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  for (size_t i = 0; i < 60; i++) {
    bool cut = i % 3 == 0;
    size_t at = i * 7919 % n;
    bytes[at] = (uint8_t)(bytes[at] ^ (cut ? 0 : 1 << i % 8));
    file = fopen(path, "wb");
    fwrite(bytes, 1, cut ? at : n, file);
    fclose(file);
    bytes[at] = (uint8_t)(bytes[at] ^ (cut ? 0 : 1 << i % 8));
    run(&o, "show hurt.onnx");
    if (o.status || cut) {
      assert_one_line(3, "hurt.onnx");
    }
  }
}

static void external_data_stays_in_the_model_s_folder(void **state) {
  (void)state;
  assert_int_equal(
      shell("mkdir -p m && cp " MODELS "/external_data.onnx m/ && cp " MODELS "/external_data.bin m/"), 0);
  run(&o, "show m/external_data.onnx");
  assert_int_equal(o.status, 0);
  assert_int_equal(shell("mv m/external_data.bin . && ln -s ../external_data.bin m/external_data.bin"), 0);
  run(&o, "show m/external_data.onnx");
  assert_one_line(3, "out of the model's folder");
  assert_int_equal(shell("rm m/external_data.bin"), 0);
  run(&o, "show m/external_data.onnx");
  assert_one_line(3, "no such file");
}

static void output_that_cannot_be_written_is_named_and_nothing_is_left(void **state) {
  (void)state;
  write_text("taken", "mine\n");
  run(&o, "quantize " MODEL " --target snpe --data " NPY " --calib 8 -o taken -q");
  assert_one_line(3, "taken");
  run(&o, "data make fractal -o taken --images 4 --test-images 4");
  assert_one_line(3, "taken");
  assert_int_equal(shell("grep -q mine taken"), 0);
  assert_int_equal(shell("\"$MQ\" list targets >/dev/full"), 4);
  assert_int_equal(shell("\"$MQ\" eval " MODEL " --data " NPY " --json >&-"), 4);
  run(&o, "quantize " MODEL " --target snpe --data " NPY " -o never --max-memory 100000 -q");
  assert_int_equal(o.status, 4);
  assert_int_equal(shell("test -e never"), 1);
}

static void a_vendor_s_target_is_checked_by_line(void **state) {
  (void)state;
  static const char head[] =
      "name: mine\ndescribes: a chip\n"
      "weights: {bits: 2, signed: true, symmetric: true, granularity: channel, scale: pot}\n";
  static const char tail[] = "fold_bn: true\narithmetic: none\nbias: int32\nartefacts: [onnx_qdq]\n";
  const struct {
    const char *activations, *points, *line;
  } cases[] = {
      {"{bits: 16, signed: true, symmetric: true, granularity: tensor, scale: pot}",
       "points: graph3\noverrides: [{op: first, bits: 8}, {layer: '/.*Gemm/', role: weight, bits: 4}]", NULL},
      {"{bits: 8, signed: adaptive, symmetric: true, granularity: tensor}",
       "points: {inputs: [Conv, Gemm], add: none, pool: output, network_input: true}", NULL},
      {"{bits: 8, signed: true, symmetric: true, granularity: channel}", "points: graph3", "mine.yaml:4"},
      {"{bits: 9, signed: true, symmetric: true, granularity: tensor}", "points: graph3", "mine.yaml:4"},
      {"{bits: 8, signed: true, symmetric: true, granularity: tensor}", "points: graph4", "mine.yaml:5"},
      {"{bits: 8, signed: true, symmetric: true, granularity: tensor}", "points: graph1\ncolour: red",
       "mine.yaml:6"},
      {"{bits: 8, signed: true, symmetric: true, granularity: tensor}",
       "points: graph1\noverrides: [{layer: '/[/', bits: 4}]", "mine.yaml:6"},
      {"{bits: 8, signed: true, symmetric: true}", "points: graph1", "mine.yaml:4"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[1200];
    snprintf(text, sizeof text, "%sactivations: %s\n%s\n%s", head, cases[i].activations, cases[i].points,
             tail);
    write_text("mine.yaml", text);
    run(&o, "show " MODEL " --target ./mine.yaml");
    if (cases[i].line) {
      assert_one_line(3, cases[i].line);
    } else if (o.status) {
      fail_msg("%s: %s", cases[i].points, o.err);
    }
  }
}

static void every_exporter_s_model_quantizes_for_all_six(void **state) {
  (void)state;
  const struct {
    const char *model, *data;
  } cases[] = {{"fixed_batch4", "input_4x3x16x16.npy"},
               {"same_upper", "input_2x3x15x16.npy"},
               {"nhwc_input", "input_2x16x16x3.npy,layout=nhwc"},
               {"residual_opset7", "input_2x3x16x16.npy"},
               {"newer_opset18", "input_2x3x16x16.npy"},
               {"inverted_clip_input_opset13", "input_2x3x16x16.npy"},
               {"activations_opset14", "input_2x3x16x16.npy"},
               {"tiny_shufflenet", "input_2x3x16x16.npy"}};
  const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for (size_t k = 0; k < 6; k++) {
      run(&o, "quantize " MODELS "/%s.onnx --target %s --data 'npy:" MODELS "/%s' -o any -q", cases[i].model,
          targets[k], cases[i].data);
      if (o.status) {
        fail_msg("%s for %s: %s", cases[i].model, targets[k], o.err);
      }
    }
  }
}

/* 111 cells; not many, but enough that a signal after a fifth of a second mostly comes amid them. */
static void write_plan(void) {
  assert_int_equal(shell("cp " MODEL " net.onnx"), 0);
  write_text("plan.yaml",
             "models: net.onnx\n"
             "data: {train: \"" NPY "\", eval: \"" NPY
             ",limit=8\"}\n"
             "grid:\n"
             "  target: [academic, snpe, tensorrt]\n"
             "  method: [float, ptq]\n"
             "  bits: [8, {w: 4, a: 8}]\n"
             "  observer: [minmax, {w: minmax, a: mse}]\n"
             "  seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
             "exclude: [{target: snpe, bits: {w: 4}, observer: {a: mse}}]\n"
             "calibration: {images: 8, batch: 4, order: sampled}\n");
}

/* Runs what is left of the plan; then cells and report are those of the run that nothing disturbed. */
static void finishes_like_the_undisturbed(const char *directory) {
  run(&o, "bench plan.yaml -o %s -q --json", directory);
  if (o.status) {
    fail_msg("%s: %s", directory, o.err);
  }
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "cells")), 111);
  assert_int_equal(json_integer_value(json_object_get(object, "done")), 111);
  json_decref(object);
  assert_int_equal(shell("cmp whole/report/report.md %s/report/report.md", directory), 0);
}

static void a_benchmark_survives_kills_interrupts_and_company(void **state) {
  (void)state;
  write_plan();
  run(&o, "bench plan.yaml --dry-run -o dry");
  assert_int_equal(o.status, 0);
  assert_int_equal(shell("test -e dry"), 1);
  assert_int_equal(shell("\"$MQ\" bench plan.yaml -o whole -q"), 0);
  shell("for i in 1 2 3; do timeout -s KILL 0.2 \"$MQ\" bench plan.yaml -o killed -q; done");
  finishes_like_the_undisturbed("killed");
  int status = shell("timeout --preserve-status -s INT 0.2 \"$MQ\" bench plan.yaml -o stopped -q");
  assert_true(status == 130 || status == 0);
  finishes_like_the_undisturbed("stopped");
  assert_int_equal(
      shell("\"$MQ\" bench plan.yaml -o both -q & \"$MQ\" bench plan.yaml -o both -q && wait $!"), 0);
  finishes_like_the_undisturbed("both");
  assert_int_equal(shell("\"$MQ\" bench plan.yaml -o parts -q --shard 1/2 && \"$MQ\" bench plan.yaml -o "
                         "parts -q --shard 2/2 &&"
                         "\"$MQ\" report parts/results.1-of-2.db parts/results.2-of-2.db -o joined -q &&"
                         "cmp joined/report.md whole/report/report.md"),
                   0);
}

/* Lines of a report's CSV file: one for each run, and one that names the columns. */
static void assert_runs_reported(const char *directory, int n) {
  if (shell("test $(wc -l <%s/report/report.csv) = %d", directory, n + 1) != 0) {
    fail_msg("%s: expected %d runs in the report", directory, n);
  }
}

/* The report of a shared directory is of every shard in it, whichever ends last. */
static void shards_of_one_directory_share_its_report(void **state) {
  (void)state;
  assert_int_equal(shell("test \"$(ls parts | tr '\\n' ' ')\" = "
                         "'hashes report results.1-of-2.db results.2-of-2.db '"),
                   0);
  assert_runs_reported("parts", 111);
  assert_int_equal(shell("cmp parts/report/report.md whole/report/report.md"), 0);
  run(&o, "bench plan.yaml -o turned --shard 2/2 --json");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.err, "(1 of 2 shards)"));
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "stores")), 1);
  json_decref(object);
  assert_runs_reported("turned", 55);
  /* a store that is just being made, or is none, is told of and left out */
  assert_int_equal(shell(": >turned/results.1-of-2.db"), 0);
  run(&o, "bench plan.yaml -o turned --shard 2/2");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.err, "left out of the report: turned/results.1-of-2.db"));
  assert_runs_reported("turned", 55);
  assert_int_equal(shell("rm turned/results.1-of-2.db"), 0);
  run(&o, "bench plan.yaml -o turned --shard 1/2 -q");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "(2 of 2 shards)"));
  assert_runs_reported("turned", 111);
  assert_int_equal(
      shell("for i in 1 2 3; do \"$MQ\" bench plan.yaml -o together -q --shard $i/3 & done; wait"), 0);
  assert_runs_reported("together", 111);
  assert_int_equal(shell("cmp together/report/report.md whole/report/report.md"), 0);
}

/* Both signals are pending when the program goes on: it ends without a word, as what it does may never end.
 */
static void a_second_signal_ends_the_program_at_once(void **state) {
  (void)state;
  int status = shell("\"$MQ\" eval " MODEL
                     " --data fractal:classes=5,images=1000000,size=16 -q 2>twice.txt & "
                     "sleep 0.3; kill -STOP $!; kill -INT $!; kill -TERM $!; kill -CONT $!; wait $!");
  assert_true(status == 130 || status == 143);
  assert_int_equal(shell("grep -q cancelled twice.txt"), 1);
  assert_int_equal(shell("mkfifo pipe && timeout 20 \"$MQ\" report pipe -o piped"), 3);
}

static void failed_cells_run_again_and_names_are_only_text(void **state) {
  (void)state;
  write_plan();
  write_text("two.yaml",
             "models: [{path: net.onnx, name: \"<script>x</script>\"}, {path: later.onnx, name: later}]\n"
             "data: {train: \"" NPY "\", eval: \"" NPY
             "\"}\n"
             "grid: {target: snpe, method: ptq}\ncalibration: {images: 8}\n");
  run(&o, "bench two.yaml -o two -q");
  assert_one_line(3, "two.yaml:1: models: ");
  assert_int_equal(shell("test ! -e two/results.db && echo hurt >later.onnx"), 0);
  run(&o, "bench two.yaml -o two -q --json");
  assert_int_equal(o.status, 1);
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "failed")), 1);
  assert_int_equal(json_integer_value(json_object_get(object, "done")), 1);
  json_decref(object);
  assert_int_equal(shell("grep -q 'later.onnx: ' two/report/report.md"), 0);
  assert_int_equal(shell("grep -q '<script>x' two/report/report.html"), 1);
  assert_int_equal(shell("cp net.onnx later.onnx && \"$MQ\" bench two.yaml -o two -q"), 0);
  /* Another content under the same path: the old run is stale, and a report shows only the new one. */
  assert_int_equal(shell("cp " MODELS "/tiny_vgg.onnx later.onnx && \"$MQ\" bench two.yaml -o two -q &&"
                         "test $(grep -c '^later,' two/report/report.csv) = 1"),
                   0);
}

static void a_damaged_store_is_refused(void **state) {
  (void)state;
  assert_int_equal(shell("mkdir -p bad && echo text >bad/results.db"), 0);
  run(&o, "report bad/results.db -o never");
  assert_one_line(3, "bad/results.db");
  run(&o, "bench plan.yaml -o bad -q");
  assert_one_line(3, "bad/results.db");
  assert_int_equal(shell("grep -q text bad/results.db && test ! -e never"), 0);
  run(&o, "report plan.yaml -o never");
  assert_one_line(3, "plan.yaml");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_images_in_any_container_give_the_same_loss),
      cmocka_unit_test(binary_formats_are_read_and_damage_is_named),
      cmocka_unit_test(a_damaged_model_ends_in_one_line),
      cmocka_unit_test(external_data_stays_in_the_model_s_folder),
      cmocka_unit_test(output_that_cannot_be_written_is_named_and_nothing_is_left),
      cmocka_unit_test(a_vendor_s_target_is_checked_by_line),
      cmocka_unit_test(every_exporter_s_model_quantizes_for_all_six),
      cmocka_unit_test(a_benchmark_survives_kills_interrupts_and_company),
      cmocka_unit_test(shards_of_one_directory_share_its_report),
      cmocka_unit_test(a_second_signal_ends_the_program_at_once),
      cmocka_unit_test(failed_cells_run_again_and_names_are_only_text),
      cmocka_unit_test(a_damaged_store_is_refused),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
