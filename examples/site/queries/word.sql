SELECT id AS word, title FROM words WHERE lemma = :lemma
