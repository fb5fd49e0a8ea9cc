/* Runs a fuzzer's entry over files and folders, once each: the corpus as a test, with any compiler.
 * Usage: replay PATH... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int n_files;

static int run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return 1;
  }
  fseek(file, 0, SEEK_END);
  size_t n = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(n ? n : 1); /* exactly n, so that a sanitizer sees a read past the end */
  if (!bytes || fread(bytes, 1, n, file) != n) {
    perror(path);
    free(bytes);
    fclose(file);
    return 1;
  }
  fclose(file);
  LLVMFuzzerTestOneInput(bytes, n);
  free(bytes);
  n_files++;
  return 0;
}

static int run_folder(const char *path, DIR *folder) {
  int failed = 0;
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    char name[4096];
    struct stat info;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    if (entry->d_name[0] != '.' && stat(name, &info) == 0 && S_ISREG(info.st_mode)) {
      failed |= run_file(name);
    }
  }
  return failed;
}

int main(int argc, char **argv) {
  int failed = 0;
  for (int i = 1; i < argc; i++) {
    DIR *folder = opendir(argv[i]);
    failed |= folder ? run_folder(argv[i], folder) : run_file(argv[i]);
    if (folder) {
      closedir(folder);
    }
  }
  printf("%d inputs\n", n_files);
  return failed || n_files == 0;
}
