package main

import (
	"os"
	"strings"
	"testing"
)

// TestConfigurationPage holds the page's list of options to the table.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, options, _ := strings.Cut(usage(), "\n\n")
	_, options, _ = strings.Cut(options, "\n\n")
	if !strings.Contains(string(page), "```text\n"+options+"```\n") {
		t.Errorf("configuration.md lacks the options as --help prints them:\n%s", options)
	}
}

// TestCheck checks a text with and without a fault.
func TestCheck(t *testing.T) {
	path := t.TempDir() + "/conf"
	for text, want := range map[string]string{
		"hostname=web\nmax-commands=3\n":                    "",
		"hostname=web\nmax-commands=no\nvsock-listen=off\n": path + " line 2: max-commands no: \"no\" is not a number from 1 to 65536\n",
		"service.a.command=a\nservice.b.restart=no\nworkload=w\nservice.a.after=a\nservice.a.env=A=1\nservice.a.restart=x\n": path + " line 6: service.a.restart: not no, on-failure or always\n" +
			path + " line 4: service.a.after: the service would have to start before itself\n" +
			path + " line 2: service.b.command: the service has no command\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, code := check(path)
		if got != want || (code != 0) != (want != "") {
			t.Errorf("check(%q) = %q, %d, want %q", text, got, code, want)
		}
	}
	if _, code := check(path + "/none"); code != 1 {
		t.Errorf("check of no file = %d, want 1", code)
	}
}
