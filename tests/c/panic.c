/* A panic inside the library is a status, whichever function it strikes, and the cache goes on. Needs a library with the feature
 * `testing`. */
#define ISR_TESTING
#include "check.h"

static void render(void *user_data, isr_render *job) {
  (void)user_data;
  isr_result *result = isr_result_new("ok", 2);
  isr_test_panic();
  STATUS(ISR_STATUS_PANIC, isr_result_add_tag(result, ISR_STR("t")));
  OK(isr_render_complete(job, result));
}

#define PANICS(call)                                \
  do {                                              \
    isr_clear_error();                              \
    isr_test_panic();                               \
    call;                                           \
    CHECK(isr_last_status() == ISR_STATUS_PANIC);   \
    CHECK(strstr(isr_last_error(), "isr_test_panic") != NULL); \
  } while (0)

int main(void) {
  int freed = 0;
  isr_cache *cache = NULL;
  PANICS(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  CHECK(cache == NULL);
  OK(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  PANICS(isr_cache_add_route(cache, ISR_STR("/p"), NULL, render, &freed, count_call));
  CHECK(freed == 1);
  OK(isr_cache_add_route(cache, ISR_STR("/p"), NULL, render, &freed, count_call));
  isr_request request = request_of("/p");
  isr_answer *answer = NULL;
  PANICS(isr_get(cache, &request, &answer));
  PANICS(isr_get_async(cache, &request, NULL, &freed, count_call));
  CHECK(freed == 2 && answer == NULL);
  OK(isr_get(cache, &request, &answer));
  PANICS(isr_answer_page(answer));
  PANICS(isr_page_body(NULL));
  PANICS(isr_options_new());
  PANICS(isr_cstr("x"));
  OK(isr_answer_unref(answer));
  OK(isr_cache_close(cache, 5, NULL));
  CHECK(freed == 3);
  isr_cache_free(cache);
  puts("panic: ok");
  return 0;
}
