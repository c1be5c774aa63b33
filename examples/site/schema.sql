-- The database of the example site. Every text a page shows is stored the way it is shown: the servers only read,
-- group and escape.

CREATE TABLE meta (                 -- what the import was made from, and counts for the home page ("147,478")
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE words (
    id    INTEGER PRIMARY KEY,      -- 1, 2, 3 ... in the order of the lemmas
    lemma TEXT NOT NULL UNIQUE,     -- hot_dog, 24/7
    title TEXT NOT NULL,            -- hot dog, 24/7, Paris
    href  TEXT NOT NULL             -- /word/hot_dog, /word/24%2F7
);

CREATE TABLE synsets (
    id         INTEGER PRIMARY KEY, -- part of speech (1 to 4) * 100,000,000 + offset in its data file
    key        TEXT NOT NULL UNIQUE,-- 02086723-n
    pos        INTEGER NOT NULL,    -- 1 noun, 2 verb, 3 adjective, 4 adverb
    domain     TEXT NOT NULL,       -- the lexicographers' file: animal, motion, food
    title      TEXT NOT NULL,       -- dog, domestic dog, Canis familiaris
    definition TEXT NOT NULL
);

CREATE TABLE examples (             -- example sentences of a synset
    synset INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (synset, n)
) WITHOUT ROWID;

CREATE TABLE senses (               -- which word is in which synset
    word   INTEGER NOT NULL,
    pos    INTEGER NOT NULL,
    n      INTEGER NOT NULL,        -- number of the sense among those of the word and part of speech
    synset INTEGER NOT NULL,
    place  INTEGER NOT NULL,        -- place of the word in the synset, from 1
    form   TEXT NOT NULL,           -- the word as this synset writes it
    PRIMARY KEY (word, pos, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX senses_by_synset ON senses (synset, place);

CREATE TABLE kinds (                -- kinds of relations, in the order in which a page shows them
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE relations (
    source       INTEGER NOT NULL,  -- synset
    kind         INTEGER NOT NULL,
    n            INTEGER NOT NULL,  -- order in the source
    source_place INTEGER NOT NULL,  -- the word in the source that it holds for; 0: for all of them
    target       INTEGER NOT NULL,  -- synset
    target_place INTEGER NOT NULL,  -- the word in the target; 0: all of them
    PRIMARY KEY (source, kind, n)
) WITHOUT ROWID;

CREATE TABLE posts (
    id      INTEGER PRIMARY KEY,
    href    TEXT NOT NULL,          -- /blog/1
    date    TEXT NOT NULL,          -- 2026-01-05
    day     TEXT NOT NULL,          -- 5 January 2026
    title   TEXT NOT NULL,
    summary TEXT NOT NULL,
    body    TEXT NOT NULL           -- paragraphs, an empty line between them
);

CREATE TABLE post_words (
    post INTEGER NOT NULL,
    n    INTEGER NOT NULL,
    word INTEGER NOT NULL,
    PRIMARY KEY (post, n)
) WITHOUT ROWID;

CREATE TABLE abouts (
    page  TEXT PRIMARY KEY,         -- site, wordnet
    title TEXT NOT NULL,
    body  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE featured (             -- words on the home page
    n    INTEGER PRIMARY KEY,
    word INTEGER NOT NULL
);
