/* The header twice in one file, and in two files of one program. */
#include "isr.h"
#include "isr.h"

uint32_t version_seen_by_b(void);

int main(void) {
  isr_request request = ISR_REQUEST_INIT;
  return version_seen_by_b() == isr_version() && request.struct_size == sizeof(isr_request) ? 0 : 1;
}
