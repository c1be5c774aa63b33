/* Many threads on one cache: hits share one page, one render serves all who wait, callbacks come once, user data goes once. */
#include <pthread.h>

#include "check.h"

enum { THREADS = 8, ROUNDS = 200, PATHS = 10 };

static isr_cache *cache;
static int renders[PATHS];
static int freed, answered, async_freed;
static pthread_barrier_t start;

static void render(void *user_data, isr_render *job) {
  (void)user_data;
  const isr_str id = isr_render_param(job, "id");
  const int n = id.data[0] - '0';
  __atomic_add_fetch(&renders[n], 1, __ATOMIC_SEQ_CST);
  isr_result *result = isr_result_new("page ", 5);
  OK(isr_result_append(result, id.data, id.len));
  OK(isr_result_add_tag(result, ISR_STR("all")));
  OK(isr_render_complete(job, result));
}

static void done(void *user_data, isr_status status, isr_answer *answer) {
  CHECK(status == ISR_STATUS_OK && user_data == &async_freed);
  CHECK(isr_page_body(isr_answer_page(answer)).len == 6);
  OK(isr_answer_unref(answer));
  __atomic_add_fetch(&answered, 1, __ATOMIC_SEQ_CST);
}

static void *cold(void *unused) {
  isr_request request = request_of("/p/0");
  isr_answer *answer = NULL;
  pthread_barrier_wait(&start);
  OK(isr_get(cache, &request, &answer));
  CHECK(same_bytes(isr_page_body(isr_answer_page(answer)), "page 0"));
  OK(isr_answer_unref(answer));
  return unused;
}

static void *mixed(void *number) {
  const isr_str all = ISR_STR("all");
  char path[] = "/p/0";
  pthread_barrier_wait(&start);
  for (int i = 0; i < ROUNDS; i++) {
    path[3] = (char)('0' + (i + *(int *)number) % PATHS);
    isr_request request = request_of(path);
    isr_answer *answer = NULL;
    OK(isr_get(cache, &request, &answer));
    isr_page *page = isr_page_ref(isr_answer_page(answer));
    OK(isr_answer_unref(answer));
    if (i % 50 == 49) OK(isr_revalidate_tag(cache, &all, 1, i % 100 == 99, ISR_NEVER));
    OK(isr_get_async(cache, &request, done, &async_freed, count_call));
    CHECK(isr_page_body(page).len == 6 && isr_page_body(page).data[5] == (uint8_t)path[3]);
    OK(isr_page_unref(page));
    /* Errors belong to the thread that made them. */
    request = request_of(i % 2 ? "no slash" : "/nowhere");
    STATUS(i % 2 ? ISR_STATUS_INVALID_PATH : ISR_STATUS_NO_ROUTE, isr_get(cache, &request, &answer));
    SAYS(i % 2 ? "no slash" : "/nowhere");
  }
  return NULL;
}

static void run(void *(*body)(void *)) {
  pthread_t threads[THREADS];
  int numbers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    CHECK(pthread_create(&threads[i], NULL, body, &numbers[i]) == 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

int main(void) {
  pthread_barrier_init(&start, NULL, THREADS);
  OK(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  OK(isr_cache_add_route(cache, ISR_STR("/p/[id]"), NULL, render, &freed, count_call));
  run(cold);
  CHECK(renders[0] == 1);
  run(mixed);
  bool ended = false;
  OK(isr_cache_close(cache, 20, &ended));
  CHECK(ended);
  CHECK(calls(&answered) == THREADS * ROUNDS && calls(&async_freed) == THREADS * ROUNDS);
  CHECK(calls(&freed) == 1);
  isr_stats *stats = NULL;
  uint64_t hits = 0, begun = 0, errors = 0;
  OK(isr_cache_stats(cache, &stats));
  OK(isr_stats_get(stats, "hits", &hits));
  OK(isr_stats_get(stats, "renders", &begun));
  OK(isr_stats_get(stats, "errors", &errors));
  isr_stats_free(stats);
  uint64_t counted = 0;
  for (int i = 0; i < PATHS; i++) counted += (uint64_t)renders[i];
  CHECK(begun == counted && hits > 0 && errors >= THREADS * ROUNDS);
  isr_cache_free(cache);
  pthread_barrier_destroy(&start);
  puts("threads: ok");
  return 0;
}
