// The site that a scenario describes: its renders and loads, counted and held.
#pragma once

#include <memory>

#include "frames.hpp"

namespace runner {

// The failure of a callback, with its message.
struct Failure {
  std::string message;
  // The kind goes into the text: whatever fails inside a callback makes the callback fail.
  static Failure of(isr_status status) { return {std::string(isr_status_name(status)) + ": " + isr_last_error()}; }
};

// What stands for a panic in this language: an exception, which must not leave the callback.
struct Panic {};

// Shared by all callbacks of one scenario; outlives a `reopen`.
class Site : public std::enable_shared_from_this<Site> {
 public:
  explicit Site(const Scenario& scenario) : renders_(scenario.renders), data_(scenario.data) {}

  Frames frames;

  std::uint64_t count(Gate gate, const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = begun_.find({gate, key});
    return found == begun_.end() ? 0 : found->second;
  }

  // `user_data` of the callbacks.
  struct Loading {
    std::shared_ptr<Site> site;
    std::vector<Read> reads;
    std::function<void()> begun;
  };

  static void on_render(void* user_data, isr_render* job) {
    auto& site = **static_cast<std::shared_ptr<Site>*>(user_data);
    try {
      site.render(job);
    } catch (const Panic&) {
      // The worst that a C callback can do and be caught: it leaves by an exception, which stops here, at the edge, and the job
      // is never finished. The library must take that as a failure.
    }
  }
  static void on_load(void* user_data, isr_load* job) {
    auto& loading = *static_cast<Loading*>(user_data);
    if (loading.begun) loading.begun();
    loading.site->load(loading.reads, job);
  }
  static void free_site(void* user_data) { delete static_cast<std::shared_ptr<Site>*>(user_data); }
  static void free_loading(void* user_data) { delete static_cast<Loading*>(user_data); }

  // The page of a `put`.
  static isr_result* plain_page(const Element& e) try {
    return page(e, e.body.value_or(""));
  } catch (const Failure& failure) {
    throw Fault(failure.message);
  }

 private:
  using Values = std::map<std::string, std::string>;

  // The number of this one among those of its key, from 0.
  std::size_t begin(Gate gate, const std::string& key) {
    const std::lock_guard lock(mutex_);
    return begun_[{gate, key}]++;
  }

  void render(isr_render* job) {
    const std::string key = render_key(job);
    Frames::Frame frame(frames, Gate::Render, key, [job] { return isr_render_is_cancelled(job); });
    const std::size_t n = begin(Gate::Render, key);
    Element element;
    const auto listed = renders_.find(key);
    if (listed != renders_.end())
      element = nth(listed->second, n);
    else
      element.body = text(isr_render_path(job));

    isr_result* result = nullptr;
    std::string failure;
    bool panics = false;
    try {
      const Values values = read_all(element.reads, [&](const isr_data_request* request, Loading* loading, isr_data** out) {
        return frame.asking([&] { return isr_render_data(job, request, on_load, loading, free_loading, out); });
      });
      if (element.error) {
        panics = element.panic;
        throw Failure{*element.error};
      }
      result = page(element, values, job);
    } catch (const Failure& f) {
      failure = f.message;
    }
    frame.hold();
    // A render that has timed out is told so (ISR_STATUS_FINISHED); it has nobody left to tell.
    if (result)
      isr_render_complete(job, result);
    else if (panics)
      throw Panic{};
    else
      isr_render_fail(job, str(failure));
  }

  void load(const std::vector<Read>& reads, isr_load* job) {
    DataKey parts;
    for (std::size_t i = 0, n = isr_load_key_count(job); i < n; ++i) parts.push_back(text(isr_load_key_at(job, i)));
    const std::string key = data_key_text(parts);
    Frames::Frame frame(frames, Gate::Load, key, [job] { return isr_load_is_cancelled(job); });
    const std::size_t n = begin(Gate::Load, key);
    const auto listed = data_.find(key);
    LoadElement element{key, std::nullopt};
    if (listed != data_.end()) element = nth(listed->second, n);

    std::optional<std::string> failure = element.error;
    try {
      read_all(reads, [&](const isr_data_request* request, Loading* loading, isr_data** out) {
        return frame.asking([&] { return isr_load_data(job, request, on_load, loading, free_loading, out); });
      });
    } catch (const Failure& f) {
      failure = f.message;
    }
    frame.hold();
    // As for a render.
    if (failure)
      isr_load_fail(job, str(*failure));
    else
      isr_load_complete(job, element.value->data(), element.value->size());
  }

  // The values read, by key, in order; the first failure that is not handled ends it.
  template <class Ask>
  Values read_all(const std::vector<Read>& reads, Ask&& ask) {
    Values values;
    for (const auto& read : reads) {
      const auto key = strs(read.key), tags = strs(read.tags);
      isr_data_request request = ISR_DATA_REQUEST_INIT;
      request.key = key.data();
      request.key_count = key.size();
      request.tags = tags.data();
      request.tag_count = tags.size();
      if (read.revalidate) request.revalidate = seconds(*read.revalidate);
      isr_data* data = nullptr;
      const isr_status status = ask(&request, new Loading{shared_from_this(), read.reads, {}}, &data);
      if (status != ISR_STATUS_OK && !read.otherwise) throw Failure::of(status);
      values[data_key_text(read.key)] = status == ISR_STATUS_OK ? text(isr_data_value(data)) : *read.otherwise;
      isr_data_unref(data);
    }
    return values;
  }

  template <class T>
  static const T& nth(const std::vector<T>& list, std::size_t n) {
    return list[std::min(n, list.size() - 1)];
  }

  static isr_result* page(const Element& e, const Values& values, const isr_render* job) {
    return page(e, e.body ? fill(*e.body, values, job) : std::string());
  }

  static isr_result* page(const Element& e, std::string body) {
    if (e.body_base64) try {
        body = from_base64(*e.body_base64);
      } catch (const std::exception& wrong) {
        throw Failure{wrong.what()};
      }
    isr_result* result = nullptr;
    if (e.redirect_to) {
      result = isr_result_redirect(str(*e.redirect_to), e.redirect_status);
      isr_result_append(result, body.data(), body.size());
    } else {
      result = e.not_found ? isr_result_not_found(body.data(), body.size()) : isr_result_new(body.data(), body.size());
    }
    const auto done = [&](isr_status status) {
      if (status == ISR_STATUS_OK) return;
      const Failure failure = Failure::of(status);
      isr_result_free(result);
      throw failure;
    };
    if (e.status) done(isr_result_set_status(result, *e.status));
    for (const auto& [name, value] : e.headers) done(isr_result_add_header(result, str(name), str(value)));
    for (const auto& tag : e.tags) done(isr_result_add_tag(result, str(tag)));
    if (e.revalidate) done(isr_result_set_revalidate(result, seconds(*e.revalidate)));
    if (e.expire) done(isr_result_set_expire(result, seconds(*e.expire)));
    done(isr_result_set_no_store(result, e.no_store));
    done(isr_result_set_remove(result, e.remove));
    return result;
  }

  // Replaces `{data:KEY}` and `{param:NAME}` in one pass; what is not known stays.
  static std::string fill(const std::string& from, const Values& values, const isr_render* job) {
    Values known;
    for (const auto& [key, value] : values) known["{data:" + key + "}"] = value;
    for (std::size_t i = 0, n = isr_render_param_count(job); i < n; ++i) {
      const std::string name = text(isr_render_param_name(job, i));
      std::size_t count = 0;
      const isr_str* parts = isr_render_param_values(job, name.c_str(), &count, nullptr);
      std::string joined;
      for (std::size_t k = 0; k < count; ++k) joined += (k ? "," : "") + text(parts[k]);
      known["{param:" + name + "}"] = joined;
    }
    std::string out;
    for (std::size_t i = 0; i < from.size();) {
      const auto found = std::find_if(known.begin(), known.end(), [&](const auto& k) { return starts_with(from, i, k.first); });
      if (from[i] == '{' && found != known.end()) {
        out += found->second;
        i += found->first.size();
      } else {
        out += from[i++];
      }
    }
    return out;
  }

  const std::map<std::string, std::vector<Element>> renders_;
  const std::map<std::string, std::vector<LoadElement>> data_;
  std::mutex mutex_;
  std::map<std::pair<Gate, std::string>, std::uint64_t> begun_;
};

}  // namespace runner
