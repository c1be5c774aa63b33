-- The line of counts on the home page. Counting the posts stands for a query that is too slow to repeat on every page.
SELECT max(CASE key WHEN 'words' THEN value END) || ' words, '
    || max(CASE key WHEN 'senses' THEN value END) || ' senses, '
    || max(CASE key WHEN 'relations' THEN value END) || ' relations, '
    || (SELECT count(*) FROM posts) || ' posts' AS text
FROM meta
