/* The floor: what an agent costs that is written in C, has one thread, epoll and vfork, and checks nothing. It
 * speaks ping, the short exec and write_file to a well-behaved host at a Unix socket, keeps all output in memory and
 * loses it at the first surprise. It is what the agent is measured against, and good for nothing else.
 *
 *   cc -O2 -static -o floor floor.c && ./floor /tmp/floor.sock
 *
 * In a machine it listens on a vsock port: ./floor vsock:2000.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

struct bytes {
	char *p;
	size_t n, cap;
};

struct conn;

/* What an epoll event leads to: a pipe of a command, or a connection. */
struct source {
	int fd;
	struct bytes data;
	struct command *command; /* NULL: a connection */
	struct conn *conn;
};

struct command {
	struct source out[2];
	struct conn *conn;
	uint32_t seq;
	pid_t pid;
	int open;
};

struct conn {
	struct source in;
	struct bytes out;
};

static int ep, null_fd;
static char *no_env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

static char *room(struct bytes *b, size_t n)
{
	if (b->cap - b->n < n) {
		b->cap = (b->n + n) * 2;
		b->p = realloc(b->p, b->cap);
	}
	return b->p + b->n;
}

static void put32(struct bytes *b, uint32_t v)
{
	v = htonl(v);
	memcpy(room(b, 4), &v, 4);
	b->n += 4;
}

static void put(struct bytes *b, const void *p, size_t n)
{
	memcpy(room(b, n), p, n);
	b->n += n;
}

static uint32_t get32(const char *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return ntohl(v);
}

static void header(struct bytes *b, unsigned char type, uint32_t seq, size_t payload)
{
	put32(b, 5 + payload);
	put(b, &type, 1);
	put32(b, seq);
}

static void flush(struct conn *c)
{
	size_t done = 0;
	while (done < c->out.n) {
		ssize_t n = write(c->in.fd, c->out.p + done, c->out.n - done);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {c->in.fd, POLLOUT, 0};
			poll(&p, 1, -1);
			continue;
		}
		if (n < 0)
			break;
		done += n;
	}
	c->out.n = 0;
}

static void watch(struct source *s)
{
	struct epoll_event e = {EPOLLIN, {.ptr = s}};
	epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
}

static void run(struct conn *c, uint32_t seq, const char *text, size_t n)
{
	struct command *m = calloc(1, sizeof *m);
	int a[2], b[2];
	char line[n + 1];
	memcpy(line, text, n);
	line[n] = 0;
	char *argv[] = {"sh", "-c", line, NULL};
	pipe2(a, O_CLOEXEC);
	pipe2(b, O_CLOEXEC);
	m->conn = c;
	m->seq = seq;
	m->open = 2;
	m->pid = vfork();
	if (m->pid == 0) {
		setpgid(0, 0);
		dup2(null_fd, 0);
		dup2(a[1], 1);
		dup2(b[1], 2);
		execve("/bin/sh", argv, no_env);
		_exit(127);
	}
	close(a[1]);
	close(b[1]);
	m->out[0].fd = a[0];
	m->out[1].fd = b[0];
	for (int i = 0; i < 2; i++) {
		fcntl(m->out[i].fd, F_SETFL, O_NONBLOCK);
		m->out[i].command = m;
		watch(&m->out[i]);
	}
}

static void ended(struct command *m)
{
	int status;
	struct bytes *o = &m->out[0].data, *e = &m->out[1].data, *to = &m->conn->out;
	waitpid(m->pid, &status, 0);
	header(to, 4, m->seq, 12 + o->n + e->n);
	put32(to, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	put32(to, o->n);
	put(to, o->p, o->n);
	put32(to, e->n);
	put(to, e->p, e->n);
	flush(m->conn);
	free(o->p);
	free(e->p);
	free(m);
}

static void save(struct conn *c, uint32_t seq, const char *p)
{
	size_t n = ntohs(*(const uint16_t *)p);
	char path[n + 1];
	memcpy(path, p + 2, n);
	path[n] = 0;
	p += 2 + n + 1;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t size = get32(p), done = 0;
	while (done < size) {
		ssize_t k = write(fd, p + 4 + done, size - done);
		if (k < 0)
			break;
		done += k;
	}
	close(fd);
	header(&c->out, 6, seq, 3);
	put(&c->out, "\1\0\0", 3);
}

static void frames(struct conn *c)
{
	struct bytes *in = &c->in.data;
	size_t at = 0;
	while (in->n - at >= 9) {
		const char *p = in->p + at;
		size_t length = get32(p);
		uint32_t seq = get32(p + 5);
		if (in->n - at < 4 + length) {
			room(in, 4 + length);
			break;
		}
		switch (p[4]) {
		case 1:
			header(&c->out, 2, seq, 0);
			break;
		case 3:
			run(c, seq, p + 17, get32(p + 13));
			break;
		case 5:
			save(c, seq, p + 9);
			break;
		}
		at += 4 + length;
	}
	memmove(in->p, in->p + at, in->n - at);
	in->n -= at;
	if (c->out.n)
		flush(c);
}

static int listen_at(const char *where)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	struct sockaddr_vm v = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	int vsock = strncmp(where, "vsock:", 6) == 0;
	int fd = socket(vsock ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vsock) {
		v.svm_port = atoi(where + 6);
	} else {
		strncpy(u.sun_path, where, sizeof u.sun_path - 1);
		unlink(where);
	}
	if (bind(fd, vsock ? (void *)&v : (void *)&u, vsock ? sizeof v : sizeof u) || listen(fd, 64)) {
		perror(where);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct source listener = {0};
	struct epoll_event events[128];
	if (argc != 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	ep = epoll_create1(EPOLL_CLOEXEC);
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	listener.fd = listen_at(argv[1]);
	watch(&listener);
	for (;;) {
		int n = epoll_wait(ep, events, 128, -1);
		for (int i = 0; i < n; i++) {
			struct source *s = events[i].data.ptr;
			if (s == &listener) {
				struct conn *c = calloc(1, sizeof *c);
				c->in.conn = c;
				c->in.fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
				header(&c->out, 0, 0, 0);
				flush(c);
				watch(&c->in);
				continue;
			}
			ssize_t k = read(s->fd, room(&s->data, 65536), s->data.cap - s->data.n > 65536 ? s->data.cap - s->data.n : 65536);
			if (k > 0) {
				s->data.n += k;
				if (!s->command)
					frames(s->conn);
				continue;
			}
			if (k < 0 && errno == EAGAIN)
				continue;
			/* close alone is not enough: a child that is between vfork and exec has the descriptor too. */
			epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, NULL);
			close(s->fd);
			if (s->command) {
				if (--s->command->open == 0)
					ended(s->command);
				continue;
			}
			/* A command of it may still point to it: it stays, without what makes it large. */
			s->fd = -1;
			free(s->data.p);
			free(s->conn->out.p);
			memset(&s->data, 0, sizeof s->data);
			memset(&s->conn->out, 0, sizeof s->conn->out);
		}
	}
}
