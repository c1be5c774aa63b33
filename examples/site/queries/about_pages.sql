SELECT page FROM abouts ORDER BY page
