module github.com/tokenbooth/tokenbooth/campaign

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/tokenbooth/tokenbooth v0.1.0
	github.com/tokenbooth/tokenbooth/examples/durable v0.1.0
	golang.org/x/time v0.16.0
)

replace (
	github.com/tokenbooth/tokenbooth => ../
	github.com/tokenbooth/tokenbooth/examples/durable => ../examples/durable
	github.com/tokenbooth/tokenbooth/store/redisstore => ../store/redisstore
	github.com/tokenbooth/tokenbooth/store/sqlstore => ../store/sqlstore
)
