/* A cache that is opened, and used, before fork: hits and renders in parent and children, also while other threads use it. */
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 4, WATCHDOG = 60 };

static int freed;

/* Every page tells who rendered it. */
static void render(void *user_data, isr_render *job) {
  (void)user_data;
  char text[32];
  const int len = snprintf(text, sizeof text, "%d", (int)getpid());
  isr_result *result = isr_result_new(text, (size_t)len);
  isr_result_add_tag(result, ISR_STR("all"));
  isr_render_complete(job, result);
}

static void load(void *user_data, isr_load *job) {
  (void)user_data;
  isr_load_complete(job, "value", 5);
}

/* Whether a page is `word` and was rendered by this process. */
static void got(isr_cache *cache, const char *path, isr_cache_word word, pid_t by) {
  char text[32];
  snprintf(text, sizeof text, "%d", (int)by);
  isr_request request = request_of(path);
  isr_answer *answer = NULL;
  OK(isr_get(cache, &request, &answer));
  CHECK(isr_answer_cache(answer) == word);
  CHECK(same_bytes(isr_page_body(isr_answer_page(answer)), text));
  OK(isr_answer_unref(answer));
}

/* All that a cache does. */
static void use(isr_cache *cache) {
  const isr_str tag = ISR_STR("all"), path = ISR_STR("/own"), key = ISR_STR("k");
  got(cache, "/own", ISR_CACHE_WORD_MISS, getpid());
  got(cache, "/own", ISR_CACHE_WORD_HIT, getpid());
  OK(isr_revalidate_tag(cache, &tag, 1, false, ISR_NEVER));
  got(cache, "/own", ISR_CACHE_WORD_REVALIDATED, getpid());
  OK(isr_remove(cache, &path, 1));
  got(cache, "/own", ISR_CACHE_WORD_MISS, getpid());
  isr_data_request request = ISR_DATA_REQUEST_INIT;
  isr_data *data = NULL;
  request.key = &key;
  request.key_count = 1;
  OK(isr_cache_data(cache, &request, load, NULL, NULL, &data));
  CHECK(same_bytes(isr_data_value(data), "value"));
  OK(isr_data_unref(data));
}

/* Ends a child. Not by exit: what belongs to the parent's threads would count as leaked here. */
static void end_child(int told) {
  if (write(told, "y", 1) != 1) abort();
  kill(getpid(), SIGKILL);
}

/* In a child that fork has just made: a watchdog, and where to tell that all went well. */
#define IN_CHILD(body)                                \
  do {                                                \
    int told_[2];                                     \
    CHECK(pipe(told_) == 0);                          \
    const pid_t child_ = fork();                      \
    CHECK(child_ >= 0);                               \
    if (child_ == 0) {                                \
      alarm(WATCHDOG);                                \
      close(told_[0]);                                \
      body;                                           \
      end_child(told_[1]);                            \
    }                                                 \
    close(told_[1]);                                  \
    char result_ = 0;                                 \
    CHECK(read(told_[0], &result_, 1) == 1);          \
    CHECK(waitpid(child_, NULL, 0) == child_);        \
    close(told_[0]);                                  \
  } while (0)

static isr_cache *opened(void) {
  isr_cache *cache = NULL;
  OK(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  OK(isr_cache_add_route(cache, ISR_STR("/[id]"), NULL, render, &freed, count_call));
  return cache;
}

static void used_before(void) {
  isr_cache *cache = opened();
  got(cache, "/stored", ISR_CACHE_WORD_MISS, getpid());
  isr_request request = request_of("/stored");
  isr_answer *held = NULL;
  OK(isr_get(cache, &request, &held));
  const pid_t parent = getpid();
  char text[32];
  snprintf(text, sizeof text, "%d", (int)parent);
  IN_CHILD({
    CHECK(same_bytes(isr_page_body(isr_answer_page(held)), text));
    OK(isr_answer_unref(held));
    got(cache, "/stored", ISR_CACHE_WORD_MISS, getpid());
    got(cache, "/stored", ISR_CACHE_WORD_HIT, getpid());
    use(cache);
    IN_CHILD(use(cache));
    got(cache, "/own", ISR_CACHE_WORD_HIT, getpid());
    isr_cache_free(cache);
    CHECK(calls(&freed) == 0);
  });
  IN_CHILD({
    /* Without having used it. */
    isr_cache_free(cache);
    CHECK(calls(&freed) == 0);
  });
  CHECK(same_bytes(isr_page_body(isr_answer_page(held)), text));
  OK(isr_answer_unref(held));
  got(cache, "/stored", ISR_CACHE_WORD_HIT, parent);
  use(cache);
  isr_cache_close(cache, 10, NULL);
  IN_CHILD(STATUS(ISR_STATUS_CLOSED, isr_get(cache, &request, &held)));
  isr_cache_free(cache);
  CHECK(calls(&freed) == 1);
}

/* A job of the parent in the child. */
static isr_render *job;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void keep(void *user_data, isr_render *given) {
  (void)user_data;
  pthread_mutex_lock(&lock);
  job = isr_render_ref(given);
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

static void *ask(void *cache) {
  isr_request request = request_of("/held/1");
  isr_answer *answer = NULL;
  OK(isr_get(cache, &request, &answer));
  CHECK(same_bytes(isr_page_body(isr_answer_page(answer)), "parent"));
  OK(isr_answer_unref(answer));
  return NULL;
}

static void jobs(void) {
  isr_cache *cache = opened();
  OK(isr_cache_add_route(cache, ISR_STR("/held/[id]"), NULL, keep, NULL, NULL));
  pthread_t asking;
  CHECK(pthread_create(&asking, NULL, ask, cache) == 0);
  pthread_mutex_lock(&lock);
  while (job == NULL) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  IN_CHILD({
    CHECK(isr_render_is_cancelled(job));
    STATUS(ISR_STATUS_FINISHED, isr_render_complete(job, isr_result_new("child", 5)));
    isr_data_request request = ISR_DATA_REQUEST_INIT;
    isr_data *data = NULL;
    const isr_str key = ISR_STR("k");
    request.key = &key;
    request.key_count = 1;
    STATUS(ISR_STATUS_FINISHED, isr_render_data(job, &request, load, NULL, NULL, &data));
    OK(isr_render_unref(job));
    use(cache);
  });
  CHECK(!isr_render_is_cancelled(job));
  OK(isr_render_complete(job, isr_result_new("parent", 6)));
  OK(isr_render_unref(job));
  CHECK(pthread_join(asking, NULL) == 0);
  isr_cache_free(cache);
}

static int over;

static void *hammer(void *cache) {
  const isr_str tag = ISR_STR("all");
  char path[32];
  for (int n = 0; !__atomic_load_n(&over, __ATOMIC_SEQ_CST); n++) {
    snprintf(path, sizeof path, "/%d", n % 50);
    isr_request request = request_of(path);
    isr_answer *answer = NULL;
    OK(isr_get(cache, &request, &answer));
    OK(isr_answer_unref(answer));
    if (n % 10 == 0) OK(isr_revalidate_tag(cache, &tag, 1, n % 20 == 0, ISR_NEVER));
  }
  return NULL;
}

static void under_load(void) {
  const char *preload = getenv("LD_PRELOAD");
  const int forks = preload != NULL && strstr(preload, "vgpreload") != NULL ? 5 : 200;
  isr_cache *cache = opened();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, hammer, cache) == 0);
  for (int n = 0; n < forks; n++) {
    IN_CHILD({
      use(cache);
      bool ended = false;
      OK(isr_cache_close(cache, 20, &ended));
      CHECK(ended);
    });
  }
  __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  isr_cache_free(cache);
}

int main(void) {
  used_before();
  jobs();
  under_load();
  puts("fork: ok");
  return 0;
}
