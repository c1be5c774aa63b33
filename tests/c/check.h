/* Assertions that say what was wrong, and small helpers that the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isr.h"

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: not so: %s\n  last error: %s: %s\n", __FILE__, __LINE__, \
              #condition, isr_status_name(isr_last_status()), isr_last_error());      \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

/* The call gives this status. */
#define STATUS(wanted, call)                                                                       \
  do {                                                                                             \
    isr_status got_ = (call);                                                                      \
    if (got_ != (wanted)) {                                                                        \
      fprintf(stderr, "%s:%d: %s\n  wanted %s, got %s: %s\n", __FILE__, __LINE__, #call,           \
              isr_status_name(wanted), isr_status_name(got_), isr_last_error());                   \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define OK(call) STATUS(ISR_STATUS_OK, call)

/* The call is refused as a wrong argument, with a text. */
#define REFUSED(call)                                \
  do {                                               \
    isr_clear_error();                               \
    STATUS(ISR_STATUS_INVALID_ARGUMENT, call);       \
    CHECK(isr_last_status() == ISR_STATUS_INVALID_ARGUMENT); \
    CHECK(isr_last_error()[0] != '\0');              \
  } while (0)

/* A call without a status is refused in the same way: it gives `nothing`, and the thread keeps status and text. */
#define EMPTY(nothing)                                        \
  do {                                                        \
    isr_clear_error();                                        \
    CHECK(nothing);                                           \
    CHECK(isr_last_status() == ISR_STATUS_INVALID_ARGUMENT);  \
    CHECK(isr_last_error()[0] != '\0');                       \
  } while (0)

#define SAYS(part) CHECK(strstr(isr_last_error(), part) != NULL)

static inline int same(isr_str text, const char *wanted) {
  return text.len == strlen(wanted) && (text.len == 0 || memcmp(text.data, wanted, text.len) == 0);
}

static inline int same_bytes(isr_bytes bytes, const char *wanted) {
  return bytes.len == strlen(wanted) && (bytes.len == 0 || memcmp(bytes.data, wanted, bytes.len) == 0);
}

static inline isr_request request_of(const char *path) {
  isr_request request = ISR_REQUEST_INIT;
  request.path = isr_cstr(path);
  return request;
}

/* As free functions of user data: each says how often it was called. */
static inline void count_call(void *counter) { __atomic_add_fetch((int *)counter, 1, __ATOMIC_SEQ_CST); }
static inline int calls(int *counter) { return __atomic_load_n(counter, __ATOMIC_SEQ_CST); }

#endif
