package cores

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// A cgroup is the control group of the process that limits its CPU time, with those above it
// as far as they can be seen. There is none if it has no directories.
type cgroup struct {
	fsys fs.FS
	v2   bool
	dirs []string // of the group and of those above it, from the bottom up
}

// A quota is the CPU time that a group may use.
type quota struct {
	cores float64 // 0 for no limit
	// periods is how many periods there were in which the group ran, and throttled in how
	// many of these it was stopped because it had used up its quota.
	periods, throttled uint64
}

// findCgroup finds the group of the process in the files of a host. In version 1, the group
// of the controller cpu counts; a host may have that, and version 2 for other things.
func findCgroup(fsys fs.FS) cgroup {
	groups := read(fsys, "proc/self/cgroup")
	for _, v2 := range []bool{false, true} {
		for line := range strings.Lines(groups) {
			fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(fields) != 3 || !controls(fields[1], v2) {
				continue
			}
			if dirs := mounted(read(fsys, "proc/self/mountinfo"), fields[2], v2); dirs != nil {
				return cgroup{fsys, v2, dirs}
			}
		}
	}
	return cgroup{fsys: fsys}
}

// controls tells whether a line of /proc/self/cgroup with those controllers is about CPU
// time. That of version 2 has none.
func controls(controllers string, v2 bool) bool {
	if v2 {
		return controllers == ""
	}
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "cpu" {
			return true
		}
	}
	return false
}

// mounted returns the directories of a group and of those above it, nil if they are not
// mounted. See proc_pid_mountinfo(5): in a container, only a part of the tree may be.
func mounted(mountinfo, group string, v2 bool) []string {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, about := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(about) < 3 {
			continue
		}
		if is := about[0] == "cgroup" && controls(about[2], false); v2 && about[0] != "cgroup2" || !v2 && !is {
			continue
		}
		unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace
		root, point := path.Clean(unescape(fields[3])), strings.TrimPrefix(path.Clean(unescape(fields[4])), "/")
		below, inside := strings.CutPrefix(path.Clean(group), root)
		if root == "/" {
			below, inside = path.Clean(group), true
		}
		if !inside || strings.HasPrefix(below, "/..") { // the mount is all that can be seen
			below = ""
		}
		var dirs []string
		for dir := path.Join(point, below); ; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
			if len(dir) <= len(point) {
				return dirs
			}
		}
	}
	return nil
}

// quota returns the tightest quota of the group and of those above it.
func (g cgroup) quota() quota {
	var tightest quota
	for _, dir := range g.dirs {
		cores := g.limit(dir)
		if cores > 0 && (tightest.cores == 0 || cores < tightest.cores) {
			stat := read(g.fsys, path.Join(dir, "cpu.stat"))
			tightest = quota{cores, field(stat, "nr_periods"), field(stat, "nr_throttled")}
		}
	}
	return tightest
}

// limit returns the quota of one group in cores, 0 for none.
func (g cgroup) limit(dir string) float64 {
	most, period := read(g.fsys, path.Join(dir, "cpu.cfs_quota_us")), read(g.fsys, path.Join(dir, "cpu.cfs_period_us"))
	if g.v2 {
		most, period, _ = strings.Cut(strings.TrimSpace(read(g.fsys, path.Join(dir, "cpu.max"))), " ")
	}
	m, err := strconv.ParseFloat(strings.TrimSpace(most), 64) // "max" and -1 are no limit
	p, perr := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if err != nil || perr != nil || m <= 0 || p <= 0 {
		return 0
	}
	return m / p
}

// threads returns for how long the threads of the process have run so far, and for how long
// they could have run and waited for a core. Threads that have ended are left out, so both may
// become smaller. They are 0 where the kernel does not tell.
func threads(fsys fs.FS) (ran, waited time.Duration) {
	const tasks = "proc/self/task"
	all, err := fs.ReadDir(fsys, tasks)
	if err != nil {
		return 0, 0
	}
	for _, t := range all {
		fields := strings.Fields(read(fsys, path.Join(tasks, t.Name(), "schedstat")))
		if len(fields) < 2 {
			continue
		}
		r, _ := strconv.ParseInt(fields[0], 10, 64)
		w, _ := strconv.ParseInt(fields[1], 10, 64)
		ran, waited = ran+time.Duration(r), waited+time.Duration(w)
	}
	return ran, waited
}

// field returns the value of a line such as "nr_periods 7", 0 if there is none.
func field(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

// read returns the content of a file, "" if it cannot be read.
func read(fsys fs.FS, name string) string {
	data, _ := fs.ReadFile(fsys, name)
	return string(data)
}
