// The pages of the example site: rows from SQLite, put into a Mustache template. Knows nothing of caches or HTTP.
//
// The queries, the templates and the names in them are shared with the other languages; see examples/site/README.md.

#ifndef EXAMPLE_PAGES_HPP
#define EXAMPLE_PAGES_HPP

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kainjow/mustache.hpp>

/// A rendered page, and the tags of what it shows.
struct Page {
    std::string html;
    std::vector<std::string> tags;
};

/// Renders pages; from any thread. Whatever goes wrong is a std::runtime_error.
class Pages {
public:
    /// Reads the templates, and the queries beside them.
    Pages(std::string db, const std::string &templates);

    Page home(const std::string &counts) const;
    std::string counts() const;
    std::optional<Page> word(const std::string &lemma) const;
    std::optional<Page> synset(const std::string &key) const;
    Page blog() const;
    /// Where the newest post is.
    std::string latest() const;
    std::optional<Page> post(const std::string &id) const;
    std::optional<Page> about(const std::string &page) const;
    /// `now`: seconds since 1970.
    Page moment(std::int64_t now) const;
    std::string message(const std::string &title, const std::string &text) const;

    /// The form that edits a post or a synset (`kind`).
    std::optional<std::string> edit_form(const std::string &kind, const std::string &id) const;
    /// Writes a new text of a post or a synset. Whether there is one.
    bool save(const std::string &kind, const std::string &id, const std::string &text) const;

    std::vector<std::string> post_ids() const;
    std::vector<std::string> about_pages() const;

private:
    using Row = kainjow::mustache::object;
    using Rows = std::vector<Row>;
    using Values = std::map<std::string, std::string>;

    Rows all(const std::string &query, const Values &values = {}) const;
    std::optional<Row> one(const std::string &query, const Values &values = {}) const;
    std::string render(const std::string &name, Row context) const;

    std::string db_;
    std::map<std::string, std::string> templates_;
    std::map<std::string, std::string> queries_;
};

#endif
