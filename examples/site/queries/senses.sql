-- The senses of a word. `pos_name` is the same for neighbours: pages group by it.
SELECT CASE e.pos WHEN 1 THEN 'Noun' WHEN 2 THEN 'Verb' WHEN 3 THEN 'Adjective' ELSE 'Adverb' END AS pos_name,
       e.n, e.place, s.id AS synset, s.key, s.domain, s.definition
FROM senses e
JOIN synsets s ON s.id = e.synset
WHERE e.word = :word
ORDER BY e.pos, e.n
