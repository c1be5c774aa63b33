UPDATE synsets SET definition = :text WHERE key = :id
