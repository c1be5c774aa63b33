SELECT e.form AS title, w.href
FROM senses e
JOIN words w ON w.id = e.word
WHERE e.synset = :synset
ORDER BY e.place
