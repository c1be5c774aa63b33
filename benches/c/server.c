/* A page of 10 KB for every path, by libmicrohttpd: what a server costs without a cache, and with libisr.
 *
 *     server limit|libisr
 *
 * Prints its port. "limit" sends one static buffer, the least that libmicrohttpd can do.
 */
#include <arpa/inet.h>
#include <isr.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BODY = 10000 };

static char body[BODY];
static isr_cache *cache;
static struct MHD_Response *constant;

static void render(void *user_data, isr_render *job) {
  (void)user_data;
  isr_result *result = isr_result_new(body, BODY);
  isr_result_add_header(result, ISR_STR("content-type"), ISR_STR("text/html; charset=utf-8"));
  isr_render_complete(job, result);
}

static void free_head(void *head) { isr_head_free(head); }

/* From a NUL-terminated header, or none. */
static isr_str asked(struct MHD_Connection *connection, const char *name) {
  const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value ? isr_cstr(value) : (isr_str){NULL, 0};
}

static enum MHD_Result from_cache(struct MHD_Connection *connection, const char *url) {
  isr_request request = ISR_REQUEST_INIT;
  isr_conditions conditions = ISR_CONDITIONS_INIT;
  isr_answer *answer = NULL;
  isr_head *head = NULL;
  request.path = isr_cstr(url);
  if (isr_get(cache, &request, &answer) != ISR_STATUS_OK) return MHD_NO;
  conditions.if_none_match = asked(connection, "if-none-match");
  conditions.accept_encoding = asked(connection, "accept-encoding");
  const isr_status made = isr_answer_head(answer, &conditions, &head);
  isr_answer_unref(answer);
  if (made != ISR_STATUS_OK) return MHD_NO;
  const isr_bytes bytes = isr_head_body(head);
  struct MHD_Response *response =
      MHD_create_response_from_buffer_with_free_callback_cls(bytes.len, (void *)(uintptr_t)bytes.data, free_head, head);
  for (size_t i = 0; i < isr_head_header_count(head); i++) {
    const isr_field field = isr_head_header_at(head, i);
    MHD_add_response_header(response, field.name.data, field.value.data);
  }
  const enum MHD_Result queued = MHD_queue_response(connection, isr_head_status(head), response);
  MHD_destroy_response(response);
  return queued;
}

static enum MHD_Result answer(void *user_data, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **state) {
  (void)user_data, (void)method, (void)version, (void)data, (void)size;
  if (!*state) { /* the head alone has come: an answer now would close the connection */
    *state = body;
    return MHD_YES;
  }
  if (constant) return MHD_queue_response(connection, 200, constant);
  return from_cache(connection, url);
}

int main(int argc, char **argv) {
  const int limit = argc > 1 && strcmp(argv[1], "limit") == 0;
  memset(body, 'x', BODY);
  if (limit) {
    constant = MHD_create_response_from_buffer(BODY, body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(constant, "content-type", "text/html; charset=utf-8");
  } else {
    if (isr_cache_open(ISR_ABI_VERSION, NULL, &cache) != ISR_STATUS_OK) return 1;
    if (isr_cache_add_route(cache, ISR_STR("/blog/[id]"), NULL, render, NULL, NULL) != ISR_STATUS_OK) return 1;
  }
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL,
                                               MHD_OPTION_SOCK_ADDR, &local, MHD_OPTION_END);
  if (!daemon) return fprintf(stderr, "libmicrohttpd does not start\n"), 1;
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
  printf("%d\n", info->port);
  fflush(stdout);
  pause();
  return 0;
}
