// Stand-in for Apple's <os/signpost.h>: what our code uses of its documented interface. Names and
// formats must be literals, formats fit their arguments, and the macros are statements.
#pragma once

#include <os/log.h>
#include <stdbool.h>
#include <stdint.h>

__BEGIN_DECLS

#define OS_LOG_CATEGORY_POINTS_OF_INTEREST "PointsOfInterest"

typedef uint64_t os_signpost_id_t;
typedef uint8_t os_signpost_type_t;

API_AVAILABLE(macos(10.14))
OS_EXPORT bool os_signpost_enabled(os_log_t log);

API_AVAILABLE(macos(10.14))
OS_EXPORT void _os_signpost_emit_with_name_impl(void* dso, os_log_t log, os_signpost_type_t type,
                                                os_signpost_id_t id, const char* name,
                                                const char* format, uint8_t* buffer, uint32_t size);

extern char __dso_handle;

__END_DECLS

#define KR_STAND_IN_EMIT(log, type, id, name, format, ...)                                       \
  do {                                                                                           \
    static const char kr_name[] = "" name "";                                                    \
    static const char kr_format[] = "" format "";                                                \
    const os_log_t kr_log = (log);                                                               \
    const os_signpost_id_t kr_id = (id);                                                         \
    if (os_signpost_enabled(kr_log)) {                                                           \
      uint8_t kr_buffer[__builtin_os_log_format_buffer_size(format __VA_OPT__(, ) __VA_ARGS__)]; \
      _os_signpost_emit_with_name_impl(                                                          \
          &__dso_handle, kr_log, type, kr_id, kr_name, kr_format,                                \
          (uint8_t*)__builtin_os_log_format(kr_buffer, format __VA_OPT__(, ) __VA_ARGS__),       \
          (uint32_t)sizeof(kr_buffer));                                                          \
    }                                                                                            \
  } while (0)

#define os_signpost_interval_begin(log, id, name, ...) \
  KR_STAND_IN_EMIT(log, 1, id, name, "" __VA_ARGS__)
#define os_signpost_interval_end(log, id, name, ...) \
  KR_STAND_IN_EMIT(log, 2, id, name, "" __VA_ARGS__)
