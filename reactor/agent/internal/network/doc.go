// Package network configures the machine's network interfaces, by rtnetlink, and the files of /etc
// that name resolution needs.
//
//	command line ─▶ plan ─┐
//	network ──────▶ plan ─┴▶ setting ─▶ rtnetlink, /etc          network_show, hello ─▶ facts
//
// A configuration is a list of words, as on init's command line:
//
//	--net=eth0,addr=10.0.2.15/24,gw=10.0.2.2   an interface by its name
//	--net=02:fc:00:00:00:01,addr=fd00::2/64    an interface by its MAC address
//	--dns=10.0.2.3                             a name server, at most three
//	--search=example.org                       a search domain
//	--hostname=clone-7                         the machine's name
//
// The fields of --net are addr= (repeated), gw= (one a family), route=PREFIX or
// route=PREFIX@GATEWAY (repeated), mac=, mtu=, up and down. The kernel's own ip= is another form.
//
// A configuration is declarative. It is compared with what the kernel has, and nothing is changed
// that is right already. Connections over an address that stays therefore live on.
package network
