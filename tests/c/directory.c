/* A directory: what is stored and invalidated is there after a close, processes and caches share it, trouble is told once. */
#define _POSIX_C_SOURCE 200809L
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char folder[4096];
static int renders, troubles, freed;

static void make_folder(void) {
  const char *parent = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/isr-directory-XXXXXX", parent ? parent : "/tmp");
  CHECK(mkdtemp(folder) != NULL);
}

static void remove_folder(void) {
  char command[5000];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  CHECK(system(command) == 0);
}

static void on_trouble(void *user_data, isr_status status, isr_str message) {
  CHECK(user_data == &freed && status == ISR_STATUS_STORE && message.len > 0);
  /* It may fail in calls of its own: nobody else sees that. */
  REFUSED(isr_cache_close(NULL, 0, NULL));
  __atomic_add_fetch(&troubles, 1, __ATOMIC_SEQ_CST);
}

static void render(void *user_data, isr_render *job) {
  char body[32];
  const int len = snprintf(body, sizeof body, "render %d", __atomic_add_fetch(&renders, 1, __ATOMIC_SEQ_CST));
  isr_result *result = isr_result_new(body, (size_t)len);
  (void)user_data;
  OK(isr_result_add_tag(result, ISR_STR("tag")));
  OK(isr_render_complete(job, result));
}

static isr_cache *open_cache(const char *directory) {
  isr_options *options = isr_options_new();
  OK(isr_options_set_text(options, "directory", isr_cstr(directory)));
  OK(isr_options_set_number(options, "max_disk_bytes", 1 << 20));
  OK(isr_options_set_number(options, "durable", 1));
  OK(isr_options_set_on_trouble(options, on_trouble, &freed, count_call));
  isr_cache *cache = NULL;
  isr_clear_error();
  OK(isr_cache_open(ISR_ABI_VERSION, options, &cache));
  CHECK(isr_last_status() == ISR_STATUS_OK);
  isr_options_free(options);
  CHECK(calls(&freed) == 0); /* the cache needs it */
  OK(isr_cache_add_route(cache, ISR_STR("/[page]"), NULL, render, NULL, NULL));
  return cache;
}

static void close_cache(isr_cache *cache) {
  bool ended = false;
  OK(isr_cache_close(cache, 10, &ended));
  CHECK(ended);
  isr_cache_free(cache);
  CHECK(calls(&freed) == 1);
  freed = 0;
}

static void expect(isr_cache *cache, isr_cache_word word, const char *body) {
  isr_answer *answer = NULL;
  const isr_request request = request_of("/a");
  OK(isr_get(cache, &request, &answer));
  CHECK(isr_answer_cache(answer) == word);
  CHECK(same_bytes(isr_page_body(isr_answer_page(answer)), body));
  isr_answer_unref(answer);
}

static uint64_t counter(isr_cache *cache, const char *name) {
  isr_stats *stats = NULL;
  uint64_t value = 0;
  OK(isr_cache_stats(cache, &stats));
  OK(isr_stats_get(stats, name, &value));
  isr_stats_free(stats);
  return value;
}

static void over_a_restart(void) {
  isr_cache *cache = open_cache(folder);
  expect(cache, ISR_CACHE_WORD_MISS, "render 1");
  CHECK(counter(cache, "disk_writes") == 1 && counter(cache, "disk_bytes") > 0);
  close_cache(cache);

  cache = open_cache(folder);
  expect(cache, ISR_CACHE_WORD_HIT, "render 1");
  CHECK(counter(cache, "disk_reads") == 1);
  const isr_str tag = ISR_STR("tag");
  OK(isr_revalidate_tag(cache, &tag, 1, false, ISR_NEVER));
  close_cache(cache);

  cache = open_cache(folder);
  expect(cache, ISR_CACHE_WORD_REVALIDATED, "render 2");
  close_cache(cache);
  CHECK(troubles == 0);
}

/* Another process sees the pages, and an invalidation that has returned here at its next request. */
static void in_another_process(void) {
  int to_child[2], to_parent[2];
  char byte = 0;
  CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    isr_cache *cache = open_cache(folder);
    expect(cache, ISR_CACHE_WORD_HIT, "render 2");
    CHECK(write(to_parent[1], "1", 1) == 1 && read(to_child[0], &byte, 1) == 1);
    expect(cache, ISR_CACHE_WORD_REVALIDATED, "render 3");
    CHECK(write(to_parent[1], "2", 1) == 1 && read(to_child[0], &byte, 1) == 1);
    close_cache(cache);
    exit(0);
  }
  isr_cache *cache = open_cache(folder);
  expect(cache, ISR_CACHE_WORD_HIT, "render 2");
  CHECK(read(to_parent[0], &byte, 1) == 1);
  const isr_str path = ISR_STR("/a");
  OK(isr_revalidate_path(cache, &path, 1, ISR_PATH_TYPE_DEFAULT, NULL));
  CHECK(write(to_child[1], "1", 1) == 1 && read(to_parent[0], &byte, 1) == 1);
  expect(cache, ISR_CACHE_WORD_HIT, "render 3");
  CHECK(write(to_child[1], "2", 1) == 1);
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close_cache(cache);
  CHECK(troubles == 0);
}

/* A directory that is refused, for others may write to what is in it: told once, and memory goes on. */
static void trouble(void) {
  char bad[4200];
  snprintf(bad, sizeof bad, "%s/bad", folder);
  CHECK(mkdir(bad, 0700) == 0);
  snprintf(bad, sizeof bad, "%s/bad/v1", folder);
  CHECK(mkdir(bad, 0700) == 0 && chmod(bad, 0777) == 0);
  snprintf(bad, sizeof bad, "%s/bad", folder);
  isr_cache *cache = open_cache(bad);
  renders = 0;
  expect(cache, ISR_CACHE_WORD_MISS, "render 1");
  expect(cache, ISR_CACHE_WORD_HIT, "render 1");
  CHECK(troubles == 1);
  CHECK(counter(cache, "disk_errors") > 0);
  close_cache(cache);
}

int main(void) {
  make_folder();
  over_a_restart();
  in_another_process();
  trouble();
  remove_folder();
  printf("directory: ok\n");
  return 0;
}
