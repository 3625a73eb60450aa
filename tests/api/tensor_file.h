/* Tensors of a small safetensors file, for vectors that other programs made. */
#ifndef NANOCHAT_TESTS_API_TENSOR_FILE_H
#define NANOCHAT_TESTS_API_TENSOR_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tensor {
  void *data; /* of the file's type; the caller frees it */
  size_t size; /* bytes */
};

/* Ends the test if the file or the tensor is not there. */
static inline struct tensor read_tensor(const char *path, const char *name) {
  struct tensor tensor = {NULL, 0};
  uint64_t header_size = 0, begin = 0, end = 0;
  char key[128];
  FILE *file = fopen(path, "rb");
  char *header = NULL;
  const char *at = NULL;
  snprintf(key, sizeof key, "\"%s\"", name);
  if (file != NULL && fread(&header_size, 8, 1, file) == 1 && header_size < 1 << 20) {
    header = calloc(1, (size_t)header_size + 1);
    if (header != NULL && fread(header, 1, (size_t)header_size, file) == header_size) at = strstr(header, key);
  }
  if (at != NULL) at = strstr(at, "\"data_offsets\"");
  if (at != NULL) at = strchr(at, '[');
  if (at == NULL || sscanf(at, "[%lu ,%lu", &begin, &end) != 2) {
    fprintf(stderr, "%s: no tensor %s\n", path, name);
    exit(1);
  }
  tensor.size = (size_t)(end - begin);
  tensor.data = malloc(tensor.size);
  fseek(file, (long)(8 + header_size + begin), SEEK_SET);
  if (tensor.data == NULL || fread(tensor.data, 1, tensor.size, file) != tensor.size) exit(1);
  free(header);
  fclose(file);
  return tensor;
}

/* Ids of an I64 tensor. */
static inline int32_t *read_ids(const char *path, const char *name, size_t *out_n) {
  struct tensor tensor = read_tensor(path, name);
  const int64_t *wide = tensor.data;
  int32_t *ids = malloc(tensor.size / 2);
  *out_n = tensor.size / 8;
  for (size_t i = 0; i < *out_n; ++i) ids[i] = (int32_t)wide[i];
  free(tensor.data);
  return ids;
}

#endif
