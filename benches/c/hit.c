/* One round of hits through libisr.so, and of glib's hash table behind a mutex: nanoseconds a look-up, as lines of JSON.
 *
 *     hit [PAGES] [LOOKUPS]
 *
 * Zipf 0.99, one thread and its processor time, bodies of 256 bytes. benches/run.py runs it in turns with the same in Rust.
 */
#include <isr.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef HAVE_GLIB
#include <glib.h>
#include <pthread.h>
#endif

enum { BODY = 256, PATH = 32 };

static char (*paths)[PATH];
static uint32_t *order;
static size_t lookups;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, isr_last_error());
  exit(1);
}

static uint64_t state = 7;

static uint64_t next_random(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717u;
}

/* Indices in Zipf order; hot pages are not neighbours. */
static void make_order(size_t pages) {
  double *cumulated = malloc(pages * sizeof *cumulated), sum = 0;
  uint32_t *keys = malloc(pages * sizeof *keys);
  order = malloc(lookups * sizeof *order);
  if (!cumulated || !keys || !order) exit(1);
  for (size_t i = 0; i < pages; i++) {
    sum += pow((double)(i + 1), -0.99);
    cumulated[i] = sum;
    keys[i] = (uint32_t)i;
  }
  for (size_t i = pages - 1; i > 0; i--) {
    const size_t j = next_random() % (i + 1);
    const uint32_t kept = keys[i];
    keys[i] = keys[j];
    keys[j] = kept;
  }
  for (size_t i = 0; i < lookups; i++) {
    const double at = (double)(next_random() >> 11) / 9007199254740992.0 * sum;
    size_t low = 0, high = pages - 1;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (cumulated[middle] < at) low = middle + 1;
      else high = middle;
    }
    order[i] = keys[low];
  }
  free(cumulated);
  free(keys);
}

static void report(const char *name, struct timespec begin) {
  struct timespec end;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  const double nanos = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
  printf("{\"name\": \"%s\", \"value\": %.2f}\n", name, nanos / (double)lookups);
}

static void unused_render(void *user_data, isr_render *job) {
  (void)user_data;
  isr_render_complete(job, isr_result_new("", 0));
}

static isr_request request_for(const char *path) {
  isr_request request = ISR_REQUEST_INIT;
  request.path = isr_cstr(path);
  return request;
}

static void with_libisr(size_t pages) {
  static char body[BODY];
  isr_cache *cache = NULL;
  isr_options *options = isr_options_new();
  if (isr_options_set_number(options, "max_bytes", 1e11) != ISR_STATUS_OK) fail("max_bytes");
  if (isr_cache_open(ISR_ABI_VERSION, options, &cache) != ISR_STATUS_OK) fail("isr_cache_open");
  isr_options_free(options);
  isr_route *route = isr_route_new();
  if (isr_route_add_tag(route, ISR_STR("blog")) != ISR_STATUS_OK) fail("isr_route_add_tag");
  if (isr_cache_add_route(cache, ISR_STR("/blog/[id]"), route, unused_render, NULL, NULL) != ISR_STATUS_OK) fail("route");
  isr_route_free(route);
  for (size_t i = 0; i < pages; i++) {
    isr_request request = request_for(paths[i]);
    isr_result *result = isr_result_new(body, BODY);
    if (isr_put(cache, &request, result, isr_started(cache), NULL) != ISR_STATUS_OK) fail("isr_put");
  }
  for (int warm = 1; warm >= 0; warm--) {
    struct timespec begin;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (size_t i = 0; i < lookups; i++) {
      isr_request request = request_for(paths[order[i]]);
      isr_answer *answer = NULL;
      if (isr_get(cache, &request, &answer) != ISR_STATUS_OK) fail("isr_get");
      if (isr_page_body(isr_answer_page(answer)).len != BODY) fail("body");
      isr_answer_unref(answer);
    }
    if (!warm) report("libisr", begin);
  }
  isr_cache_free(cache);
}

#ifdef HAVE_GLIB
struct page {
  gatomicrefcount references;
  size_t len;
  char body[BODY];
};

static void with_glib(size_t pages) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
  for (size_t i = 0; i < pages; i++) {
    struct page *page = calloc(1, sizeof *page);
    if (!page) exit(1);
    g_atomic_ref_count_init(&page->references);
    page->len = BODY;
    g_hash_table_insert(table, paths[i], page);
  }
  for (int warm = 1; warm >= 0; warm--) {
    struct timespec begin;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (size_t i = 0; i < lookups; i++) {
      pthread_mutex_lock(&lock);
      struct page *page = g_hash_table_lookup(table, paths[order[i]]);
      if (page) g_atomic_ref_count_inc(&page->references);
      pthread_mutex_unlock(&lock);
      if (!page || page->len != BODY) exit(1);
      (void)!g_atomic_ref_count_dec(&page->references);
    }
    if (!warm) report("glib hash + mutex", begin);
  }
  g_hash_table_destroy(table);
}
#endif

int main(int argc, char **argv) {
  const size_t pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
  lookups = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
  if (pages == 0 || lookups == 0) return fprintf(stderr, "usage: hit [PAGES] [LOOKUPS]\n"), 2;
  paths = malloc(pages * sizeof *paths);
  if (!paths) return 1;
  for (size_t i = 0; i < pages; i++) snprintf(paths[i], PATH, "/blog/%zu", i);
  make_order(pages);
  with_libisr(pages);
#ifdef HAVE_GLIB
  with_glib(pages);
#endif
  return 0;
}
