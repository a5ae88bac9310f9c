// Page writes what a run of the benchmarks says into docs/performance.md, between
// the markers, and beside it as a plot:
//
//	./run.sh full && go run ./page /tmp/bench-full.txt
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/tokenbooth/tokenbooth/bench/internal/results"
)

const (
	begin = "<!-- results:begin -->\n"
	end   = "<!-- results:end -->"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 3 {
		log.Fatal("usage: page RESULTS [DIRECTORY OF performance.md]")
	}
	docs := "../docs"
	if len(os.Args) == 3 {
		docs = os.Args[2]
	}
	if err := write(os.Args[1], docs); err != nil {
		log.Fatal(err)
	}
}

func write(from, docs string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	run, err := results.Read(file)
	if err != nil {
		return err
	}
	page := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if text, err = replace(text, run); err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.svg"), plot(run), 0o644)
}

// replace puts the run between the markers.
func replace(text []byte, run *results.Run) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return nil, fmt.Errorf("want the markers %q and %q", begin, end)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin)
	c := run.Config
	fmt.Fprintf(&b, "Measured on %s: %s, %s processors, %s, %s; form %s.\n\n",
		c["date"], c["cpu"], c["processors"], c["system"], c["go"], c["form"])
	if err := run.WriteTargets(&b); err != nil {
		return nil, err
	}
	b.WriteString(end)
	b.Write(after)
	return b.Bytes(), nil
}
