// Trains Grafana Loki's Drain on every line of a file; one line of JSON says what that took.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
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
	miner := drain.New("", drain.DefaultConfig(), nil, drain.FormatUnknown, nil)
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
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"lines":       lines,
		"left_out":    lines - trained,
		"templates":   len(miner.Clusters()),
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
