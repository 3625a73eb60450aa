/* What the frozen layouts are said with. */
#ifndef NANOCHAT_TESTS_FROZEN_LAYOUT_H
#define NANOCHAT_TESTS_FROZEN_LAYOUT_H

#include <stddef.h>

#include "nanochat.h"

#define CONSTANT(name, value) _Static_assert((name) == (value), #name)
#define OFFSET(type, field, value) _Static_assert(offsetof(type, field) == (value), #type "." #field)
#define AT_LEAST(type, value) _Static_assert(sizeof(type) >= (value), #type)

#endif
