// Stand-in for Apple's <os/log.h>: what our code uses of its documented interface.
#pragma once

#include <os/availability.h>
#include <os/base.h>
#include <os/object.h>

__BEGIN_DECLS

typedef struct os_log_s* os_log_t;

API_AVAILABLE(macos(10.12))
OS_EXPORT os_log_t os_log_create(const char* subsystem, const char* category);

__END_DECLS
