// The routes of the example site: how libisr keeps its pages.

#ifndef EXAMPLE_SITE_HPP
#define EXAMPLE_SITE_HPP

#include <atomic>
#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <isr.hpp>

#include "pages.hpp"

constexpr const char *HTML = "text/html; charset=utf-8";

class Site {
public:
    Site(const std::string &db, const std::string &templates)
        : pages(db, templates), not_found(pages.message("Not found", "There is no page at this address.")) {
        page("/", isr::route().revalidate(60), [this](isr::render &job) {
            // A data entry: counted once for all pages that show it, and gone with its tag.
            isr::data counts = job.data({"counts"}, {{"posts"}, 60}, [this](isr::load &) { return pages.counts(); });
            return pages.home(std::string(counts.value()));
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

        page("/moment", isr::route().revalidate(2), [this](isr::render &) { return pages.moment(std::time(nullptr)); });
    }

    const Pages pages;
    const std::string not_found;
    std::atomic<unsigned long> origin_renders{0}; // the demo compares it with what the cache says
    std::atomic<bool> failing{false};
    std::atomic<int> slow_ms{0};
    isr::cache cache; // last: it closes first, and its renders use what stands above

private:
    /// `cache.page` for functions that give a Page, or none where there is nothing to show.
    template <class Make>
    void page(const char *pattern, const isr::route &route, Make make) {
        // Called on threads of the cache, several at a time.
        cache.page(pattern, route, [this, make](isr::render &job) {
            ++origin_renders;
            std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms));
            if (failing) throw std::runtime_error("renders fail, as /admin/fail?on=1 asked");
            std::optional<Page> made = make(job);
            isr::result result = made ? isr::result(std::move(made->html)) : isr::result::not_found(not_found);
            result.headers.emplace_back("content-type", HTML);
            if (made) result.tags = std::move(made->tags);
            else result.revalidate = 60;
            return result;
        });
    }
};

#endif
