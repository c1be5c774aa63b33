// The routes of the example site: how libisr keeps its pages.

#ifndef EXAMPLE_SITE_HPP
#define EXAMPLE_SITE_HPP

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <isr.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "pages.hpp"

constexpr const char *HTML = "text/html; charset=utf-8";

/// Where the pages are kept, and for which build.
struct Keep {
    std::string directory; ///< shared by all who open it; empty: in the memory of this process
    std::string deployment;
    std::string render_log; ///< a file that gets a line for each render and load (path or key), or none
};

class Site {
public:
    Site(const std::string &db, const std::string &templates, const Keep &keep)
        : pages(db, templates), not_found(pages.message("Not found", "There is no page at this address.")),
          render_log(open_log(keep.render_log)), cache(options(keep)) {
        page("/", isr::route().revalidate(60), [this](isr::render &job) {
            // A data entry: counted once for all pages that show it, and gone with its tag.
            // JSON text, as Python and Node keep it: whoever loads it, all can read it.
            isr::data counts = job.data({"counts"}, {{"posts"}, 60}, [this](isr::load &) {
                count("counts");
                return nlohmann::json(pages.counts()).dump();
            });
            return pages.home(nlohmann::json::parse(counts.value()).get<std::string>());
        });
        page("/word/[lemma]", isr::route().revalidate(3600),
             [this](isr::render &job) { return pages.word(std::string(job.param("lemma"))); });
        page("/synset/[id]", isr::route().revalidate(3600),
             [this](isr::render &job) { return pages.synset(std::string(job.param("id"))); });
        page("/blog", isr::route().revalidate(60), [this](isr::render &) { return pages.blog(); });

        // The posts that are known now are rendered before anybody asks, later ones when somebody does.
        isr::route posts = isr::route().revalidate(300);
        for (const auto &id : pages.post_ids()) std::move(posts).static_params(isr::params().set("id", id));
        page("/blog/[id]", posts, [this](isr::render &job) { return pages.post(std::string(job.param("id"))); });

        // Closed: whatever is not listed is answered with 404, and never rendered.
        isr::route abouts = isr::route().dynamic_params(false);
        for (const auto &name : pages.about_pages()) std::move(abouts).static_params(isr::params().set("page", name));
        page("/about/[page]", abouts, [this](isr::render &job) { return pages.about(std::string(job.param("page"))); });

        // A redirect is a page, too.
        page("/blog/latest", isr::route().revalidate(60).tag("posts"),
             [this](isr::render &) { return isr::result::redirect(pages.latest()); });

        page("/moment", isr::route().revalidate(2), [this](isr::render &) { return pages.moment(std::time(nullptr)); });
    }

    const Pages pages;
    const std::string not_found;
    std::atomic<unsigned long> origin_renders{0}; // the demo compares it with what the cache says
    std::atomic<bool> failing{false};
    std::atomic<int> slow_ms{0};
    const int render_log;
    isr::cache cache; // last: it closes first, and its renders use what stands above

private:
    static isr::options options(const Keep &keep) {
        isr::options options;
        options.set("deployment", keep.deployment);
        if (!keep.directory.empty()) options.set("directory", keep.directory);
        options.on_trouble([](const isr::error &trouble) { std::cerr << trouble.what() << std::endl; });
        return options;
    }

    static int open_log(const std::string &path) {
        if (path.empty()) return -1;
        int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) throw std::runtime_error(path + ": " + std::strerror(errno));
        return file;
    }

    void count(std::string_view what) const {
        std::string line = std::string(what) + "\n";
        if (render_log >= 0 && ::write(render_log, line.data(), line.size()) < 0) throw std::runtime_error("no room in the log");
    }

    /// `cache.page` for functions that give a Page, a result, or none where there is nothing to show.
    template <class Make>
    void page(const char *pattern, const isr::route &route, Make make) {
        // Called on threads of the cache, several at a time.
        cache.page(pattern, route, [this, make](isr::render &job) {
            ++origin_renders;
            count(job.path());
            std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms));
            if (failing) throw std::runtime_error("renders fail, as /admin/fail?on=1 asked");
            if constexpr (std::is_same_v<decltype(make(job)), isr::result>) return make(job);
            else return result_of(make(job));
        });
    }

    isr::result result_of(std::optional<Page> made) const {
        isr::result result = made ? isr::result(std::move(made->html)) : isr::result::not_found(not_found);
        result.headers.emplace_back("content-type", HTML);
        if (made) result.tags = std::move(made->tags);
        else result.revalidate = 60;
        return result;
    }
};

#endif
