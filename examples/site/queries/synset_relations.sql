-- All relations of a synset, as links to synsets. `kind` is the same for neighbours: pages group by it.
SELECT k.name AS kind, '/synset/' || s.key AS href,
       CASE r.target_place WHEN 0 THEN s.title ELSE e.form END AS title
FROM relations r
JOIN kinds k ON k.id = r.kind
JOIN synsets s ON s.id = r.target
JOIN senses e ON e.synset = r.target AND e.place = max(r.target_place, 1)
WHERE r.source = :synset
ORDER BY r.kind, r.n
