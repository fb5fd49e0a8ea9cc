/* The data argument: what is understood, its canonical text, and the messages for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mqbench/data.h"

static void assert_canonical(const char *argument, const char *canonical) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  char *text = NULL, *again = NULL;
  if (mq_data_spec_parse(&spec, argument, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  assert_int_equal(mq_data_spec_format(&text, &spec, &err), MQ_OK);
  assert_string_equal(text, canonical);
  mq_data_spec_deinit(&spec);
  assert_int_equal(mq_data_spec_parse(&spec, text, &err), MQ_OK);
  assert_int_equal(mq_data_spec_format(&again, &spec, &err), MQ_OK);
  assert_string_equal(again, text);
  mq_data_spec_deinit(&spec);
  mq_free(text);
  mq_free(again);
}

static void test_canonical_text(void **state) {
  (void)state;
  assert_canonical("folder:photos", "folder:photos");
  assert_canonical("tar:a/train-*.tar,limit=100,split=test", "tar:a/train-*.tar,split=test,limit=100");
  assert_canonical("tar:a.tar,preset=cifar", "tar:a.tar,mean=0.485/0.456/0.406,std=0.229/0.224/0.225");
  assert_canonical("tar:a.tar,crop=160,preset=imagenet,resize=182",
                   "tar:a.tar,resize=182,crop=160,mean=0.485/0.456/0.406,std=0.229/0.224/0.225");
  assert_canonical("tar:a.tar,preset=imagenet,size=96",
                   "tar:a.tar,size=96x96,mean=0.485/0.456/0.406,std=0.229/0.224/0.225");
  assert_canonical("folder:p,mean=0.5,std=0.1/0.25/0.125,channels=bgr,layout=nhwc,exif=ignore",
                   "folder:p,mean=0.5/0.5/0.5,std=0.1/0.25/0.125,channels=bgr,layout=nhwc,exif=ignore");
  assert_canonical(
      "folder:p,list=l.txt,label_offset=-1,calib_order=first,cache=/c,size=20x30",
      "folder:p,list=l.txt,size=20x30,mean=0/0/0,std=1/1/1,label_offset=-1,calib_order=first,cache=/c");
  assert_canonical("npy:x.npy,labels=y.npy", "npy:x.npy,labels=y.npy");
  assert_canonical("folder:p,memory=0,cache=c", "folder:p,cache=c,memory=0");
  assert_canonical("fractal:memory=1048576", "fractal:,memory=1048576");
  assert_canonical("folder:a\\,b\\\\c,cache=d\\,e", "folder:a\\,b\\\\c,cache=d\\,e");
  assert_canonical("fractal", "fractal:");
  assert_canonical("fractal:classes=5,seed=7", "fractal:,classes=5,seed=7");
  assert_canonical("fractal:,images=50,split=train", "fractal:,split=train,images=50");
  assert_canonical("fractal,size=16", "fractal:,size=16x16,mean=0.5/0.5/0.5,std=0.25/0.25/0.25");
}

static void test_fields(void **state) {
  (void)state;
  struct mq_data_spec spec;
  assert_int_equal(mq_data_spec_parse(&spec, "tar:t.tar,preset=imagenet,split=train,limit=9", NULL), MQ_OK);
  assert_int_equal(spec.kind, MQ_DATA_TAR);
  assert_string_equal(spec.path, "t.tar");
  assert_int_equal(spec.preprocess.resize, 256);
  assert_int_equal(spec.preprocess.crop, 224);
  assert_true(spec.preprocess.mean[2] == 0.406f && spec.preprocess.std[0] == 0.229f);
  assert_int_equal(spec.split, MQ_SPLIT_TRAIN);
  assert_int_equal(spec.limit, 9);
  assert_true(spec.has_preprocess);
  mq_data_spec_deinit(&spec);
  assert_int_equal(mq_data_spec_parse(&spec, "tar:t.tar,limit=9,exif=ignore", NULL), MQ_OK);
  assert_false(spec.has_preprocess);
  assert_true(spec.preprocess.std[1] == 1.0f && spec.preprocess.mean[1] == 0.0f);
  mq_data_spec_deinit(&spec);
}

static void assert_refused(const char *argument, const char *part) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  const mq_status status = mq_data_spec_parse(&spec, argument, &err);
  if (status != MQ_BAD_USAGE || !strstr(err.message, part)) {
    fail_msg("%s: status %d, message '%s', expected '%s'", argument, status, err.message, part);
  }
  assert_null(spec.path);
}

static void test_messages(void **state) {
  (void)state;
  assert_refused("foldr:x", "unknown kind 'foldr'");
  assert_refused("foldr:x", "cifar10, idx, folder, tar, npy, fractal");
  assert_refused("", "unknown kind ''");
  assert_refused("tar", "no path");
  assert_refused("tar:,limit=3", "no path");
  assert_refused("tar:x,frobnicate=1", "unknown key 'frobnicate', expected one of split, limit, preset");
  assert_refused("tar:x,classes=4", "the key 'classes' does not belong to kind tar");
  assert_refused("tar:x,memory=-1", "memory");
  assert_refused("tar:x,memory=1048577", "memory");
  assert_refused("tar:x,limit", "'limit' is not key=value");
  assert_refused("tar:x,limit=1,limit=2", "key 'limit' is given twice");
  assert_refused("tar:x,limit=0", "limit=0: expected an integer from 1");
  assert_refused("tar:x,limit=3k", "limit=3k");
  assert_refused("tar:x,limit=99999999999999999999", "limit=9999");
  assert_refused("tar:x,split=val", "split=val: expected train or test");
  assert_refused("tar:x,preset=vgg", "preset=vgg: expected imagenet or cifar");
  assert_refused("tar:x,mean=1/2", "mean=1/2: expected one number or three");
  assert_refused("tar:x,mean=1/2/3/4", "mean=");
  assert_refused("tar:x,mean=1/2/x", "mean=");
  assert_refused("tar:x,mean=nan", "mean=nan");
  assert_refused("tar:x,std=0", "std=0: expected one positive number");
  assert_refused("tar:x,size=3x", "size=3x: expected N or HxW");
  assert_refused("tar:x,size=0", "size=0");
  assert_refused("tar:x,size=-4", "size=-4");
  assert_refused("tar:x,size=10,resize=20", "both size= and resize=");
  assert_refused("tar:x,resize=20000", "resize=20000: expected an integer from 1 to 16384");
  assert_refused("tar:x,list=", "list=: expected a path");
  assert_refused("fractal:size=16x20", "expected a square");
  assert_refused("fractal:seed=-1", "seed=-1");
}

static void test_long_arguments(void **state) {
  (void)state;
  char text[20000];
  memset(text, 'x', sizeof text);
  memcpy(text, "tar:", 4);
  text[sizeof text - 1] = 0;
  assert_refused(text, "expected at most");
  memset(text, ',', 200);
  memcpy(text, "tar:x", 5);
  text[100] = 0;
  assert_refused(text, "more than 32 keys");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_canonical_text),
      cmocka_unit_test(test_fields),
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_long_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
