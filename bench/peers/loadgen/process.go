package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A clock tick of /proc in microseconds: USER_HZ is 100 on every architecture that Go runs on under Linux.
const tickUs = 10_000

// usage is what a process, this generator and the rest of the machine used between two moments.
type usage struct {
	serverUs, generatorUs, othersUs float64
	writtenBytes, rssPeakBytes      int64
}

type watched struct {
	pid                              int
	serverUs, generatorUs, machineUs float64
	writtenBytes, rssPeakBytes       int64
	stop, stopped                    chan struct{}
}

// watch begins to measure a process; without one, or where the system does not tell, its numbers are 0.
func watch(pid int, every time.Duration) *watched {
	w := &watched{pid: pid, stop: make(chan struct{}), stopped: make(chan struct{})}
	w.rssPeakBytes = rssBytes(pid)
	w.serverUs, w.generatorUs, w.machineUs = processUs(pid), ownUs(), machineUs()
	w.writtenBytes = writtenBytes(pid)
	go func() {
		defer close(w.stopped)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				w.rssPeakBytes = max(w.rssPeakBytes, rssBytes(pid))
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

func (w *watched) end() usage {
	server, generator, machine := processUs(w.pid)-w.serverUs, ownUs()-w.generatorUs, machineUs()-w.machineUs
	written := writtenBytes(w.pid) - w.writtenBytes
	close(w.stop)
	<-w.stopped
	return usage{server, generator, max(0, machine-server-generator), written, w.rssPeakBytes}
}

func readProc(pid int, name string) []byte {
	if pid == 0 {
		return nil
	}
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return content
}

// Source: proc_pid_stat(5). The command's name, in parentheses, may hold anything.
func processUs(pid int) float64 {
	content := readProc(pid, "stat")
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	return tickUs * (number(fields[11]) + number(fields[12]))
}

// machineUs is the time that the processors were not idle. Source: proc_stat(5).
func machineUs() float64 {
	content, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(content), "\n")
	var ticks float64
	for at, field := range strings.Fields(line) {
		// user, nice, system, irq, softirq, steal; not idle (4) and iowait (5).
		if at >= 1 && at <= 8 && at != 4 && at != 5 {
			ticks += number(field)
		}
	}
	return tickUs * ticks
}

func ownUs() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1000
}

// Source: proc_pid_io(5).
func writtenBytes(pid int) int64 { return int64(labelled(readProc(pid, "io"), "write_bytes:")) }

// Source: proc_pid_status(5), in KiB.
func rssBytes(pid int) int64 { return 1024 * int64(labelled(readProc(pid, "status"), "VmRSS:")) }

func labelled(content []byte, label string) float64 {
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == label {
			return number(fields[1])
		}
	}
	return 0
}

func number(text string) float64 {
	value, _ := strconv.ParseFloat(text, 64)
	return value
}
