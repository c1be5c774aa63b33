SELECT id, title, date, day, summary, body FROM posts WHERE id = :id
