// Package hotplug has the kernel use processors that the host adds while the machine runs.
//
// The kernel tells of every device that comes by a uevent, over a netlink socket (kobject_uevent of
// lib/kobject_uevent.c). Nothing comes from a machine in which nothing changes, so the socket wakes
// the loop only then. The kernel onlines memory by itself, once that is set at boot.
package hotplug
