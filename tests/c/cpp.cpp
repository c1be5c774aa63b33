// isr.hpp: lambdas, exceptions, deferred completion, values that own themselves.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <thread>

#include <unistd.h>

#include "isr.hpp"

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);      \
      std::exit(1);                                                                     \
    }                                                                                   \
  } while (0)

// The status of the error that the call throws; ok where it throws none.
template <class F>
isr_status thrown(F&& call) {
  try {
    call();
    return ISR_STATUS_OK;
  } catch (const isr::error& e) {
    CHECK(e.what()[0] != '\0');
    return e.status();
  }
}

static void a_page_in_a_few_lines() {
  isr::clock clock;
  isr::cache cache(isr::options().set("backoff_jitter", 0.0).set("deployment", "v1").clock(clock));
  int renders = 0;
  cache.page("/blog/[id]", isr::route().revalidate(60).tag("blog"), [&](isr::render& r) {
    CHECK(r.pattern() == "/blog/[id]" && !r.is_draft() && !r.is_cancelled());
    CHECK(r.previous().has_value() == (++renders > 1));
    return isr::result("post " + std::string(r.param("id"))).with_tag("post").with_header("x-a", "b");
  });
  cache.page("/docs/[...rest]", [](isr::render& r) {
    std::string joined;
    for (auto part : r.params("rest")) joined += std::string(part) + ",";
    return joined;
  });
  isr::answer answer = cache.get("/blog/1");
  CHECK(answer.cache() == ISR_CACHE_WORD_MISS && isr::name(answer.cache()) == "miss");
  isr::page page = answer.page();
  CHECK(page.body() == "post 1" && page.status() == 200 && page.path() == "/blog/1" && page.revalidate() == 60);
  CHECK(page.tags().size() == 2 && page.header("x-a") == "b" && page.headers().size() == 1 && !page.etag().empty());
  CHECK(cache.get("/docs/a/b").page().body() == "a,b,");

  isr::head head = answer.head();
  CHECK(head.status() == 200 && head.body() == "post 1" && head.header("x-isr-cache") == "MISS");
  isr::conditions conditions;
  conditions.if_none_match = std::string(page.etag());
  CHECK(answer.head(conditions).status() == 304 && answer.head(conditions).body().empty());
  conditions = {};
  conditions.is_head = true;
  CHECK(answer.head(conditions).body().empty() && answer.head(conditions).content_length() == 6);

  CHECK(!cache.try_get("/blog/2").has_value());
  CHECK(cache.peek("/blog/1").state == ISR_STATE_FRESH && cache.peek("/blog/9").state == ISR_STATE_MISSING);
  clock.advance(61);
  CHECK(cache.peek("/blog/1").state == ISR_STATE_STALE && cache.peek("/blog/1").age == 61);
  CHECK(cache.regenerate("/blog/1")->cache() == ISR_CACHE_WORD_REVALIDATED);
  CHECK(!cache.regenerate("/blog/9", true).has_value());
  CHECK(cache.revalidate_path("/blog/1") && !cache.revalidate_path("/no"));
  CHECK(cache.peek("/blog/1").state == ISR_STATE_EXPIRED);
  CHECK(cache.get("/blog/1").cache() == ISR_CACHE_WORD_REVALIDATED);
  cache.revalidate_tag_soft({"post"});
  CHECK(cache.peek("/blog/1").state == ISR_STATE_STALE);
  cache.revalidate_tag("post");
  cache.remove({"/blog/1"});
  CHECK(cache.peek("/blog/1").state == ISR_STATE_MISSING);
  CHECK(cache.stat("renders") == 4);
  const auto started = cache.started();
  CHECK(cache.put("/blog/7", isr::result("by hand"), started));
  CHECK(cache.get("/blog/7").page().body() == "by hand");
  CHECK(cache.verify_draft(cache.draft_token(60)) && !cache.verify_draft("forged"));
  // A page outlives everything.
  CHECK(cache.close());
  CHECK(thrown([&] { cache.get("/blog/1"); }) == ISR_STATUS_CLOSED);
  CHECK(page.body() == "post 1");
}

static void exceptions_stay_inside() {
  isr::cache cache;
  cache.page("/throws", [](isr::render&) -> isr::result { throw std::runtime_error("boom"); });
  cache.page("/throws-int", [](isr::render&) -> isr::result { throw 7; });
  cache.page("/bad-status", [](isr::render&) {
    isr::result r("x");
    r.status = 7;
    return r;
  });
  cache.page("/invalid", [](isr::render&) { return isr::result("x").with_header("a b", "c"); });
  cache.page("/load-throws", [](isr::render& r) {
    try {
      r.data({"k"}, {}, [](isr::load&) -> std::string { throw std::runtime_error("no database"); });
    } catch (const isr::error& e) {
      return "handled: " + std::string(e.what());
    }
    return std::string("not reached");
  });
  const auto message = [&](const char* path) -> std::string {
    try {
      cache.get(path);
    } catch (const isr::error& e) {
      CHECK(e.status() == ISR_STATUS_RENDER && e.name() == "render" && e.http_status() == 500);
      return e.what();
    }
    return "nothing was thrown";
  };
  CHECK(message("/throws").find("boom") != std::string::npos);
  CHECK(message("/throws-int").find("no std::exception") != std::string::npos);
  CHECK(message("/bad-status").find("7") != std::string::npos);
  CHECK(message("/invalid").find("a b") != std::string::npos);
  CHECK(cache.get("/load-throws").page().body().find("no database") != std::string_view::npos);
  CHECK(thrown([&] { cache.get("no slash"); }) == ISR_STATUS_INVALID_PATH);
  CHECK(thrown([&] { cache.page("/throws", [](isr::render&) { return "x"; }); }) == ISR_STATUS_CONFLICT);
  CHECK(thrown([] { isr::options().set("no_such_option", 1.0); }) == ISR_STATUS_INVALID_ARGUMENT);
  CHECK(thrown([] { isr::route().revalidate(-1); }) == ISR_STATUS_INVALID_ARGUMENT);
  isr::cache moved = std::move(cache);
  CHECK(thrown([&] { cache.get("/throws"); }) == ISR_STATUS_INVALID_ARGUMENT);
  // An exception from a completion callback stops at the edge.
  moved.get_async("/load-throws", [](isr::outcome<isr::answer>) { throw std::runtime_error("dropped"); });
}

static void deferred_and_async() {
  isr::cache cache;
  std::promise<isr::render> handed;
  auto taken = handed.get_future();
  cache.page("/later", [&](isr::render& r) { handed.set_value(r); });
  cache.page("/never", [](isr::render&) {});
  std::promise<std::string> told;
  cache.get_async("/later", [&](isr::outcome<isr::answer> outcome) {
    told.set_value(outcome ? std::string(outcome.value().page().body()) : outcome.failure().what());
  });
  std::thread([&] {
    isr::render job = taken.get();
    CHECK(job.reason() == ISR_REASON_MISS);
    const auto data = job.data({"a", "b"}, {{"tag"}, 5}, [](isr::load& load) {
      CHECK(load.key().size() == 2 && load.key()[1] == "b");
      return std::string(load.data({"inner"}, {}, [](isr::load& inner) { inner.complete("nested"); }).value());
    });
    CHECK(data.cache() == ISR_CACHE_WORD_MISS);
    job.complete(std::string(data.value()).c_str());
    CHECK(thrown([&] { job.complete("again"); }) == ISR_STATUS_FINISHED);
    CHECK(thrown([&] { job.fail("again"); }) == ISR_STATUS_FINISHED);
  }).join();
  CHECK(told.get_future().get() == "nested");
  CHECK(cache.get("/later").page().tags() == std::vector<std::string_view>{"tag"});
  CHECK(thrown([&] { cache.get("/never"); }) == ISR_STATUS_RENDER);
  CHECK(cache.data({"k"}, {}, [](isr::load&) { return "text"; }).value() == "text");
  std::promise<bool> failed;
  cache.get_async("/nowhere", [&](isr::outcome<isr::answer> outcome) {
    failed.set_value(!outcome && outcome.failure().status() == ISR_STATUS_NO_ROUTE &&
                     thrown([&] { outcome.value(); }) == ISR_STATUS_NO_ROUTE);
  });
  CHECK(failed.get_future().get());
}

static void prerender() {
  isr::cache cache;
  cache.page("/p/[id]",
             isr::route()
                 .static_params(isr::params().set("id", "1"))
                 .static_params(isr::params().set("id", "2"))
                 .dynamic_params(false)
                 .vary("lang", "accept-language")
                 .query("page"),
             [](isr::render& r) { return isr::result(std::string(r.variant("lang"))); });
  std::size_t last = 0;
  const isr::report report = cache.prerender([&](const isr::progress& p) {
    CHECK(p.total == 2 && !p.path.empty());
    last = p.done;
  });
  CHECK(report.rendered == 2 && report.skipped == 0 && report.failed.empty() && last == 2);
  CHECK(cache.prerender().skipped == 2);
  const auto answer = cache.get(isr::request("/p/1").variant("lang", "en").variant("lang", "de").prefetch());
  CHECK(answer.page().body() == "de" && answer.head().header("vary").find("accept-language") != std::string_view::npos);
  CHECK(answer.head().header("content-type").empty());
  CHECK(cache.get("/p/3").page().status() == 404 && cache.get("/p/3").body().empty());
  CHECK(cache.activity().queued == 0 && cache.activity().version > 0);
}

static void results() {
  isr::cache cache;
  cache.page("/gone", [](isr::render&) { return isr::result::not_found("nothing here"); });
  cache.page("/moved", [](isr::render&) { return isr::result::redirect("/gone", 308); });
  cache.page("/live", [](isr::render&) {
    isr::result r("live");
    r.no_store = true;
    return r;
  });
  cache.page("/draft", [](isr::render& r) { return isr::result(r.is_draft() ? "draft" : "public"); });
  CHECK(cache.get(isr::request("/draft").draft()).page().body() == "draft");
  CHECK(cache.get(isr::request("/draft").draft()).cache() == ISR_CACHE_WORD_BYPASS);
  CHECK(cache.get("/draft").page().body() == "public");
  CHECK(cache.get("/gone").page().status() == 404);
  CHECK(cache.get("/moved").head().header("location") == "/gone");
  CHECK(cache.get("/live").cache() == ISR_CACHE_WORD_BYPASS);
}

static void lists_and_single_names() {
  isr::cache cache(isr::options().set("precompress", {"br", "gzip"}).set("storable_statuses", {"200"}));
  cache.page("/[id]", isr::route().static_params(isr::params().set("id", "s")), [](isr::render& r) {
    return isr::result("x").with_tag(r.param("id")).with_header("x-id", r.param("id"));
  });
  cache.page("/docs/[...rest]", isr::route().static_params(isr::params().set("rest", {"a", "b"})),
             [](isr::render& r) { return r.path(); });
  CHECK(cache.prerender().rendered == 2 && cache.peek("/docs/a/b").page->body() == "/docs/a/b");
  const auto state = [&](const char* path) { return cache.peek(path).state; };
  const auto render = [&] {
    for (const char* path : {"/a", "/b"}) CHECK(cache.get(path).page().header("x-id") == path + 1);
  };
  const std::string tag = "a";
  const std::vector<std::string> both{"a", "b"};
  const auto expired = [&](bool a, bool b) {
    CHECK(state("/a") == (a ? ISR_STATE_EXPIRED : ISR_STATE_FRESH) && state("/b") == (b ? ISR_STATE_EXPIRED : ISR_STATE_FRESH));
    render();
  };
  render();
  cache.revalidate_tag("a");
  expired(true, false);
  cache.revalidate_tag(tag);
  expired(true, false);
  cache.revalidate_tag({"b"});
  expired(false, true);
  cache.revalidate_tag({"a", "b"});
  expired(true, true);
  cache.revalidate_tag({tag, "b"});
  expired(true, true);
  cache.revalidate_tag(both);
  expired(true, true);
  CHECK(cache.revalidate_path("/a"));
  expired(true, false);
  CHECK(cache.revalidate_path({"/a", "/b"}));
  expired(true, true);
  CHECK(cache.revalidate_path({"/b"}, ISR_PATH_TYPE_PAGE));
  expired(false, true);
  CHECK(cache.revalidate_path(std::vector<std::string>{"/a"}));
  expired(true, false);
  cache.revalidate_tag_soft("a");
  cache.revalidate_tag_soft({"b"});
  CHECK(state("/a") == ISR_STATE_STALE && state("/b") == ISR_STATE_STALE);
  cache.remove("/a");
  CHECK(state("/a") == ISR_STATE_MISSING && state("/b") != ISR_STATE_MISSING);
  render();
  cache.remove({"/a", "/b"});
  CHECK(state("/a") == ISR_STATE_MISSING && state("/b") == ISR_STATE_MISSING);
}

static void builders_by_name() {
  isr::options options;
  options.set("threads", 2).set("deployment", "v1");
  options.set("precompress", {"gzip"}).set("precompress", std::vector<std::string>{"br"});
  isr::clock clock;
  options.clock(clock);
  isr::params params;
  params.set("id", "1").set("id", "2");
  isr::route route;
  route.revalidate(7).expire(70).timeout(5).dynamic_params(true).tag("t").query("q").vary("lang", "accept-language");
  route.static_params(params);
  isr::cache cache(options);
  cache.page("/[id]", route, [](isr::render& r) {
    isr::result result(r.variant("lang"));
    result.with_tag("own").with_header("x-a", "b");
    return result;
  });
  isr::request request("/2");
  request.variant("lang", "de").draft(false).prefetch(false);
  const isr::page page = cache.get(request).page();
  CHECK(page.body() == "de" && page.revalidate() == 7 && page.expire() == 70 && page.tags().size() == 2);

  // Moved from: an error, and not the defaults.
  isr::options gone = std::move(options);
  isr::route gone_too = std::move(route);
  CHECK(thrown([&] { isr::cache with(options); }) == ISR_STATUS_INVALID_ARGUMENT);
  CHECK(thrown([&] { options.set("threads", 2); }) == ISR_STATUS_INVALID_ARGUMENT);
  CHECK(thrown([&] { cache.page("/x/y", route, [](isr::render&) { return "x"; }); }) == ISR_STATUS_INVALID_ARGUMENT);
  CHECK(thrown([&] { route.revalidate(1); }) == ISR_STATUS_INVALID_ARGUMENT);
  isr::clock gone_clock = std::move(clock);
  CHECK(thrown([&] { gone.clock(clock); }) == ISR_STATUS_INVALID_ARGUMENT);
}

static void trouble_with_a_directory() {
  namespace fs = std::filesystem;
  auto told = std::make_shared<std::atomic<int>>(0);
  // Others may write to what is in it: it is refused.
  const fs::path directory = fs::temp_directory_path() / ("isr-cpp-" + std::to_string(getpid()));
  fs::create_directories(directory / "v1");
  fs::permissions(directory / "v1", fs::perms::all);
  {
    isr::options options;
    options.set("durable", true).on_trouble([](const isr::error&) {}).set("directory", directory.string());
    options.on_trouble([told](const isr::error& e) {
      CHECK(e.status() == ISR_STATUS_STORE && e.name() == "store" && e.what()[0] != '\0');
      ++*told;
      throw std::runtime_error("dropped");
    });
    const isr::options moved = std::move(options);
    isr::cache cache(moved);
    cache.page("/p", [](isr::render&) { return "memory goes on"; });
    CHECK(cache.get("/p").body() == "memory goes on" && cache.get("/p").cache() == ISR_CACHE_WORD_HIT);
    CHECK(*told == 1 && cache.stat("disk_errors") > 0);
    CHECK(thrown([&] { options.on_trouble([](const isr::error&) {}); }) == ISR_STATUS_INVALID_ARGUMENT);
  }
  CHECK(told.use_count() == 1);
  fs::remove_all(directory);
}

static void outcomes() {
  const isr::outcome<int> good(7), bad(isr::error(ISR_STATUS_BUSY, "busy"));
  CHECK(good && good.value() == 7 && !bad && bad.failure().status() == ISR_STATUS_BUSY);
  CHECK(thrown([&] { bad.value(); }) == ISR_STATUS_BUSY);
  CHECK(isr::outcome<std::string>("text").value() == "text");
  try {
    good.failure();
    CHECK(!"a success has no failure");
  } catch (const std::logic_error& e) {
    CHECK(e.what()[0] != '\0');
  }
}

static void texts_as_views() {
  isr::cache cache;
  static const std::string text = "a text, and more";
  cache.page("/view", [](isr::render&) { return std::string_view(text).substr(0, 6); });
  cache.page("/none", [](isr::render&) { return isr::result::not_found(std::string_view("none")); });
  cache.page("/to", [](isr::render&) { return isr::result::redirect(std::string_view("/view")); });
  CHECK(cache.get("/view").body() == "a text");
  CHECK(cache.get("/none").status() == 404 && cache.get("/none").body() == "none");
  CHECK(cache.get("/to").head().header("location") == "/view");
  CHECK(cache.data({"k"}, {}, [](isr::load&) { return std::string_view(text); }).value() == text);
}

int main() {
  a_page_in_a_few_lines();
  exceptions_stay_inside();
  deferred_and_async();
  prerender();
  results();
  lists_and_single_names();
  builders_by_name();
  trouble_with_a_directory();
  outcomes();
  texts_as_views();
  std::puts("cpp: ok");
}
