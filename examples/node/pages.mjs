// The pages of the example site: rows from SQLite, put into a Mustache template. Knows nothing of caches or HTTP.
//
// The queries, the templates and the names in them are shared with the other languages; see examples/site/README.md.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite'; // as node:sqlite, which Node 20 does not have
import Mustache from 'mustache';

/** Escapes as the Mustache specification says, and not the slash, apostrophe, backtick and equals sign as well. */
const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text) => text.replace(/[&<>"]/g, (c) => ESCAPES[c]);

/** Neighbouring rows that agree in `key`, as one row with that key and the list `name`. */
function group(rows, key, name) {
  const groups = [];
  for (const row of rows) {
    if (groups.at(-1)?.[key] !== row[key]) groups.push({ [key]: row[key], [name]: [] });
    groups.at(-1)[name].push(row);
  }
  return groups;
}

const paragraphs = (text) => text.split('\n\n').map((part) => ({ text: part }));

/** The files of a folder with this extension, by their names without it. */
const texts = (folder, extension) =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((file) => file.endsWith(extension))
      .map((file) => [file.slice(0, -extension.length), readFileSync(join(folder, file), 'utf8')]),
  );

/** Renders pages. Each gives `{ html, tags }` with the tags of what it shows, or null where there is no such page. */
export class Pages {
  #db;
  #queries;
  #statements = {};
  #templates;

  constructor(db, templates) {
    if (!existsSync(db)) throw new Error('there is no such database');
    this.#db = new DatabaseSync(db, { timeout: 5000 });
    this.#templates = texts(templates, '.mustache');
    this.#queries = texts(join(templates, '..', 'queries'), '.sql');
  }

  home(counts) {
    const posts = this.#all('posts', { limit: '5' });
    const context = { title: 'Words', counts, featured: this.#all('featured'), posts };
    return { html: this.#render('home', context), tags: ['posts'] };
  }

  counts() {
    return this.#one('counts').text;
  }

  word(lemma) {
    const word = this.#one('word', { lemma });
    if (!word) return null;
    const senses = this.#all('senses', { word: word.word });
    for (const sense of senses) {
      const { synset, place } = sense;
      const relations = [...this.#all('synonyms', { synset, place }), ...this.#all('word_relations', { synset, place })];
      sense.examples = this.#all('examples', { synset });
      sense.relations = group(relations, 'kind', 'words');
    }
    const tags = [`word:${lemma}`, ...senses.map((sense) => `synset:${sense.key}`)];
    return { html: this.#render('word', { ...word, groups: group(senses, 'pos_name', 'senses') }), tags };
  }

  synset(key) {
    const row = this.#one('synset', { key });
    if (!row) return null;
    const { synset } = row;
    row.examples = this.#all('examples', { synset });
    row.words = this.#all('synset_words', { synset });
    row.relations = group(this.#all('synset_relations', { synset }), 'kind', 'synsets');
    return { html: this.#render('synset', row), tags: [`synset:${key}`] };
  }

  blog() {
    return { html: this.#render('blog', { title: 'Blog', posts: this.#all('posts', { limit: '-1' }) }), tags: ['posts'] };
  }

  /** Where the newest post is. */
  latest() {
    return this.#one('posts', { limit: '1' }).href;
  }

  post(id) {
    const post = this.#one('post', { id });
    if (!post) return null;
    post.paragraphs = paragraphs(post.body);
    post.words = this.#all('post_words', { id });
    return { html: this.#render('post', post), tags: [`post:${id}`] };
  }

  about(page) {
    const about = this.#one('about', { page });
    if (!about) return null;
    about.paragraphs = paragraphs(about.body);
    return { html: this.#render('about', about), tags: [] };
  }

  /** `now`: seconds since 1970. */
  moment(now) {
    return { html: this.#render('moment', this.#one('moment', { now: String(Math.floor(now)) })), tags: [] };
  }

  message(title, text) {
    return this.#render('message', { title, text });
  }

  /** The form that edits a post or a synset, or null. */
  editForm(kind, id) {
    const row = kind === 'post' ? this.#one('post', { id }) : this.#one('synset', { key: id });
    return row && this.#render('edit', { title: row.title, text: kind === 'post' ? row.body : row.definition });
  }

  /** Writes a new text of a post or a synset. Whether there is one. */
  save(kind, id, text) {
    return this.#statement(`set_${kind}`).run({ id, text }).changes === 1;
  }

  postIds() {
    return this.#all('post_ids').map((row) => row.id);
  }

  aboutPages() {
    return this.#all('about_pages').map((row) => row.page);
  }

  close() {
    this.#db.close();
  }

  /** All rows of a query. Values are texts, in and out. */
  #all(query, values = {}) {
    return this.#statement(query)
      .all(values)
      .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)])));
  }

  #statement(query) {
    return (this.#statements[query] ??= this.#db.prepare(this.#queries[query]));
  }

  #one(query, values) {
    return this.#all(query, values)[0] ?? null;
  }

  #render(template, context) {
    return Mustache.render(this.#templates[template], context, this.#templates, { escape });
  }
}
