-- As text, so that /blog/1 has no second address like /blog/01.
SELECT id, title, date, day, summary, body FROM posts WHERE CAST(id AS TEXT) = :id
