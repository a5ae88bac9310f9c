module github.com/tokenbooth/tokenbooth

go 1.26.0

require (
	github.com/go-jose/go-jose/v4 v4.1.8
	golang.org/x/time v0.16.0
)
