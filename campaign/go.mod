module github.com/tokenbooth/tokenbooth/campaign

go 1.26.0

require (
	github.com/tokenbooth/tokenbooth v0.1.0
	golang.org/x/time v0.16.0
)

require github.com/go-jose/go-jose/v4 v4.1.8 // indirect

replace github.com/tokenbooth/tokenbooth => ../
