/* SHA-256 by OpenSSL's libcrypto. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

struct mq_sha256 {
  EVP_MD_CTX *context;
};

mq_status mq_sha256_create(struct mq_sha256 **out, struct mq_err *err) {
  *out = NULL;
  struct mq_sha256 *hash = mq_alloc(1, sizeof *hash);
  if (!hash) {
    return mq_fail_memory(err, "hash");
  }
  hash->context = EVP_MD_CTX_new();
  if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
    EVP_MD_CTX_free(hash->context);
    mq_free(hash);
    return mq_fail(err, MQ_FAILED, "libcrypto offers no SHA-256");
  }
  *out = hash;
  return MQ_OK;
}

void mq_sha256_update(struct mq_sha256 *hash, const void *bytes, size_t n) {
  if (EVP_DigestUpdate(hash->context, bytes, n) != 1) {
    abort(); /* cannot happen for a context that was initialised */
  }
}

static void to_hex(char hex[65], const unsigned char digest[32]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  hex[64] = 0;
}

void mq_sha256_finish(char hex[65], struct mq_sha256 *hash) {
  unsigned char digest[32];
  if (EVP_DigestFinal_ex(hash->context, digest, NULL) != 1) {
    abort();
  }
  to_hex(hex, digest);
  EVP_MD_CTX_free(hash->context);
  mq_free(hash);
}

void mq_sha256_bytes(char hex[65], const void *bytes, size_t n) {
  unsigned char digest[32];
  if (EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL) != 1) {
    abort();
  }
  to_hex(hex, digest);
}

mq_status mq_sha256_file(char hex[65], const char *path, struct mq_err *err) {
  const uint8_t *bytes = NULL;
  size_t n = 0;
  mq_status status = mq_file_map(&bytes, &n, path, err);
  if (status == MQ_OK) {
    mq_sha256_bytes(hex, bytes ? bytes : (const uint8_t *)"", n);
    mq_file_unmap(bytes, n);
  }
  return status;
}
