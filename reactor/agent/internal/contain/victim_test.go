package contain

import "testing"

// TestVictims takes lines of kernels, some without that which has the cgroup.
func TestVictims(t *testing.T) {
	t.Parallel()
	const killed = " total-vm:9000kB, anon-rss:4000kB, file-rss:96kB, shmem-rss:4kB, UID:0 pgtables:60kB oom_score_adj:0"
	for name, tt := range map[string]struct {
		lines  []string
		leader int
		want   string
	}{
		"its leader": {[]string{
			"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/wick-1,task_memcg=/wick-1/3,task=sh,pid=57,uid=0",
			"Memory cgroup out of memory: Killed process 57 (sh)" + killed,
		}, 57, "process 57 (sh) killed with 4100 KiB resident, constraint memcg"},
		"a child": {[]string{
			"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/outer/wick-1/3/below,task=a, (b,pid=58,uid=0",
			"Out of memory: Killed process 58 (a, (b)" + killed,
		}, 57, "process 58 (a, (b) killed with 4100 KiB resident, constraint none"},
		"another command's": {[]string{
			"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/wick-1,task_memcg=/wick-1/33,task=sh,pid=58,uid=0",
			"Memory cgroup out of memory: Killed process 58 (sh)" + killed,
		}, 57, ""},
		"without the line that the kernel limits": {[]string{
			"Memory cgroup out of memory: Killed process 57 (sh)" + killed,
		}, 57, "process 57 (sh) killed with 4100 KiB resident, constraint memcg"},
		"before the second line": {[]string{
			"oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,task_memcg=/wick-1/3,task=sh,pid=58,uid=0",
		}, 57, "process 58 (sh) killed with 0 KiB resident, constraint memory_policy"},
		"lines that are no record": {[]string{
			"oom-kill:constraint=CONSTRAINT_MEMCG", "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/wick-1/3,task=sh,pid=,uid=0",
			"Memory cgroup out of memory: Killed process 57", "Memory cgroup out of memory: Killed process 57 (sh)", "Killed process 57 (sh)" + killed, "",
		}, 57, ""},
	} {
		v := victims{fd: -1}
		for _, line := range tt.lines {
			v.take(line)
		}
		got := ""
		if k := v.find(tt.leader, "/wick-1/3"); k != nil {
			got = k.String()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// TestVictimsAreFew has more kills than are remembered.
func TestVictimsAreFew(t *testing.T) {
	t.Parallel()
	v := victims{fd: -1}
	for pid := range 3 * maxVictims {
		v.add(victim{pid: pid, cgroup: "/wick-1/3"})
	}
	if k := v.find(0, "/wick-1/3"); k == nil || k.pid != 3*maxVictims-1 {
		t.Errorf("find = %+v, want the last one", k)
	}
	if k := v.find(3*maxVictims-2, "/wick-1/4"); k == nil || k.pid != 3*maxVictims-2 {
		t.Errorf("find = %+v, want the leader", k)
	}
}

func TestIO(t *testing.T) {
	t.Parallel()
	var io IO
	io.parse("254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=9 dios=9\n254:16 rbytes=1 wios=3\n7:0\nnonsense\n")
	if want := (IO{4097, 8192, 1, 5}); io != want {
		t.Errorf("parse = %+v, want %+v", io, want)
	}
}
