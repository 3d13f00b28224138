/* C interface of the krtext crate: Hugging Face tokenizers and Jinja chat templates.
 *
 * Contract of every function that returns krtext_status:
 *  - it never unwinds or aborts: a Rust panic comes back as KRTEXT_PANIC;
 *  - out parameters are written on KRTEXT_OK only; `error` may be NULL, and otherwise receives an
 *    owned UTF-8 message when the status is not KRTEXT_OK (release it with krtext_string_free);
 *  - text goes in as pointer + bytes and must be UTF-8; NULL is allowed where bytes == 0.
 * Tokenizers and templates may be used by any number of threads at once. A detokenizer belongs to
 * one thread at a time and keeps its tokenizer alive. */
#ifndef KRTEXT_H
#define KRTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t krtext_status;
enum {
  KRTEXT_OK = 0,
  KRTEXT_INVALID_ARGUMENT = 1, /* not UTF-8, NULL where a value is needed, reserved variable name */
  KRTEXT_IO = 2,               /* a file that cannot be read */
  KRTEXT_PARSE = 3,            /* tokenizer.json, template source or JSON input is malformed */
  KRTEXT_ENCODE = 4,           /* the tokenizer refused the text */
  KRTEXT_DECODE = 5,           /* the tokenizer's decoder failed */
  KRTEXT_RENDER = 6,           /* the template failed while rendering */
  KRTEXT_RAISED = 7,           /* the template called raise_exception: the input is at fault */
  KRTEXT_PANIC = 8             /* a bug in this crate or below it */
};

typedef struct krtext_tokenizer krtext_tokenizer;
typedef struct krtext_detokenizer krtext_detokenizer;
typedef struct krtext_template krtext_template;

/* Owned; `data` is NULL when `bytes` is 0 and is not zero-terminated. */
typedef struct {
  char* data;
  size_t bytes;
} krtext_string;

/* Owned; `data` is NULL when `count` is 0. */
typedef struct {
  uint32_t* data;
  size_t count;
} krtext_ids;

void krtext_string_free(krtext_string text);
void krtext_ids_free(krtext_ids ids);

/* --- tokenizer: a Hugging Face tokenizer.json. Its truncation and padding settings are dropped, as
 * transformers does for a plain call. --- */
krtext_status krtext_tokenizer_load_file(const char* path, size_t path_bytes,
                                         krtext_tokenizer** out, krtext_string* error);
krtext_status krtext_tokenizer_load_memory(const char* json, size_t json_bytes,
                                           krtext_tokenizer** out, krtext_string* error);
void krtext_tokenizer_free(krtext_tokenizer* tokenizer);

/* Special tokens written out in `text` become their ids, as in transformers; add_special_tokens
 * decides only about what the post-processor adds around the text. */
krtext_status krtext_tokenizer_encode(const krtext_tokenizer* tokenizer, const char* text,
                                      size_t text_bytes, bool add_special_tokens, krtext_ids* out,
                                      krtext_string* error);
/* Ids without a token (padding rows of the embedding) decode to nothing. */
krtext_status krtext_tokenizer_decode(const krtext_tokenizer* tokenizer, const uint32_t* ids,
                                      size_t count, bool skip_special_tokens, krtext_string* out,
                                      krtext_string* error);
/* *found says whether *out was written. */
krtext_status krtext_tokenizer_token_to_id(const krtext_tokenizer* tokenizer, const char* token,
                                           size_t token_bytes, bool* found, uint32_t* out,
                                           krtext_string* error);
krtext_status krtext_tokenizer_id_to_token(const krtext_tokenizer* tokenizer, uint32_t id,
                                           bool* found, krtext_string* out, krtext_string* error);
/* Tokens of the model and added tokens; 0 for NULL. */
size_t krtext_tokenizer_vocab_size(const krtext_tokenizer* tokenizer);

/* --- incremental detokenizer: constant work per token --- */
krtext_status krtext_detokenizer_new(const krtext_tokenizer* tokenizer, bool skip_special_tokens,
                                     krtext_detokenizer** out, krtext_string* error);
void krtext_detokenizer_free(krtext_detokenizer* detokenizer);
/* The text that `id` completes; always whole UTF-8 characters, often empty. */
krtext_status krtext_detokenizer_push(krtext_detokenizer* detokenizer, uint32_t id,
                                      krtext_string* out, krtext_string* error);
/* What is still held back, incomplete characters as U+FFFD; the detokenizer then starts afresh. */
krtext_status krtext_detokenizer_finish(krtext_detokenizer* detokenizer, krtext_string* out,
                                        krtext_string* error);

/* --- chat template: Jinja as transformers runs it --- */
krtext_status krtext_template_compile(const char* source, size_t source_bytes,
                                      krtext_template** out, krtext_string* error);
void krtext_template_free(krtext_template* chat_template);

/* JSON texts; NULL data leaves a member out. */
typedef struct {
  const char* messages; /* array, required */
  size_t messages_bytes;
  const char* tools; /* array or null */
  size_t tools_bytes;
  const char* kwargs; /* object: further variables; they win over bos_token and eos_token */
  size_t kwargs_bytes;
  const char* bos_token; /* plain text, not JSON */
  size_t bos_token_bytes;
  const char* eos_token; /* plain text, not JSON */
  size_t eos_token_bytes;
  bool add_generation_prompt;
} krtext_render_input;

krtext_status krtext_template_render(const krtext_template* chat_template,
                                     const krtext_render_input* input, krtext_string* out,
                                     krtext_string* error);

#ifdef __cplusplus
}
#endif

#endif
