SELECT text FROM examples WHERE synset = :synset ORDER BY n
