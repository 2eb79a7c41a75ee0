// Trains Grafana Loki's Drain on every line of a file; one line of JSON says what that took.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/loki/v3/pkg/pattern/drain"
)

const longestLine = 1 << 20 // bytes

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	begun, begunCPU := time.Now(), cpuSeconds()
	config := drain.DefaultConfig()
	miner := drain.New("", config, nil, drain.FormatUnknown, nil)
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, longestLine), longestLine)
	lines, trained := 0, 0
	for scanner.Scan() {
		moment := int64(lines) * int64(10*time.Millisecond)
		if miner.Train(scanner.Text(), moment) != nil {
			trained++
		}
		lines++
	}
	if err := scanner.Err(); err != nil {
		log.Fatal(err)
	}
	note := ""
	if trained < lines {
		note = fmt.Sprintf("leaves out %d lines by their length; ", lines-trained)
	}
	if found := len(miner.Clusters()); found == config.MaxClusters {
		note += fmt.Sprintf("holds at most %d templates; ", found)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"lines":       lines,
		"templates":   len(miner.Clusters()),
		"note":        strings.TrimSuffix(note, "; "),
		"seconds":     time.Since(begun).Seconds(),
		"cpu_seconds": cpuSeconds() - begunCPU,
	})
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
