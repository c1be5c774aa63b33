/* The other half of double_include_a.c. */
#include "isr.h"

uint32_t version_seen_by_b(void);

uint32_t version_seen_by_b(void) { return (uint32_t)ISR_VERSION_NUMBER; }
