module https

go 1.17
