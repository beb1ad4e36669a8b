package accounts

import "testing"

func TestPasswdEntry(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nnobody:x:65534:65534::/none:/usr/sbin/nologin\nx:x:7:7:::\n"
	for user, want := range map[string]User{
		"root": {"root", "/root", "/bin/bash"}, "0": {"root", "/root", "/bin/bash"}, "nobody": {"nobody", "/none", "/usr/sbin/nologin"},
		"7": {"x", "", ""}, "8": {},
	} {
		if got := passwdEntry(passwd, user); got != want {
			t.Errorf("%s: got %+v", user, got)
		}
	}
}
