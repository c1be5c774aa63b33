SELECT title, href, date, day, summary FROM posts ORDER BY id DESC LIMIT :limit
