package record

import "fmt"

// run is a module's run of version 2, as far as its commitments and the rules between its fields go.
type run struct {
	input  Hash
	output *Hash
}

const runKeys = "module version digest other_digest caller limits usage end exit_code reason"

// common are the fields of both versions. It gives the end, which others must fit.
func (f fields) common() (end string) {
	f.text("module")
	f.uintFrom1("version")
	f.hash("digest")
	f.hashOrNull("other_digest")
	f.anyText("caller")
	limits := f.inner("limits", words("wall_ms memory_pages output_bytes log_bytes input_bytes host_calls"))
	for _, name := range words("wall_ms memory_pages output_bytes log_bytes input_bytes host_calls") {
		limits.uint(name)
	}
	end = f.oneOf("end", "denied", "refused", "exited", "trapped", "killed", "crashed")
	if !f.isNull("exit_code") {
		f.uintWithin("exit_code", 0, 1<<32-1)
	}
	f.anyText("reason")
	return end
}

func (f fields) usage(keys string) (hasUsage bool) {
	if f.isNull("usage") {
		return false
	}
	usage := f.inner("usage", words(keys))
	for _, name := range words(keys) {
		usage.uint(name)
	}
	return true
}

// checkWhole: what ran has usage and an output; exactly what exited has a code and no reason.
func (f fields) checkWhole(end string, hasUsage bool, outputName string, hasOutput bool) {
	hasRun := end != "denied" && end != "refused"
	hasExited := end == "exited"
	for _, rule := range []struct {
		name string
		fits bool
	}{
		{"usage", hasRun == hasUsage},
		{outputName, hasRun == hasOutput},
		{"exit_code", hasExited == !f.isNull("exit_code")},
		{"reason", hasExited == (f.get("reason") == "")},
	} {
		if !rule.fits {
			f.no(rule.name, fmt.Sprintf("must fit the end %q", end))
		}
	}
}

func (r *reading) run1(value any) run {
	f := r.payload(value, runKeys+" input_digest input_bytes output_digest")
	end := f.common()
	hasUsage := f.usage("wall_us cpu_us memory_bytes_peak log_bytes host_calls input_bytes output_bytes")
	output := f.hashOrNull("output_digest")
	f.checkWhole(end, hasUsage, "output_digest", output != nil)
	f.hash("input_digest")
	f.uint("input_bytes")
	return run{}
}

func (r *reading) run2(value any) run {
	f := r.payload(value, runKeys+" input", "output")
	end := f.common()
	hasUsage := f.usage("wall_us cpu_us memory_bytes_peak log_bytes host_calls")
	f.checkWhole(end, hasUsage, "output", f.m.Has("output"))
	read := run{input: f.hash("input")}
	if f.m.Has("output") {
		output := f.hash("output")
		read.output = &output
	}
	return read
}
