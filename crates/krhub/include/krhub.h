/* C interface of the krhub crate: models of the Hugging Face hub, fetched into its cache. */
#ifndef KRHUB_H
#define KRHUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t krhub_status;
enum {
  KRHUB_OK = 0,
  KRHUB_FAILED = 1,  /* the message says what and the remedy */
  KRHUB_STOPPED = 2, /* the progress function returned false */
  KRHUB_PANIC = 3    /* a bug in this crate or below it */
};

/* Owned UTF-8; `data` is NULL when `bytes` is 0 and is not zero-terminated. */
typedef struct {
  char* data;
  size_t bytes;
} krhub_string;

void krhub_string_free(krhub_string text);

/* fraction 0..1 of the bytes to fetch; `what` is UTF-8, not zero-terminated. Called on the caller's
 * thread some ten times a second; false stops, what has been fetched stays and is resumed. */
typedef bool (*krhub_progress)(void* context, double fraction, const char* what, size_t what_bytes);

/* Fetches what krserve needs of `repository` ("owner/name") at `revision` (branch, tag or commit),
 * with the HF_* variables of the environment. *path: the snapshot's directory, complete. *note:
 * what the user should know (that the hub was not reached, and the cache's copy is used), mostly
 * empty. Never unwinds. path, note and error must not be NULL; each is written, empty where it has
 * no text. */
krhub_status krhub_fetch(const char* repository, size_t repository_bytes, const char* revision,
                         size_t revision_bytes, krhub_progress progress, void* context,
                         krhub_string* path, krhub_string* note, krhub_string* error);

#ifdef __cplusplus
}
#endif

#endif
