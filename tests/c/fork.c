/* A cache that was opened before fork: in the child, what is stored is still there, and a render is refused, not waited for. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void render(void *user_data, isr_render *job) {
  (void)user_data;
  isr_render_complete(job, isr_result_new("x", 1));
}

int main(void) {
  isr_cache *cache = NULL;
  isr_answer *answer = NULL;
  isr_request stored = request_of("/stored"), missing = request_of("/missing");
  OK(isr_cache_open(ISR_ABI_VERSION, NULL, &cache));
  OK(isr_cache_add_route(cache, ISR_STR("/[id]"), NULL, render, NULL, NULL));
  OK(isr_get(cache, &stored, &answer));
  OK(isr_answer_unref(answer));
  int told[2];
  CHECK(pipe(told) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    bool right = isr_get(cache, &stored, &answer) == ISR_STATUS_OK && isr_get(cache, &missing, &answer) == ISR_STATUS_CLOSED;
    char result = right ? 'y' : 'n';
    if (write(told[1], &result, 1) != 1) abort();
    /* Not by exit: what belongs to the parent's threads would count as leaked here. */
    kill(getpid(), SIGKILL);
  }
  char result = 0;
  close(told[1]);
  CHECK(read(told[0], &result, 1) == 1 && result == 'y');
  CHECK(waitpid(child, NULL, 0) == child);
  close(told[0]);
  OK(isr_get(cache, &missing, &answer));
  OK(isr_answer_unref(answer));
  isr_cache_free(cache);
  return 0;
}
