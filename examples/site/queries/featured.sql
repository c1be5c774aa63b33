SELECT w.title, w.href FROM featured f JOIN words w ON w.id = f.word ORDER BY f.n
