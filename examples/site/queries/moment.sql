-- Another word every second: 7919 is prime, so that all words get their turn.
SELECT w.title, w.href, s.definition, strftime('%H:%M:%S', :now, 'unixepoch') AS time
FROM words w
JOIN senses e ON e.word = w.id
JOIN synsets s ON s.id = e.synset
WHERE w.id >= 1 + (:now * 7919) % (SELECT max(id) FROM words)
ORDER BY w.id, e.pos, e.n
LIMIT 1
