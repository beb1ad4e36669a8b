package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Status is how far a machine has come.
type Status string

// The statuses. A machine is only ever restarted from Stopped or Lost.
const (
	Starting Status = "starting" // it is built or boots
	Running  Status = "running"
	Paused   Status = "paused"
	Stopping Status = "stopping" // it was asked to go down
	Stopped  Status = "stopped"
	Lost     Status = "lost" // its supervisor was killed, and the machine with it
)

// Live reports whether a machine has a supervisor.
func (s Status) Live() bool { return s != Stopped && s != Lost }

// State is what is known of a machine. Its JSON is what wick inspect prints, and only grows.
type State struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Image  string `json:"image"`
	Status Status `json:"status"`
	// Command is what its workload runs, as far as the command line said.
	Command []string `json:"command"`
	// Created is when the machine was made. Started and Ended are of its last run, zero if unknown.
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// ExitCode is that of the workload, or 125 if the machine failed. It is valid once Ended is
	// set.
	ExitCode int `json:"exit_code"`
	// Error says why the machine failed, or "".
	Error string `json:"error,omitempty"`
	// PID is the supervisor's, while it runs.
	PID int `json:"pid,omitempty"`
	// Address leads to the guest's agent, in the form that wick --to takes.
	Address string `json:"address,omitempty"`
	Backend string `json:"backend,omitempty"`
	// Process is the id of the command in the guest, while it runs.
	Process   string   `json:"process,omitempty"`
	MemoryMiB int      `json:"memory_mib"`
	CPUs      int      `json:"cpus"`
	Ports     []string `json:"ports"`
	// Published are the ends of the published ports, while it runs.
	Published []Published       `json:"published,omitempty"`
	Labels    map[string]string `json:"labels"`
	// Remove says that the machine is removed when it ends.
	Remove bool `json:"remove"`
	// StopSignal and StopSeconds are how its workload is asked to end.
	StopSignal  string `json:"stop_signal,omitempty"`
	StopSeconds int    `json:"stop_seconds,omitempty"`
	// Args is the command line of wick run that made it, and Dir where that ran.
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
}

// Published is a published port: the address on this host, and the port or socket of the guest.
type Published struct {
	Host  string `json:"host"`
	Guest string `json:"guest"`
}

// read reads the state of a machine's directory.
func read(dir string) (*State, error) {
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, fmt.Errorf("read the machine's state: %w", err)
	}
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read the machine's state in %s: %w", dir, err)
	}
	return s, nil
}

// write replaces the state of a machine's directory in one step.
func (s *State) write(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write the machine's state: %w", err)
	}
	f, err := os.CreateTemp(dir, "state-*")
	if err != nil {
		return fmt.Errorf("write the machine's state: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(append(text, '\n')); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, "state.json"))
	}
	if err != nil {
		return fmt.Errorf("write the machine's state: %w", err)
	}
	return nil
}
