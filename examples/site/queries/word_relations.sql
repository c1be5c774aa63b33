-- The relations of one sense of a word, as links to words: at most 24 of a kind, then a link to the rest.
-- `kind` is the same for neighbours: pages group by it.
WITH found AS (
    SELECT r.kind AS id, k.name AS kind, e.form AS title, w.href,
           row_number() OVER (PARTITION BY r.kind ORDER BY r.n) AS i,
           count(*) OVER (PARTITION BY r.kind) AS total
    FROM relations r
    JOIN kinds k ON k.id = r.kind
    JOIN senses e ON e.synset = r.target AND e.place = max(r.target_place, 1)
    JOIN words w ON w.id = e.word
    WHERE r.source = :synset AND r.source_place IN (0, :place)
)
SELECT kind, title, href, id, i FROM found WHERE i <= 24
UNION ALL
SELECT kind, (total - 24) || ' more', (SELECT '/synset/' || key FROM synsets WHERE id = :synset), id, i
FROM found
WHERE i = 25
ORDER BY 4, 5
