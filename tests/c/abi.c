/* Wrong arguments to every function: each is refused with a status and a text, nothing crashes, leaks or is half done.
 * tests/symbols.rs sees to it that no function is left out. */
#include "check.h"

static const char BAD_BYTES[] = {'/', (char)0xff, 'x', 0};

/* "NULL, but long", "longer than anything", "not UTF-8". */
static const isr_str NULL_BUT_LONG = {NULL, 5};
static const isr_str TOO_LONG = {"x", (size_t)-1};
static const isr_str NOT_UTF8 = {BAD_BYTES, 3};

/* A static initialiser, which a compound literal is not in C99. */
static const isr_str STATIC_TEXT = ISR_STR_INIT("abc");

static isr_cache *cache;

static void render(void *user_data, isr_render *job) {
  (void)user_data;
  isr_render_complete(job, isr_result_new("page", 4));
}

static void load(void *user_data, isr_load *job) {
  (void)user_data;
  isr_load_complete(job, "value", 5);
}

static void answered(void *user_data, isr_status status, isr_answer *answer) {
  (void)user_data, (void)status, (void)answer;
  CHECK(!"a completion callback is never called where the call was refused");
}

static void read_done(void *user_data, isr_status status, isr_data *data) {
  (void)user_data, (void)status, (void)data;
  CHECK(!"a completion callback is never called where the call was refused");
}

static void reported(void *user_data, isr_status status, isr_report *report) {
  (void)user_data, (void)status, (void)report;
  CHECK(!"a completion callback is never called where the call was refused");
}

static void versions_and_names(void) {
  CHECK(isr_version() == ISR_VERSION_NUMBER);
  CHECK(strcmp(isr_version_string(), ISR_VERSION_STRING) == 0);
  CHECK(isr_abi_version() == ISR_ABI_VERSION);
  CHECK(strcmp(isr_status_name(ISR_STATUS_INVALID_PATH), "invalid_path") == 0);
  CHECK(strcmp(isr_status_name(12345), "unknown") == 0);
  CHECK(isr_status_http(ISR_STATUS_NO_ROUTE) == 404);
  CHECK(isr_status_http(12345) == 500);
  CHECK(strcmp(isr_cache_word_name(ISR_CACHE_WORD_STALE_ERROR), "stale-error") == 0);
  CHECK(strcmp(isr_cache_word_name(-1), "unknown") == 0);
  CHECK(strcmp(isr_state_name(ISR_STATE_EXPIRED), "expired") == 0);
  CHECK(strcmp(isr_state_name(99), "unknown") == 0);
  CHECK(strcmp(isr_reason_name(ISR_REASON_PRERENDER), "prerender") == 0);
  CHECK(strcmp(isr_reason_name(INT32_MIN), "unknown") == 0);
  CHECK(isr_cstr(NULL).data == NULL && isr_cstr(NULL).len == 0);
  CHECK(same(isr_cstr("abc"), "abc"));
  CHECK(same(ISR_STR("abc"), "abc"));
  CHECK(same(STATIC_TEXT, "abc"));
}

static void null_is_freed_in_silence(void) {
  isr_clear_error();
  isr_clock_free(NULL);
  isr_options_free(NULL);
  isr_params_free(NULL);
  isr_route_free(NULL);
  isr_cache_free(NULL);
  isr_head_free(NULL);
  isr_result_free(NULL);
  isr_report_free(NULL);
  isr_stats_free(NULL);
  isr_string_free(NULL);
  OK(isr_page_unref(NULL));
  OK(isr_answer_unref(NULL));
  OK(isr_data_unref(NULL));
  OK(isr_render_unref(NULL));
  OK(isr_load_unref(NULL));
  CHECK(isr_last_status() == ISR_STATUS_OK);
}

static void clocks(void) {
  double now = 7;
  EMPTY(isr_clock_new(-1) == NULL);
  EMPTY(isr_clock_new(ISR_NEVER) == NULL);
  EMPTY(isr_clock_new(0.0 * ISR_NEVER) == NULL);
  isr_clock *clock = isr_clock_new(1000);
  REFUSED(isr_clock_advance(NULL, 1));
  REFUSED(isr_clock_advance(clock, -1));
  SAYS("-1");
  REFUSED(isr_clock_set(NULL, 1));
  REFUSED(isr_clock_set(clock, ISR_NEVER));
  REFUSED(isr_clock_now(clock, NULL));
  REFUSED(isr_clock_now(NULL, &now));
  CHECK(now == 7);
  OK(isr_clock_advance(clock, 0.5));
  OK(isr_clock_now(clock, &now));
  CHECK(now == 1000.5);
  OK(isr_clock_set(clock, 5));
  OK(isr_clock_now(clock, &now));
  CHECK(now == 5);
  isr_clock_free(clock);
}

static void options(void) {
  isr_options *options = isr_options_new();
  const isr_str two[] = {ISR_STR("br"), NOT_UTF8};
  REFUSED(isr_options_set_number(NULL, "threads", 1));
  REFUSED(isr_options_set_number(options, NULL, 1));
  REFUSED(isr_options_set_number(options, "no_such_option", 1));
  SAYS("no_such_option");
  REFUSED(isr_options_set_number(options, BAD_BYTES, 1));
  REFUSED(isr_options_set_number(options, "threads", 0));
  REFUSED(isr_options_set_number(options, "threads", 1.5));
  REFUSED(isr_options_set_number(options, "threads", ISR_NEVER));
  REFUSED(isr_options_set_number(options, "max_bytes", -1));
  REFUSED(isr_options_set_number(options, "max_bytes", 1e300));
  REFUSED(isr_options_set_number(options, "backoff_jitter", 0.0 * ISR_NEVER));
  REFUSED(isr_options_set_number(options, "deployment", 1));
  REFUSED(isr_options_set_number(options, "max_regenerations", 0));
  SAYS("max_regenerations");
  REFUSED(isr_options_set_number(options, "max_regenerations_per_tag", 1.5));
  REFUSED(isr_options_set_number(options, "early_refresh", 100.5));
  SAYS("0 to 100");
  REFUSED(isr_options_set_never(NULL, "default_expire"));
  REFUSED(isr_options_set_never(options, "threads"));
  REFUSED(isr_options_set_text(NULL, "deployment", ISR_STR("a")));
  REFUSED(isr_options_set_text(options, "deployment", NULL_BUT_LONG));
  REFUSED(isr_options_set_text(options, "deployment", TOO_LONG));
  REFUSED(isr_options_set_text(options, "deployment", NOT_UTF8));
  REFUSED(isr_options_set_text(options, "threads", ISR_STR("many")));
  REFUSED(isr_options_set_texts(NULL, "precompress", two, 1));
  REFUSED(isr_options_set_texts(options, "precompress", NULL, 2));
  REFUSED(isr_options_set_texts(options, "precompress", two, 2));
  REFUSED(isr_options_set_texts(options, "precompress", two, (size_t)-1));
  REFUSED(isr_options_set_clock(NULL, NULL));
  REFUSED(isr_options_set_clock(options, (isr_clock *)options));
  SAYS("isr_clock");
  int freed = 0;
  REFUSED(isr_options_set_on_trouble(NULL, NULL, &freed, count_call));
  CHECK(calls(&freed) == 1);
  OK(isr_options_set_on_trouble(options, NULL, &freed, count_call));
  CHECK(calls(&freed) == 2);
  REFUSED(isr_options_set_number(options, "durable", 2));
  REFUSED(isr_options_set_number(options, "max_disk_bytes", -1));
  REFUSED(isr_options_set_text(options, "directory", NOT_UTF8));
  OK(isr_options_set_never(options, "default_expire"));
  OK(isr_options_set_number(options, "default_expire", ISR_NEVER));
  OK(isr_options_set_clock(options, NULL));

  isr_cache *opened = (isr_cache *)&opened;
  REFUSED(isr_cache_open(ISR_ABI_VERSION + 1, NULL, &opened));
  SAYS("abi_version");
  REFUSED(isr_cache_open(ISR_ABI_VERSION, NULL, NULL));
  REFUSED(isr_cache_open(ISR_ABI_VERSION, (isr_options *)cache, &opened));
  CHECK(opened == (isr_cache *)&opened);
  OK(isr_options_set_text(options, "directory", ISR_STR("")));
  REFUSED(isr_cache_open(ISR_ABI_VERSION, options, &opened));
  SAYS("directory");
  OK(isr_options_set_text(options, "directory", ISR_STR("/nowhere/at/all")));
  OK(isr_options_set_text(options, "draft_secret", ISR_STR("short")));
  REFUSED(isr_cache_open(ISR_ABI_VERSION, options, &opened));
  SAYS("16");
  isr_options_free(options);
  REFUSED(isr_options_set_never(options, "default_expire"));
  SAYS("freed");
}

static void routes(void) {
  int freed = 0;
  isr_route *route = isr_route_new();
  isr_params *params = isr_params_new();
  const isr_str texts[] = {ISR_STR("a"), TOO_LONG};
  REFUSED(isr_params_set(NULL, "id", ISR_STR("1")));
  REFUSED(isr_params_set(params, NULL, ISR_STR("1")));
  REFUSED(isr_params_set(params, "id", NOT_UTF8));
  REFUSED(isr_params_set_list(NULL, "id", texts, 1));
  REFUSED(isr_params_set_list(params, "id", texts, 2));
  REFUSED(isr_params_set_list(params, "id", NULL, 1));
  REFUSED(isr_route_set_revalidate(NULL, 1));
  REFUSED(isr_route_set_revalidate(route, -60));
  SAYS("-60");
  REFUSED(isr_route_set_expire(NULL, 1));
  REFUSED(isr_route_set_expire(route, 0.0 * ISR_NEVER));
  REFUSED(isr_route_set_timeout(NULL, 1));
  REFUSED(isr_route_set_timeout(route, -0.5));
  REFUSED(isr_route_set_number(NULL, "max_concurrent", 1));
  REFUSED(isr_route_set_number(route, NULL, 1));
  REFUSED(isr_route_set_number(route, "tags", 1));
  SAYS("unknown route option \"tags\"");
  REFUSED(isr_route_set_number(route, "max_concurrent", 0));
  SAYS("max_concurrent must be a whole number from 1");
  REFUSED(isr_route_set_number(route, "early_refresh", -1));
  REFUSED(isr_route_set_number(route, "early_refresh", ISR_NEVER));
  SAYS("a number from 0 to 100; got never");
  OK(isr_route_set_number(route, "max_concurrent", ISR_NEVER));
  REFUSED(isr_route_set_dynamic_params(NULL, true));
  REFUSED(isr_route_add_static_params(NULL, params));
  REFUSED(isr_route_add_static_params(route, NULL));
  REFUSED(isr_route_add_tag(NULL, ISR_STR("t")));
  STATUS(ISR_STATUS_INVALID_TAG, isr_route_add_tag(route, NOT_UTF8));
  REFUSED(isr_route_add_query(NULL, "q"));
  REFUSED(isr_route_add_query(route, NULL));
  REFUSED(isr_route_add_vary(NULL, "lang", "accept-language"));
  REFUSED(isr_route_add_vary(route, "lang", NULL));
  REFUSED(isr_route_add_vary(route, NULL, "accept-language"));

  REFUSED(isr_cache_add_route(NULL, ISR_STR("/a"), NULL, render, &freed, count_call));
  CHECK(freed == 1);
  REFUSED(isr_cache_add_route(cache, ISR_STR("/a"), NULL, NULL, &freed, count_call));
  CHECK(freed == 2);
  REFUSED(isr_cache_add_route(cache, NULL_BUT_LONG, NULL, render, &freed, count_call));
  CHECK(freed == 3);
  REFUSED(isr_cache_add_route(cache, ISR_STR("/[...a]/b"), NULL, render, &freed, count_call));
  CHECK(freed == 4);
  STATUS(ISR_STATUS_CONFLICT, isr_cache_add_route(cache, ISR_STR("/page/[x]"), NULL, render, &freed, count_call));
  SAYS("/page/[id]");
  CHECK(freed == 5);
  REFUSED(isr_cache_add_route(cache, ISR_STR("/a"), (isr_route *)params, render, NULL, NULL));
  OK(isr_params_set(params, "nope", ISR_STR("1")));
  OK(isr_route_add_static_params(route, params));
  REFUSED(isr_cache_add_route(cache, ISR_STR("/a/[id]"), route, render, &freed, count_call));
  CHECK(freed == 6);
  isr_params_free(params);
  isr_route_free(route);
}

static void requests(void) {
  int freed = 0;
  isr_answer *answer = NULL;
  isr_state state = ISR_STATE_EXPIRED;
  isr_page *page = NULL;
  uint64_t age = 7;
  isr_request good = request_of("/page/1"), bad = good;

  REFUSED(isr_get(NULL, &good, &answer));
  REFUSED(isr_get(cache, NULL, &answer));
  SAYS("isr_request is NULL");
  REFUSED(isr_get(cache, &good, NULL));
  SAYS("out is NULL");
  REFUSED(isr_get((isr_cache *)&bad, &good, &answer));
  REFUSED(isr_get((isr_cache *)((char *)&bad + 1), &good, &answer));
  bad.struct_size = 3;
  REFUSED(isr_get(cache, &bad, &answer));
  SAYS("struct_size");
  bad.struct_size = (size_t)-1;
  REFUSED(isr_get(cache, &bad, &answer));
  bad = good;
  bad.path = isr_cstr(NULL);
  STATUS(ISR_STATUS_INVALID_PATH, isr_get(cache, &bad, &answer));
  bad.path = NOT_UTF8;
  STATUS(ISR_STATUS_INVALID_PATH, isr_get(cache, &bad, &answer));
  bad.path = TOO_LONG;
  STATUS(ISR_STATUS_INVALID_PATH, isr_get(cache, &bad, &answer));
  bad.path = NULL_BUT_LONG;
  REFUSED(isr_get(cache, &bad, &answer));
  bad.path = ISR_STR("/nowhere");
  STATUS(ISR_STATUS_NO_ROUTE, isr_get(cache, &bad, &answer));
  SAYS("/nowhere");
  const isr_field wrong_name = {NOT_UTF8, ISR_STR("de")}, wrong_value = {ISR_STR("lang"), NULL_BUT_LONG};
  bad = good;
  bad.variant = &wrong_name;
  bad.variant_count = 1;
  REFUSED(isr_get(cache, &bad, &answer));
  bad.variant = &wrong_value;
  REFUSED(isr_get(cache, &bad, &answer));
  bad.variant = NULL;
  REFUSED(isr_get(cache, &bad, &answer));
  bad = good;
  bad.within = (isr_context *)cache;
  REFUSED(isr_get(cache, &bad, &answer));
  SAYS("isr_context");

  REFUSED(isr_try_get(NULL, &good, &answer));
  REFUSED(isr_try_get(cache, NULL, &answer));
  REFUSED(isr_try_get(cache, &good, NULL));
  REFUSED(isr_get_async(NULL, &good, answered, &freed, count_call));
  REFUSED(isr_get_async(cache, NULL, answered, &freed, count_call));
  REFUSED(isr_get_async(cache, &good, NULL, &freed, count_call));
  REFUSED(isr_regenerate(NULL, &good, false, &answer));
  REFUSED(isr_regenerate(cache, NULL, false, &answer));
  REFUSED(isr_regenerate(cache, &good, false, NULL));
  REFUSED(isr_regenerate_async(NULL, &good, false, answered, &freed, count_call));
  REFUSED(isr_regenerate_async(cache, &good, false, NULL, &freed, count_call));
  CHECK(freed == 5);
  REFUSED(isr_peek(NULL, &good, &state, &page, &age));
  REFUSED(isr_peek(cache, NULL, &state, &page, &age));
  REFUSED(isr_peek(cache, &good, NULL, &page, &age));
  CHECK(answer == NULL && page == NULL && age == 7 && state == ISR_STATE_EXPIRED);
  OK(isr_peek(cache, &good, &state, NULL, NULL));
  CHECK(state == ISR_STATE_MISSING);

  /* A request of a newer program: longer, with members that this library does not know. */
  struct {
    isr_request known;
    void *unknown[2];
  } newer = {good, {NULL, NULL}};
  newer.known.struct_size = sizeof newer;
  OK(isr_get(cache, &newer.known, &answer));
  OK(isr_answer_unref(answer));
}

static void answers_and_pages(void) {
  isr_answer *answer = NULL;
  isr_head *head = NULL;
  isr_request good = request_of("/page/1");
  OK(isr_get(cache, &good, &answer));
  const isr_page *page = isr_answer_page(answer);

  EMPTY(isr_answer_ref(NULL) == NULL);
  EMPTY(isr_answer_page(NULL) == NULL);
  EMPTY(isr_answer_cache(NULL) == ISR_CACHE_WORD_NONE);
  EMPTY(isr_answer_age(NULL) == 0);
  EMPTY(isr_answer_cache((isr_answer *)cache) == ISR_CACHE_WORD_NONE);
  REFUSED(isr_answer_head(NULL, NULL, &head));
  REFUSED(isr_answer_head(answer, NULL, NULL));
  isr_conditions conditions = ISR_CONDITIONS_INIT;
  conditions.struct_size = 1;
  REFUSED(isr_answer_head(answer, &conditions, &head));
  conditions.struct_size = sizeof conditions;
  conditions.if_none_match = TOO_LONG;
  REFUSED(isr_answer_head(answer, &conditions, &head));
  conditions.if_none_match = isr_cstr(NULL);
  conditions.accept_encoding = NULL_BUT_LONG;
  REFUSED(isr_answer_head(answer, &conditions, &head));
  CHECK(head == NULL);
  /* A client may send any bytes: what is not UTF-8 matches nothing. */
  conditions.if_none_match = NOT_UTF8;
  conditions.accept_encoding = NOT_UTF8;
  OK(isr_answer_head(answer, &conditions, &head));
  CHECK(isr_head_status(head) == 200 && isr_head_header(head, "content-encoding").data == NULL);
  isr_head_free(head);
  OK(isr_answer_head(answer, NULL, &head));
  EMPTY(isr_head_status(NULL) == 0);
  EMPTY(isr_head_header_count(NULL) == 0);
  EMPTY(isr_head_header_at(NULL, 0).name.data == NULL);
  EMPTY(isr_head_header_at(head, 1000).name.data == NULL);
  EMPTY(isr_head_header(NULL, "etag").data == NULL);
  EMPTY(isr_head_header(head, NULL).data == NULL);
  EMPTY(isr_head_body(NULL).data == NULL);
  EMPTY(isr_head_content_length(NULL) == 0);
  CHECK(isr_head_status(head) == 200 && isr_head_content_length(head) == 4);
  CHECK(isr_head_header_count(head) > 2);
  for (size_t i = 0; i < isr_head_header_count(head); i++) {
    const isr_field field = isr_head_header_at(head, i);
    CHECK(strlen(field.name.data) == field.name.len && strlen(field.value.data) == field.value.len);
    CHECK(isr_head_header(head, field.name.data).len > 0);
  }
  isr_head_free(head);

  EMPTY(isr_page_ref(NULL) == NULL);
  EMPTY(isr_page_path(NULL).data == NULL);
  EMPTY(isr_page_status(NULL) == 0);
  EMPTY(isr_page_body(NULL).data == NULL);
  EMPTY(isr_page_etag(NULL).data == NULL);
  EMPTY(isr_page_header_count(NULL) == 0);
  EMPTY(isr_page_header_at(page, 5).name.data == NULL);
  EMPTY(isr_page_header(NULL, "x").data == NULL);
  EMPTY(isr_page_header(page, BAD_BYTES).data == NULL);
  EMPTY(isr_page_tag_count(NULL) == 0);
  EMPTY(isr_page_tag_at(page, (size_t)-1).data == NULL);
  EMPTY(isr_page_revalidate(NULL) == 0);
  EMPTY(isr_page_expire(NULL) == 0);
  EMPTY(isr_page_generated(NULL) == 0);
  EMPTY(isr_page_status((isr_page *)answer) == 0);
  OK(isr_answer_unref(answer));
  REFUSED(isr_answer_unref(answer));
  SAYS("freed");
}

static void jobs(void) {
  size_t count = 7;
  EMPTY(isr_render_ref(NULL) == NULL);
  EMPTY(isr_render_path(NULL).data == NULL);
  EMPTY(isr_render_pattern(NULL).data == NULL);
  EMPTY(isr_render_param(NULL, "id").data == NULL);
  EMPTY(isr_render_param_count(NULL) == 0);
  EMPTY(isr_render_param_name(NULL, 0).data == NULL);
  EMPTY(isr_render_param_values(NULL, "id", &count, NULL) == NULL);
  EMPTY(isr_render_param_values(NULL, "id", NULL, NULL) == NULL);
  EMPTY(isr_render_variant(NULL, "lang").data == NULL);
  EMPTY(isr_render_variant_count(NULL) == 0);
  EMPTY(isr_render_variant_name(NULL, 0).data == NULL);
  EMPTY(isr_render_variant_values(NULL, "lang", &count, NULL) == NULL);
  EMPTY(isr_render_reason(NULL) == ISR_REASON_NONE);
  EMPTY(isr_render_previous(NULL) == NULL);
  EMPTY(!isr_render_is_draft(NULL));
  EMPTY(isr_render_is_cancelled(NULL));
  EMPTY(isr_render_context(NULL) == NULL);
  EMPTY(isr_render_path((isr_render *)cache).data == NULL);
  CHECK(count == 7);
  REFUSED(isr_render_complete(NULL, NULL));
  REFUSED(isr_render_complete(NULL, isr_result_new("consumed", 8)));
  REFUSED(isr_render_fail(NULL, ISR_STR("x")));
  EMPTY(isr_load_ref(NULL) == NULL);
  EMPTY(isr_load_key_count(NULL) == 0);
  EMPTY(isr_load_key_at(NULL, 0).data == NULL);
  EMPTY(isr_load_is_cancelled(NULL));
  EMPTY(isr_load_context(NULL) == NULL);
  REFUSED(isr_load_complete(NULL, "x", 1));
  REFUSED(isr_load_fail(NULL, ISR_STR("x")));
}

static void results(void) {
  isr_result *result = isr_result_new(NULL, 0);
  EMPTY(isr_result_new(NULL, 5) == NULL);
  EMPTY(isr_result_new("x", (size_t)-1) == NULL);
  EMPTY(isr_result_new("x", (size_t)1 << 62) == NULL);
  EMPTY(isr_result_not_found(NULL, 5) == NULL);
  EMPTY(isr_result_redirect(NOT_UTF8, 308) == NULL);
  REFUSED(isr_result_append(NULL, "x", 1));
  REFUSED(isr_result_append(result, NULL, 1));
  REFUSED(isr_result_set_status(NULL, 200));
  REFUSED(isr_result_set_status(result, 99));
  REFUSED(isr_result_set_status(result, 65535));
  REFUSED(isr_result_add_header(NULL, ISR_STR("a"), ISR_STR("b")));
  REFUSED(isr_result_add_header(result, ISR_STR("x-a"), NOT_UTF8));
  SAYS("x-a");
  REFUSED(isr_result_add_header(result, TOO_LONG, ISR_STR("b")));
  REFUSED(isr_result_add_tag(NULL, ISR_STR("t")));
  STATUS(ISR_STATUS_INVALID_TAG, isr_result_add_tag(result, NOT_UTF8));
  REFUSED(isr_result_set_revalidate(NULL, 1));
  REFUSED(isr_result_set_revalidate(result, -1));
  REFUSED(isr_result_set_expire(NULL, 1));
  REFUSED(isr_result_set_expire(result, 0.0 * ISR_NEVER));
  REFUSED(isr_result_set_no_store(NULL, true));
  REFUSED(isr_result_set_remove(NULL, true));
  isr_result_free(result);
  REFUSED(isr_result_append(result, "x", 1));

  isr_put_outcome outcome = ISR_PUT_OUTCOME_STORED;
  isr_request good = request_of("/page/put"), nowhere = request_of("/nowhere");
  EMPTY(isr_started(NULL) == 0);
  REFUSED(isr_put(NULL, &good, isr_result_new("x", 1), 1, &outcome));
  REFUSED(isr_put(cache, NULL, isr_result_new("x", 1), 1, &outcome));
  REFUSED(isr_put(cache, &good, NULL, 1, &outcome));
  REFUSED(isr_put(cache, &good, (isr_result *)cache, 1, &outcome));
  STATUS(ISR_STATUS_NO_ROUTE, isr_put(cache, &nowhere, isr_result_new("x", 1), 1, &outcome));
  result = isr_result_new("x", 1);
  OK(isr_result_set_status(result, 500));
  STATUS(ISR_STATUS_RENDER, isr_put(cache, &good, result, isr_started(cache), NULL));
  OK(isr_put(cache, &good, isr_result_new("x", 1), UINT64_MAX, &outcome));
}

static void data(void) {
  int freed = 0;
  isr_data *out = NULL;
  const isr_str key[] = {ISR_STR("k"), NOT_UTF8};
  isr_data_request good = ISR_DATA_REQUEST_INIT;
  good.key = key;
  good.key_count = 1;
  isr_data_request bad = good;
  REFUSED(isr_cache_data(NULL, &good, load, &freed, count_call, &out));
  REFUSED(isr_cache_data(cache, NULL, load, &freed, count_call, &out));
  REFUSED(isr_cache_data(cache, &good, NULL, &freed, count_call, &out));
  REFUSED(isr_cache_data(cache, &good, load, &freed, count_call, NULL));
  CHECK(freed == 4);
  bad.key_count = 2;
  REFUSED(isr_cache_data(cache, &bad, load, &freed, count_call, &out));
  bad.key_count = 0;
  REFUSED(isr_cache_data(cache, &bad, load, &freed, count_call, &out));
  bad = good;
  bad.struct_size = 0;
  REFUSED(isr_cache_data(cache, &bad, load, &freed, count_call, &out));
  bad = good;
  bad.revalidate = -1;
  REFUSED(isr_cache_data(cache, &bad, load, &freed, count_call, &out));
  bad = good;
  bad.tags = key;
  bad.tag_count = 2;
  STATUS(ISR_STATUS_INVALID_TAG, isr_cache_data(cache, &bad, load, &freed, count_call, &out));
  CHECK(freed == 9 && out == NULL);
  REFUSED(isr_render_data(NULL, &good, load, &freed, count_call, &out));
  REFUSED(isr_load_data(NULL, &good, load, &freed, count_call, &out));
  REFUSED(isr_cache_data_async(NULL, &good, load, &freed, count_call, read_done, &freed, count_call));
  REFUSED(isr_cache_data_async(cache, &good, load, &freed, count_call, NULL, &freed, count_call));
  REFUSED(isr_render_data_async(NULL, &good, load, &freed, count_call, read_done, &freed, count_call));
  REFUSED(isr_load_data_async(NULL, &good, load, &freed, count_call, read_done, &freed, count_call));
  CHECK(freed == 19);
  EMPTY(isr_data_ref(NULL) == NULL);
  EMPTY(isr_data_value(NULL).data == NULL);
  EMPTY(isr_data_cache(NULL) == ISR_CACHE_WORD_NONE);
}

static void invalidations(void) {
  const isr_str paths[] = {ISR_STR("/page/1"), NOT_UTF8};
  bool matched = true;
  REFUSED(isr_revalidate_path(NULL, paths, 1, ISR_PATH_TYPE_DEFAULT, &matched));
  REFUSED(isr_revalidate_path(cache, NULL, 3, ISR_PATH_TYPE_DEFAULT, &matched));
  SAYS("path is NULL, but said to have 3 items");
  REFUSED(isr_revalidate_path(cache, paths, (size_t)-1, ISR_PATH_TYPE_DEFAULT, &matched));
  REFUSED(isr_revalidate_path(cache, paths, 1, 3, &matched));
  REFUSED(isr_revalidate_path(cache, paths, 1, -1, &matched));
  STATUS(ISR_STATUS_INVALID_PATH, isr_revalidate_path(cache, paths, 2, ISR_PATH_TYPE_DEFAULT, &matched));
  CHECK(matched);
  REFUSED(isr_revalidate_tag(NULL, paths, 1, false, ISR_NEVER));
  REFUSED(isr_revalidate_tag(cache, NULL, 1, false, ISR_NEVER));
  REFUSED(isr_revalidate_tag(cache, paths, 1, false, 10));
  SAYS("soft");
  REFUSED(isr_revalidate_tag(cache, paths, 1, true, -10));
  STATUS(ISR_STATUS_INVALID_TAG, isr_revalidate_tag(cache, paths, 2, true, ISR_NEVER));
  REFUSED(isr_remove(NULL, paths, 1));
  REFUSED(isr_remove(cache, NULL, 1));
  STATUS(ISR_STATUS_INVALID_PATH, isr_remove(cache, paths, 2));
  OK(isr_remove(cache, NULL, 0));
}

static void the_rest(void) {
  int freed = 0;
  isr_report *report = NULL;
  REFUSED(isr_prerender(NULL, NULL, &freed, count_call, &report));
  REFUSED(isr_prerender(cache, NULL, &freed, count_call, NULL));
  REFUSED(isr_prerender_async(NULL, NULL, &freed, count_call, reported, &freed, count_call));
  REFUSED(isr_prerender_async(cache, NULL, &freed, count_call, NULL, &freed, count_call));
  CHECK(freed == 6);
  EMPTY(isr_report_rendered(NULL) == 0);
  EMPTY(isr_report_skipped(NULL) == 0);
  EMPTY(isr_report_failed(NULL) == 0);
  EMPTY(isr_report_failed_path(NULL, 0).data == NULL);
  EMPTY(isr_report_failed_status(NULL, 0) == ISR_STATUS_INVALID_ARGUMENT);
  EMPTY(isr_report_failed_message(NULL, 0).data == NULL);

  char *token = NULL;
  REFUSED(isr_draft_token(NULL, 60, &token));
  REFUSED(isr_draft_token(cache, 60, NULL));
  REFUSED(isr_draft_token(cache, ISR_NEVER, &token));
  REFUSED(isr_draft_token(cache, -1, &token));
  CHECK(token == NULL);
  EMPTY(!isr_draft_verify(NULL, ISR_STR("x")));
  EMPTY(!isr_draft_verify(cache, NOT_UTF8));
  CHECK(!isr_draft_verify(cache, ISR_STR("forged")));
  OK(isr_draft_token(cache, 60, &token));
  CHECK(isr_draft_verify(cache, isr_cstr(token)));
  isr_string_free(token);

  isr_activity activity = {1, 2, 3, 4};
  REFUSED(isr_cache_activity(NULL, &activity));
  REFUSED(isr_cache_activity(cache, NULL));
  CHECK(activity.version == 4);
  isr_stats *stats = NULL;
  uint64_t value = 7;
  REFUSED(isr_cache_stats(NULL, &stats));
  REFUSED(isr_cache_stats(cache, NULL));
  OK(isr_cache_stats(cache, &stats));
  REFUSED(isr_stats_get(NULL, "hits", &value));
  REFUSED(isr_stats_get(stats, NULL, &value));
  REFUSED(isr_stats_get(stats, "hits", NULL));
  REFUSED(isr_stats_get(stats, "no_such_counter", &value));
  SAYS("no_such_counter");
  CHECK(value == 7);
  EMPTY(isr_stats_count(NULL) == 0);
  EMPTY(isr_stats_name(stats, 1000).data == NULL);
  EMPTY(isr_stats_value(stats, 1000) == 0);
  CHECK(isr_stats_count(stats) > 10 && isr_stats_name(stats, 0).len > 0);
  isr_stats_free(stats);

  bool ended = false;
  REFUSED(isr_cache_close(NULL, 1, &ended));
  REFUSED(isr_cache_close(cache, -1, &ended));
  CHECK(!ended);
  EMPTY(isr_cache_is_closed(NULL));
  CHECK(!isr_cache_is_closed(cache));
}

int main(void) {
  OK(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  OK(isr_cache_add_route(cache, ISR_STR("/page/[id]"), NULL, render, NULL, NULL));
  versions_and_names();
  null_is_freed_in_silence();
  clocks();
  options();
  routes();
  requests();
  answers_and_pages();
  jobs();
  results();
  data();
  invalidations();
  the_rest();
  OK(isr_cache_close(cache, 5, NULL));
  isr_cache_free(cache);
  EMPTY(isr_cache_is_closed(cache));
  SAYS("freed");
  puts("abi: ok");
  return 0;
}
