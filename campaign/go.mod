module github.com/tokenbooth/tokenbooth/campaign

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/tokenbooth/tokenbooth v0.1.0
	github.com/tokenbooth/tokenbooth/examples/durable v0.1.0
	golang.org/x/time v0.16.0
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/go-jose/go-jose/v4 v4.1.8 // indirect
	github.com/go-sql-driver/mysql v1.10.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.0.0 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/tokenbooth/tokenbooth/store/redisstore v0.1.0 // indirect
	github.com/tokenbooth/tokenbooth/store/sqlstore v0.1.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	modernc.org/libc v1.77.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.60.1 // indirect
)

replace (
	github.com/tokenbooth/tokenbooth => ../
	github.com/tokenbooth/tokenbooth/examples/durable => ../examples/durable
	github.com/tokenbooth/tokenbooth/store/redisstore => ../store/redisstore
	github.com/tokenbooth/tokenbooth/store/sqlstore => ../store/sqlstore
)
