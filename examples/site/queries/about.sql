SELECT title, body FROM abouts WHERE page = :page
