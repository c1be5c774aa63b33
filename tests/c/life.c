/* Handles and jobs out of order: late, twice, never, after close. Each is a numbered status; nothing leaks. */
#include <pthread.h>

#include "check.h"

static isr_clock *clock_;
static int freed;

static isr_cache *open_cache(void) {
  isr_cache *cache = NULL;
  isr_options *options = isr_options_new();
  clock_ = isr_clock_new(1700000000);
  OK(isr_options_set_clock(options, clock_));
  OK(isr_options_set_number(options, "backoff_jitter", 0));
  OK(isr_cache_open(ISR_ABI_VERSION, options, &cache));
  isr_options_free(options);
  freed = 0;
  return cache;
}

static void close_cache(isr_cache *cache) {
  bool ended = false;
  OK(isr_cache_close(cache, 5, &ended));
  CHECK(ended);
  OK(isr_cache_close(cache, 5, NULL));
  CHECK(isr_cache_is_closed(cache));
  isr_cache_free(cache);
  isr_clock_free(clock_);
}

static void add(isr_cache *cache, const char *pattern, isr_route *route, isr_render_fn render) {
  OK(isr_cache_add_route(cache, isr_cstr(pattern), route, render, &freed, count_call));
}

static isr_status get(isr_cache *cache, const char *path, isr_answer **out) {
  isr_request request = request_of(path);
  return isr_get(cache, &request, out);
}

/* --- inside the callback --- */

static void render_twice(void *user_data, isr_render *job) {
  (void)user_data;
  CHECK(same(isr_render_path(job), "/twice/a/b"));
  CHECK(same(isr_render_pattern(job), "/twice/[...rest]"));
  CHECK(isr_render_param_count(job) == 1 && same(isr_render_param_name(job, 0), "rest"));
  size_t count = 0;
  bool is_list = false;
  const isr_str *values = isr_render_param_values(job, "rest", &count, &is_list);
  CHECK(is_list && count == 2 && same(values[0], "a") && same(values[1], "b"));
  EMPTY(isr_render_param(job, "rest").data == NULL);
  SAYS("list");
  EMPTY(isr_render_param(job, NULL).data == NULL);
  isr_clear_error();
  CHECK(isr_render_param(job, "nope").data == NULL && isr_last_status() == ISR_STATUS_OK);
  CHECK(isr_render_param_values(job, "nope", &count, NULL) == NULL && count == 0);
  CHECK(isr_render_variant_count(job) == 1 && same(isr_render_variant(job, "lang"), "de"));
  CHECK(isr_render_reason(job) == ISR_REASON_MISS && isr_render_previous(job) == NULL);
  CHECK(!isr_render_is_draft(job) && !isr_render_is_cancelled(job) && isr_render_context(job) != NULL);

  REFUSED(isr_render_complete(job, NULL)); /* not finished by that */
  OK(isr_render_complete(job, isr_result_new("first", 5)));
  STATUS(ISR_STATUS_FINISHED, isr_render_complete(job, isr_result_new("second", 6)));
  SAYS("/twice/a/b");
  STATUS(ISR_STATUS_FINISHED, isr_render_fail(job, ISR_STR("third")));
  CHECK(same(isr_render_path(job), "/twice/a/b"));
}

static void second_completion(void) {
  isr_cache *cache = open_cache();
  add(cache, "/twice/[...rest]", NULL, render_twice);
  isr_answer *answer = NULL;
  isr_request request = request_of("/twice/a/b/");
  const isr_field lang = {ISR_STR("lang"), ISR_STR("de")};
  request.variant = &lang;
  request.variant_count = 1;
  OK(isr_get(cache, &request, &answer));
  CHECK(same_bytes(isr_page_body(isr_answer_page(answer)), "first"));
  CHECK(isr_answer_page(answer) == isr_answer_page(answer));
  isr_page *page = isr_page_ref(isr_answer_page(answer));
  const uint8_t *body = isr_page_body(page).data;
  OK(isr_answer_unref(answer));
  close_cache(cache);
  CHECK(freed == 1);
  /* A page outlives its answer and its cache; its body stays where it was. */
  CHECK(same_bytes(isr_page_body(page), "first") && isr_page_body(page).data == body);
  OK(isr_page_unref(page));
}

/* --- never finished --- */

static void render_nothing(void *user_data, isr_render *job) { (void)user_data, (void)job; }

static void render_bad_message(void *user_data, isr_render *job) {
  (void)user_data;
  const char bad[] = {'b', (char)0xff, 0};
  const isr_str message = {bad, 3};
  OK(isr_render_fail(job, message));
}

static void render_no_message(void *user_data, isr_render *job) {
  (void)user_data;
  OK(isr_render_fail(job, isr_cstr("")));
}

static void render_invalid(void *user_data, isr_render *job) {
  (void)user_data;
  isr_result *result = isr_result_new("x", 1);
  OK(isr_result_add_header(result, ISR_STR("bad name"), ISR_STR("v")));
  STATUS(ISR_STATUS_RENDER, isr_render_complete(job, result));
  STATUS(ISR_STATUS_FINISHED, isr_render_fail(job, ISR_STR("too late")));
}

static void failures(void) {
  isr_cache *cache = open_cache();
  add(cache, "/nothing", NULL, render_nothing);
  add(cache, "/message", NULL, render_bad_message);
  add(cache, "/invalid", NULL, render_invalid);
  add(cache, "/no-message", NULL, render_no_message);
  isr_answer *answer = NULL;
  STATUS(ISR_STATUS_RENDER, get(cache, "/nothing", &answer));
  CHECK(isr_last_error()[0] != '\0');
  STATUS(ISR_STATUS_RENDER, get(cache, "/message", &answer));
  SAYS("b\xef\xbf\xbd");
  STATUS(ISR_STATUS_RENDER, get(cache, "/invalid", &answer));
  SAYS("bad name");
  STATUS(ISR_STATUS_RENDER, get(cache, "/no-message", &answer));
  SAYS("the render failed without a message");
  CHECK(answer == NULL);
  close_cache(cache);
  CHECK(freed == 4);
}

/* --- later, from another thread --- */

static isr_render *kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void render_keep(void *user_data, isr_render *job) {
  (void)user_data;
  pthread_mutex_lock(&lock);
  kept = isr_render_ref(job);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static isr_render *take_kept(void) {
  pthread_mutex_lock(&lock);
  while (!kept) pthread_cond_wait(&changed, &lock);
  isr_render *job = kept;
  kept = NULL;
  pthread_mutex_unlock(&lock);
  return job;
}

struct waiting {
  int done;
  isr_status status;
  isr_answer *answer;
  char message[200];
};

static void on_answer(void *user_data, isr_status status, isr_answer *answer) {
  struct waiting *w = user_data;
  pthread_mutex_lock(&lock);
  w->done++;
  w->status = status;
  w->answer = answer;
  snprintf(w->message, sizeof w->message, "%s", isr_last_error());
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void wait_for(struct waiting *w) {
  pthread_mutex_lock(&lock);
  while (!w->done) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}

static void late_completion(void) {
  isr_cache *cache = open_cache();
  isr_route *route = isr_route_new();
  OK(isr_route_set_timeout(route, 10));
  add(cache, "/late/[id]", route, render_keep);
  isr_route_free(route);
  struct waiting w = {0, 0, NULL, ""};
  int user_freed = 0;
  isr_request request = request_of("/late/1");
  isr_answer *answer = (isr_answer *)&w;
  OK(isr_try_get(cache, &request, &answer));
  CHECK(answer == NULL);

  /* In time. */
  OK(isr_get_async(cache, &request, on_answer, &w, NULL));
  isr_render *job = take_kept();
  CHECK(w.done == 0 && !isr_render_is_cancelled(job));
  OK(isr_render_complete(job, isr_result_new("late", 4)));
  wait_for(&w);
  STATUS(ISR_STATUS_OK, w.status);
  CHECK(same_bytes(isr_page_body(isr_answer_page(w.answer)), "late"));
  OK(isr_answer_unref(w.answer));
  STATUS(ISR_STATUS_FINISHED, isr_render_complete(job, isr_result_new("again", 5)));
  CHECK(same(isr_render_path(job), "/late/1"));
  OK(isr_render_unref(job));
  isr_render *gone = job;

  /* A hit calls back at once, on this thread. */
  w.done = 0;
  OK(isr_get_async(cache, &request, on_answer, &w, NULL));
  CHECK(w.done == 1 && isr_answer_cache(w.answer) == ISR_CACHE_WORD_HIT);
  isr_answer *same_answer = isr_answer_ref(w.answer);
  CHECK(same_answer == w.answer);
  OK(isr_answer_unref(w.answer));
  OK(isr_answer_unref(same_answer));

  /* After its timeout. */
  w.done = 0;
  request = request_of("/late/2");
  OK(isr_get_async(cache, &request, on_answer, &w, NULL));
  job = take_kept();
  OK(isr_clock_advance(clock_, 10.5));
  wait_for(&w);
  CHECK(w.status == ISR_STATUS_TIMEOUT && w.answer == NULL && w.message[0] != '\0');
  CHECK(isr_render_is_cancelled(job));
  STATUS(ISR_STATUS_FINISHED, isr_render_complete(job, isr_result_new("too late", 8)));
  OK(isr_render_unref(job));

  /* Dropped by its last holder. */
  w.done = 0;
  OK(isr_clock_advance(clock_, 100));
  OK(isr_regenerate_async(cache, &request, false, on_answer, &w, NULL));
  job = take_kept();
  OK(isr_render_unref(job));
  wait_for(&w);
  CHECK(w.status == ISR_STATUS_RENDER && w.answer == NULL);

  /* After close. */
  w.done = 0;
  request = request_of("/late/3");
  OK(isr_get_async(cache, &request, on_answer, &w, NULL));
  job = take_kept();
  bool ended = true;
  OK(isr_cache_close(cache, 0, &ended));
  CHECK(!ended);
  wait_for(&w);
  CHECK(w.status == ISR_STATUS_CLOSED);
  CHECK(isr_render_is_cancelled(job));
  isr_data_request read = ISR_DATA_REQUEST_INIT;
  const isr_str key = ISR_STR("k");
  read.key = &key;
  read.key_count = 1;
  isr_data *data = NULL;
  STATUS(ISR_STATUS_CLOSED, isr_render_data(job, &read, (isr_load_fn)render_nothing, &user_freed, count_call, &data));
  CHECK(user_freed == 1);

  /* Everything else on a closed cache. */
  const isr_str tag = ISR_STR("t"), path = ISR_STR("/late/1");
  isr_state state;
  STATUS(ISR_STATUS_CLOSED, get(cache, "/late/1", &answer));
  STATUS(ISR_STATUS_CLOSED, isr_try_get(cache, &request, &answer));
  STATUS(ISR_STATUS_CLOSED, isr_peek(cache, &request, &state, NULL, NULL));
  STATUS(ISR_STATUS_CLOSED, isr_regenerate(cache, &request, false, &answer));
  STATUS(ISR_STATUS_CLOSED, isr_put(cache, &request, isr_result_new("x", 1), isr_started(cache), NULL));
  STATUS(ISR_STATUS_CLOSED, isr_cache_add_route(cache, ISR_STR("/x"), NULL, render_nothing, &user_freed, count_call));
  CHECK(user_freed == 2);
  isr_report *report = NULL;
  STATUS(ISR_STATUS_CLOSED, isr_prerender(cache, NULL, NULL, NULL, &report));
  STATUS(ISR_STATUS_CLOSED, isr_cache_data(cache, &read, (isr_load_fn)render_nothing, NULL, NULL, &data));
  isr_revalidate_tag(cache, &tag, 1, false, ISR_NEVER);
  isr_revalidate_path(cache, &path, 1, ISR_PATH_TYPE_DEFAULT, NULL);
  isr_remove(cache, &path, 1);
  w.done = 0;
  OK(isr_get_async(cache, &request, on_answer, &w, NULL));
  wait_for(&w);
  CHECK(w.status == ISR_STATUS_CLOSED);

  /* Closing again with some time waits for what a callback still does after it handed its job on. */
  OK(isr_cache_close(cache, 5, &ended));
  CHECK(ended && freed == 1);
  /* Now nobody holds the first job any more, whichever thread let go of it last. */
  REFUSED(isr_render_complete(gone, isr_result_new("freed", 5)));
  SAYS("freed");
  REFUSED(isr_render_unref(gone));
  isr_cache_free(cache);
  isr_clock_free(clock_);
  /* The job outlives the handle of its cache. */
  STATUS(ISR_STATUS_FINISHED, isr_render_complete(job, isr_result_new("after free", 10)));
  OK(isr_render_unref(job));
  STATUS(ISR_STATUS_INVALID_ARGUMENT, get(cache, "/late/1", &answer));
  SAYS("freed");
}

/* --- the last error of a thread, and callbacks that run on it --- */

static void fails_in_done(void *user_data, isr_status status, isr_answer *answer) {
  CHECK(status == ISR_STATUS_NO_ROUTE && isr_last_status() == ISR_STATUS_NO_ROUTE && answer == NULL);
  SAYS("/nowhere");
  CHECK(isr_answer_page(answer) == NULL); /* fails, and takes the text's place */
  CHECK(isr_last_status() == ISR_STATUS_INVALID_ARGUMENT);
  count_call(user_data);
}

static void fails_when_freed(void *user_data) {
  CHECK(isr_page_status(NULL) == 0);
  count_call(user_data);
}

static void fails_in_load(void *user_data, isr_load *job) {
  (void)user_data;
  CHECK(isr_last_status() == ISR_STATUS_OK && isr_last_error()[0] == '\0');
  CHECK(isr_load_key_at(job, 99).data == NULL);
  CHECK(isr_last_status() == ISR_STATUS_INVALID_ARGUMENT);
  OK(isr_load_complete(job, "value", 5));
}

static void data_done(void *user_data, isr_status status, isr_data *data) {
  CHECK(status == ISR_STATUS_OK && same_bytes(isr_data_value(data), "value"));
  CHECK(isr_last_status() == ISR_STATUS_OK);
  OK(isr_data_unref(data));
  CHECK(isr_data_value(NULL).data == NULL);
  count_call(user_data);
}

static void a_success_leaves_the_last_error(void) {
  isr_cache *cache = open_cache();
  int done = 0;
  isr_request nowhere = request_of("/nowhere");
  const isr_str key = ISR_STR("k");
  isr_data_request read = ISR_DATA_REQUEST_INIT;
  read.key = &key;
  read.key_count = 1;

  REFUSED(isr_clock_advance(clock_, -7));
  const char *text = isr_last_error();
  OK(isr_get_async(cache, &nowhere, fails_in_done, &done, fails_when_freed));
  CHECK(done == 2);
  OK(isr_regenerate_async(cache, &nowhere, false, fails_in_done, &done, NULL));
  CHECK(done == 3);
  OK(isr_cache_data_async(cache, &read, fails_in_load, NULL, NULL, data_done, &done, NULL));
  CHECK(done == 4);
  isr_data *data = NULL;
  const isr_str other = ISR_STR("other");
  read.key = &other;
  OK(isr_cache_data(cache, &read, fails_in_load, NULL, NULL, &data));
  OK(isr_data_unref(data));
  CHECK(isr_last_status() == ISR_STATUS_INVALID_ARGUMENT && isr_last_error() == text);
  SAYS("-7");

  isr_clear_error();
  OK(isr_get_async(cache, &nowhere, fails_in_done, &done, NULL));
  CHECK(isr_last_status() == ISR_STATUS_OK && isr_last_error()[0] == '\0');
  close_cache(cache);
}

/* --- calling back into the cache --- */

static isr_cache *inner;

static void render_itself(void *user_data, isr_render *job) {
  (void)user_data;
  isr_answer *answer = NULL;
  STATUS(ISR_STATUS_INVALID_ARGUMENT, get(inner, "/itself", &answer));
  isr_render_fail(job, isr_cstr(isr_last_error()));
}

static int loads;

static void load_inner(void *user_data, isr_load *job) {
  (void)user_data;
  CHECK(isr_load_key_count(job) == 2 && same(isr_load_key_at(job, 1), "x,y"));
  OK(isr_load_complete(job, "inner", 5));
  STATUS(ISR_STATUS_FINISHED, isr_load_fail(job, ISR_STR("again")));
}

static void load_outer(void *user_data, isr_load *job) {
  (void)user_data;
  loads++;
  CHECK(!isr_load_is_cancelled(job) && isr_load_context(job) != NULL);
  const isr_str key[] = {ISR_STR("inner"), ISR_STR("x,y")}, tags[] = {ISR_STR("inner-tag")};
  isr_data_request read = ISR_DATA_REQUEST_INIT;
  read.key = key;
  read.key_count = 2;
  read.tags = tags;
  read.tag_count = 1;
  isr_data *data = NULL;
  OK(isr_load_data(job, &read, load_inner, &freed, count_call, &data));
  CHECK(same_bytes(isr_data_value(data), "inner") && isr_data_cache(data) == ISR_CACHE_WORD_MISS);
  isr_data *again = isr_data_ref(data);
  OK(isr_data_unref(data));
  OK(isr_load_complete(job, isr_data_value(again).data, isr_data_value(again).len));
  OK(isr_data_unref(again));
  isr_load *late = isr_load_ref(job);
  OK(isr_load_unref(late));
}

static void render_reads(void *user_data, isr_render *job) {
  (void)user_data;
  const isr_str key = ISR_STR("outer");
  isr_data_request read = ISR_DATA_REQUEST_INIT;
  read.key = &key;
  read.key_count = 1;
  read.revalidate = 30;
  isr_data *data = NULL;
  OK(isr_render_data(job, &read, load_outer, &freed, count_call, &data));
  OK(isr_render_complete(job, isr_result_new(isr_data_value(data).data, isr_data_value(data).len)));
  OK(isr_data_unref(data));
}

static void nested(void) {
  isr_cache *cache = inner = open_cache();
  add(cache, "/itself", NULL, render_itself);
  add(cache, "/reads", NULL, render_reads);
  isr_answer *answer = NULL;
  STATUS(ISR_STATUS_RENDER, get(cache, "/itself", &answer));
  OK(get(cache, "/reads", &answer));
  const isr_page *page = isr_answer_page(answer);
  CHECK(same_bytes(isr_page_body(page), "inner"));
  CHECK(isr_page_tag_count(page) == 1 && same(isr_page_tag_at(page, 0), "inner-tag"));
  CHECK(isr_page_revalidate(page) == 30);
  OK(isr_answer_unref(answer));
  CHECK(loads == 1);
  close_cache(cache);
  CHECK(freed == 4);
}

/* --- two owners of one cache --- */

static void render_name(void *user_data, isr_render *job) {
  const char *name = user_data;
  OK(isr_render_complete(job, isr_result_new(name, strlen(name))));
}

static isr_cache *join(double max_bytes, isr_status expected) {
  isr_cache *cache = NULL;
  isr_options *options = isr_options_new();
  OK(isr_options_set_text(options, "name", ISR_STR("owners")));
  OK(isr_options_set_number(options, "max_bytes", max_bytes));
  STATUS(expected, isr_cache_open(ISR_ABI_VERSION, options, &cache));
  isr_options_free(options);
  return cache;
}

static void expect_body(isr_cache *cache, const char *path, isr_cache_word word, const char *body) {
  isr_answer *answer = NULL;
  OK(get(cache, path, &answer));
  CHECK(isr_answer_cache(answer) == word && same_bytes(isr_page_body(isr_answer_page(answer)), body));
  OK(isr_answer_unref(answer));
}

static void owners(void) {
  char one[] = "one", two[] = "two";
  isr_cache *first = join(1e6, ISR_STATUS_OK), *second = join(1e6, ISR_STATUS_OK);
  join(2e6, ISR_STATUS_CONFLICT);
  SAYS("max_bytes must be the same");
  OK(isr_cache_add_route(first, ISR_STR("/[id]"), NULL, render_name, one, NULL));
  OK(isr_cache_add_route(second, ISR_STR("/[id]"), NULL, render_name, two, NULL));
  freed = 0;
  add(first, "/of/[first]", NULL, render_itself);
  expect_body(first, "/1", ISR_CACHE_WORD_MISS, "one");
  expect_body(second, "/1", ISR_CACHE_WORD_HIT, "one");
  OK(isr_cache_close(first, 5, NULL));
  isr_cache_free(first);
  CHECK(calls(&freed) == 1); /* with its owner */
  isr_answer *answer = NULL;
  STATUS(ISR_STATUS_NO_ROUTE, get(second, "/of/1", &answer));
  expect_body(second, "/1", ISR_CACHE_WORD_HIT, "one");
  expect_body(second, "/2", ISR_CACHE_WORD_MISS, "two");
  isr_cache_free(second);
}

int main(void) {
  second_completion();
  failures();
  late_completion();
  nested();
  owners();
  a_success_leaves_the_last_error();
  puts("life: ok");
  return 0;
}
