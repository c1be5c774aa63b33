SELECT id AS synset, key, domain, title, definition,
       CASE pos WHEN 1 THEN 'noun' WHEN 2 THEN 'verb' WHEN 3 THEN 'adjective' ELSE 'adverb' END AS pos_name
FROM synsets
WHERE key = :key
