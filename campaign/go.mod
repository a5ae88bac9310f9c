module github.com/tokenbooth/tokenbooth/campaign

go 1.26.0

require github.com/tokenbooth/tokenbooth v0.1.0

replace github.com/tokenbooth/tokenbooth => ../
