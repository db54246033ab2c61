// Stat of the Go libraries behind containerd and runc, as a contestant for sampling.py.
//
// peers containerd|runc: reads the names of cgroups, one a line, until an empty line; then prints,
// for each line that follows, the nanoseconds that Stat of all of them took.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/containerd/cgroups"
	"github.com/opencontainers/runc/libcontainer/cgroups/fs"
	"github.com/opencontainers/runc/libcontainer/configs"
)

const mount = "/sys/fs/cgroup"

// The controllers of the nine files, and no others.
func hierarchy() ([]cgroups.Subsystem, error) {
	return []cgroups.Subsystem{
		cgroups.NewMemory(mount), cgroups.NewCpu(mount), cgroups.NewCpuacct(mount), cgroups.NewPids(mount),
	}, nil
}

func containerd(name string) (func() error, error) {
	group, err := cgroups.Load(hierarchy, cgroups.StaticPath(name))
	return func() error { _, err := group.Stat(); return err }, err
}

func runc(name string) (func() error, error) {
	paths := map[string]string{}
	for _, controller := range []string{"memory", "cpu", "cpuacct", "pids"} {
		paths[controller] = mount + "/" + controller + name
	}
	group, err := fs.NewManager(&configs.Cgroup{Resources: &configs.Resources{}}, paths)
	return func() error { _, err := group.GetStats(); return err }, err
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	load := map[string]func(string) (func() error, error){"containerd": containerd, "runc": runc}[os.Args[1]]
	lines := bufio.NewScanner(os.Stdin)
	var stats []func() error
	for lines.Scan() && lines.Text() != "" {
		stat, err := load(lines.Text())
		check(err)
		stats = append(stats, stat)
	}
	fmt.Println("ready")
	for lines.Scan() {
		start := time.Now()
		for _, stat := range stats {
			check(stat())
		}
		fmt.Println(time.Since(start).Nanoseconds())
	}
}
