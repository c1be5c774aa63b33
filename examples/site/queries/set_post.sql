UPDATE posts SET body = :text WHERE id = :id
