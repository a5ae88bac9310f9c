package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `date: 2026-01-02
cpu: A Processor
BenchmarkToken/alg=ES256/peer=limit-2       	 100	 1000 ns/op	 100 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=golang-jwt-2  	 100	 1000 ns/op	 130 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=ours-2        	 100	 1000 ns/op	 90 cpu-ns/op	 10 allocs/op
`

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	from, page := filepath.Join(dir, "results.txt"), filepath.Join(dir, "performance.md")
	for name, text := range map[string]string{from: sample, page: "before\n" + begin + "old\n" + end + "\nafter\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var texts []string
	for range 2 { // the second time over its own text
		if err := write(from, dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	if texts[0] != texts[1] || strings.Contains(texts[0], "old") ||
		!strings.HasPrefix(texts[0], "before\n"+begin) || !strings.HasSuffix(texts[0], end+"\nafter\n") ||
		!strings.Contains(texts[0], "| Issuance ES256 | 90.0 ns | 0.90 × limit |") {
		t.Errorf("first\n%s\nthen\n%s", texts[0], texts[1])
	}

	svg, err := os.ReadFile(filepath.Join(dir, "performance.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); err == nil; {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if !bytes.Contains(svg, []byte(">1.30 golang-jwt<")) || bytes.Contains(svg, []byte("%!")) || bytes.Contains(svg, []byte("NaN")) {
		t.Errorf("%s", svg)
	}

	if err := os.WriteFile(page, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if write(from, dir) == nil {
		t.Error("a page without markers was written over")
	}
}
