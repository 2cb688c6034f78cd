package cores

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// files returns a file system with files of that content.
func files(all map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range all {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

const (
	mountV1 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n" +
		"33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n" +
		"32 31 0:29 %s /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	mountV2 = "30 23 0:26 %s /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
)

func TestQuota(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  quota
	}{
		"no files": {},
		"version 2": {
			files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": fmt.Sprintf(mountV2, "/"),
				"sys/fs/cgroup/cpu.max":  "12000 100000\n",
				"sys/fs/cgroup/cpu.stat": "usage_usec 7\nnr_periods 90\nnr_throttled 45\nthrottled_usec 3\n",
			},
			want: quota{0.12, 90, 45},
		},
		"version 2, no limit": {
			files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": fmt.Sprintf(mountV2, "/"),
				"sys/fs/cgroup/cpu.max": "max 100000\n",
			},
		},
		"version 2, the group above is tighter": {
			files: map[string]string{
				"proc/self/cgroup": "0::/pod/app\n", "proc/self/mountinfo": fmt.Sprintf(mountV2, "/"),
				"sys/fs/cgroup/pod/app/cpu.max": "400000 100000\n", "sys/fs/cgroup/pod/app/cpu.stat": "nr_periods 1\n",
				"sys/fs/cgroup/pod/cpu.max": "150000 100000\n", "sys/fs/cgroup/pod/cpu.stat": "nr_periods 5\nnr_throttled 2\n",
			},
			want: quota{1.5, 5, 2},
		},
		"version 1, with version 2 for other things": {
			files: map[string]string{
				"proc/self/cgroup": "3:cpuacct:/\n2:cpu:/\n0::/\n", "proc/self/mountinfo": fmt.Sprintf(mountV1, "/"),
				"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
				"sys/fs/cgroup/cpu/cpu.stat": "nr_periods 8\nnr_throttled 4\nthrottled_time 123\n",
			},
			want: quota{0.5, 8, 4},
		},
		"version 1, no limit": {
			files: map[string]string{
				"proc/self/cgroup": "2:cpu,cpuacct:/\n", "proc/self/mountinfo": fmt.Sprintf(mountV1, "/"),
				"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
			},
		},
		"version 1, a container without a namespace of its own": {
			files: map[string]string{
				"proc/self/cgroup": "2:cpu:/kubepods/pod1/abc\n", "proc/self/mountinfo": fmt.Sprintf(mountV1, "/kubepods/pod1/abc"),
				"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
			},
			want: quota{3, 0, 0},
		},
		"a group outside of what is mounted": {
			files: map[string]string{
				"proc/self/cgroup": "0::/../elsewhere\n", "proc/self/mountinfo": fmt.Sprintf(mountV2, "/"),
				"sys/fs/cgroup/cpu.max": "200000 100000\n",
			},
			want: quota{2, 0, 0},
		},
		"nonsense": {
			files: map[string]string{
				"proc/self/cgroup": "what\n0::/\n", "proc/self/mountinfo": "x\n" + fmt.Sprintf(mountV2, "/"),
				"sys/fs/cgroup/cpu.max": "a lot\n",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := findCgroup(files(tc.files)).quota(); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// A host is a file system whose counts a test sets.
type host struct {
	quota              string
	periods, throttled int
	ran, waited        time.Duration
}

func (h *host) files() fstest.MapFS {
	return files(map[string]string{
		"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": fmt.Sprintf(mountV2, "/"),
		"sys/fs/cgroup/cpu.max":       h.quota + " 100000\n",
		"sys/fs/cgroup/cpu.stat":      fmt.Sprintf("nr_periods %d\nnr_throttled %d\n", h.periods, h.throttled),
		"proc/self/task/7/schedstat":  fmt.Sprintf("%d %d 5\n", h.ran/2, h.waited/2),
		"proc/self/task/8/schedstat":  fmt.Sprintf("%d %d 5\n", h.ran/2, h.waited/2),
		"proc/self/task/9/schedstat_": "another file",
	})
}

// Open implements fs.FS with the present counts.
func (h *host) Open(name string) (fs.File, error) { return h.files().Open(name) }

// TestLack: cores that are lacking are told within ten seconds, with what is in the way, and
// it is over ten seconds after.
func TestLack(t *testing.T) {
	for name, tc := range map[string]struct {
		quota string
		busy  func(*host) // each second
		says  string
	}{
		"idle":         {"max", func(*host) {}, ""},
		"busy":         {"max", func(h *host) { h.ran += 2 * time.Second; h.waited += 50 * time.Millisecond }, ""},
		"within quota": {"12000", func(h *host) { h.periods += 10; h.ran += 90 * time.Millisecond; h.throttled++ }, ""},
		"throttled": {"12000", func(h *host) {
			h.periods, h.throttled = h.periods+10, h.throttled+9
			h.ran, h.waited = h.ran+120*time.Millisecond, h.waited+1800*time.Millisecond
		}, "too few cores: the CPU quota of 0.12 cores is used up in 90% of its periods"},
		"crowded": {
			"max", func(h *host) { h.ran += 500 * time.Millisecond; h.waited += 1500 * time.Millisecond },
			"too few cores: threads that could run wait for a core in 75% of their time",
		},
		"hardly any work": {"max", func(h *host) { h.ran += 20 * time.Millisecond; h.waited += 150 * time.Millisecond }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{quota: tc.quota}
			w := New(h)
			for range over + 1 {
				tc.busy(h)
				w.Look()
			}
			if got := w.Lack().Text(); !strings.HasPrefix(got, tc.says) || tc.says == "" && got != "" {
				t.Errorf("%q of %+v", got, w.Lack())
			}
			for range over + 1 {
				w.Look()
			}
			if got := w.Lack().Text(); got != "" {
				t.Errorf("when it is over: %q", got)
			}
		})
	}
}

// TestWorkers: as many as the quota keeps busy, and no more than Go runs at once.
func TestWorkers(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	for quota, want := range map[string]int{"max": procs, "1000": 1, "12000": 1, "100000": 1, "100000000": procs} {
		if got := New(&host{quota: quota}).Workers(); got != want {
			t.Errorf("quota %s: %d workers, want %d", quota, got, want)
		}
	}
}

// TestThreadsThatEnd: their counts go away with them, which is no time that was not spent.
func TestThreadsThatEnd(t *testing.T) {
	h := &host{quota: "max", ran: time.Hour, waited: time.Hour}
	w := New(h)
	w.Look()
	h.ran, h.waited = time.Second, time.Second
	w.Look()
	if l := w.Lack(); l.Machine != 0 || l.Quota != 0 {
		t.Errorf("%+v", l)
	}
}

// TestThisHost reads the files of the host on which the test runs.
func TestThisHost(t *testing.T) {
	w := New(os.DirFS("/"))
	w.Look()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		w.Look()
	}
	l := w.Lack()
	if l.Cores <= 0 || l.Cores > float64(runtime.GOMAXPROCS(0)) || l.Machine < 0 || l.Machine > 1 || l.Process < 0 || l.Process > 1 {
		t.Errorf("%+v", l)
	}
	if ran, _ := threads(os.DirFS("/")); runtime.GOOS == "linux" && ran <= 0 && read(os.DirFS("/"), "proc/self/schedstat") != "" {
		t.Error("the threads have not run at all")
	}
}
