UPDATE posts SET body = :text WHERE CAST(id AS TEXT) = :id
