SELECT w.title, w.href FROM post_words p JOIN words w ON w.id = p.word WHERE p.post = :id ORDER BY p.n
