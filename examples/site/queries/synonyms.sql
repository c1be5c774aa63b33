-- The other words of a synset, as the first of the relations of a word's sense.
SELECT 'Synonyms' AS kind, e.form AS title, w.href
FROM senses e
JOIN words w ON w.id = e.word
WHERE e.synset = :synset AND e.place <> :place
ORDER BY e.place
