-- The posts that were there when the site was built. Later ones are rendered when somebody asks for them.
SELECT id FROM posts WHERE id <= 25 ORDER BY id
