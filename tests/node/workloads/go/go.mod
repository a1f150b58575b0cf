module onlooker.test/counter

go 1.24
