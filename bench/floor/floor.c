/* The floor is the least that an agent costs: C, one thread, epoll and vfork, and no checks. It speaks ping, the
 * short exec and write_file to a well-behaved host at a Unix socket. It keeps all output in memory, writes a file in
 * place, and fails at the first surprise. The agent is measured against it; it has no other use.
 *
 *   cc -O2 -static -o floor floor.c && ./floor /tmp/floor.sock
 *
 * In a machine it listens on a vsock port: ./floor vsock:2000.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

struct bytes {
	char *p;
	size_t n, cap;
};

struct conn;

/* source is the owner of a descriptor in the epoll set: a pipe of a command, or a connection. */
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
	struct command *next; /* in the list of the free ones, which keep their memory */
};

struct conn {
	struct source in;
	struct bytes out;
	int file; /* that a write_file goes to, while there are bytes left */
	size_t left;
	uint32_t seq; /* of the write_file */
};

enum { piece = 64 << 10, large_pipe = 1 << 20 };

static int ep;
static struct command *spare;
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

/* give writes all of v. */
static void give(int fd, struct iovec *v, int n)
{
	while (n > 0) {
		ssize_t k = writev(fd, v, n);
		if (k < 0 && errno == EAGAIN) {
			struct pollfd p = {fd, POLLOUT, 0};
			poll(&p, 1, -1);
			continue;
		}
		if (k < 0)
			return;
		for (; n > 0 && (size_t)k >= v->iov_len; v++, n--)
			k -= v->iov_len;
		if (n > 0) {
			v->iov_base = (char *)v->iov_base + k;
			v->iov_len -= k;
		}
	}
}

static void flush(struct conn *c)
{
	struct iovec v = {c->out.p, c->out.n};
	if (c->out.n)
		give(c->in.fd, &v, 1);
	c->out.n = 0;
}

static void watch(struct source *s)
{
	struct epoll_event e = {EPOLLIN, {.ptr = s}};
	epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
}

static void run(struct conn *c, uint32_t seq, const char *text, size_t n)
{
	struct command *m = spare;
	int p[2][2];
	char line[n + 1];
	memcpy(line, text, n);
	line[n] = 0;
	char *argv[] = {"sh", "-c", line, NULL};
	if (m)
		spare = m->next;
	else
		m = calloc(1, sizeof *m);
	pipe2(p[0], O_CLOEXEC);
	pipe2(p[1], O_CLOEXEC);
	m->conn = c;
	m->seq = seq;
	m->open = 2;
	m->pid = vfork();
	if (m->pid == 0) {
		setpgid(0, 0);
		dup2(p[0][1], 1);
		dup2(p[1][1], 2);
		execve("/bin/sh", argv, no_env);
		_exit(127);
	}
	for (int i = 0; i < 2; i++) {
		close(p[i][1]);
		m->out[i].fd = p[i][0];
		m->out[i].command = m;
		watch(&m->out[i]);
	}
}

static void ended(struct command *m)
{
	int status;
	struct bytes *o = &m->out[0].data, *e = &m->out[1].data, *to = &m->conn->out;
	uint32_t errors = htonl(e->n);
	waitpid(m->pid, &status, 0);
	if (m->conn->in.fd >= 0) {
		flush(m->conn);
		header(to, 4, m->seq, 12 + o->n + e->n);
		put32(to, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
		put32(to, o->n);
		struct iovec v[] = {{to->p, to->n}, {o->p, o->n}, {&errors, 4}, {e->p, e->n}};
		give(m->conn->in.fd, v, 4);
		to->n = 0;
	}
	o->n = e->n = 0;
	m->next = spare;
	spare = m;
}

/* output reads what a pipe has. A command that fills it gets a larger one. */
static void output(struct source *s)
{
	struct bytes *b = &s->data;
	ssize_t k;
	room(b, piece);
	k = read(s->fd, b->p + b->n, b->cap - b->n);
	if (k > 0) {
		if (b->n == 0 && k == piece)
			fcntl(s->fd, F_SETPIPE_SZ, large_pipe);
		b->n += k;
		return;
	}
	/* close alone could leave it in the epoll set: vfork may return a moment before the exec closes the child's copy. */
	epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, NULL);
	close(s->fd);
	if (--s->command->open == 0)
		ended(s->command);
}

/* save begins a write_file of which n bytes are here, all of its head among them, and returns how many it took. */
static size_t save(struct conn *c, uint32_t seq, const char *p, size_t n)
{
	size_t name = ntohs(*(const uint16_t *)p), head = 2 + name + 1 + 4, k;
	char path[name + 1];
	memcpy(path, p + 2, name);
	path[name] = 0;
	c->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	c->seq = seq;
	c->left = get32(p + 2 + name + 1);
	k = n - head < c->left ? n - head : c->left;
	write(c->file, p + head, k);
	c->left -= k;
	return head + k;
}

static void saved(struct conn *c)
{
	close(c->file);
	header(&c->out, 6, c->seq, 3);
	put(&c->out, "\1\0\0", 3);
}

static void frames(struct conn *c)
{
	struct bytes *in = &c->in.data;
	size_t at = 0;
	while (in->n - at >= 9) {
		const char *p = in->p + at;
		size_t length = get32(p), here = in->n - at;
		uint32_t seq = get32(p + 5);
		if (p[4] == 5 && here >= 9 + 2 && here >= 9 + 2 + (size_t)ntohs(*(const uint16_t *)(p + 9)) + 5) {
			at += 9 + save(c, seq, p + 9, here - 9);
			if (c->left)
				break;
			saved(c);
			continue;
		}
		if (here < 4 + length)
			break;
		switch (p[4]) {
		case 1:
			header(&c->out, 2, seq, 0);
			break;
		case 3:
			run(c, seq, p + 17, get32(p + 13));
			break;
		}
		at += 4 + length;
	}
	in->n -= at;
	memmove(in->p, in->p + at, in->n);
}

/* request reads what a connection has, on and on while there is more than a read takes. */
static void request(struct conn *c)
{
	static char content[piece];
	struct bytes *in = &c->in.data;
	ssize_t k, most;
	do {
		if (c->left) {
			most = c->left < piece ? c->left : piece;
			k = read(c->in.fd, content, most);
			if (k > 0) {
				write(c->file, content, k);
				if (!(c->left -= k))
					saved(c);
			}
		} else {
			most = piece;
			k = read(c->in.fd, room(in, piece), piece);
			if (k > 0) {
				in->n += k;
				frames(c);
			}
		}
	} while (k == most);
	flush(c);
	if (k > 0 || (k < 0 && errno == EAGAIN))
		return;
	/* A command of it may still point to it: it stays, without its memory. */
	close(c->in.fd);
	c->in.fd = -1;
	free(in->p);
	free(c->out.p);
	memset(in, 0, sizeof *in);
	memset(&c->out, 0, sizeof c->out);
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
	/* Memory of a large output is kept for the next one. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	signal(SIGPIPE, SIG_IGN);
	ep = epoll_create1(EPOLL_CLOEXEC);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0); /* the stdin of every command */
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
			} else if (s->command) {
				output(s);
			} else {
				request(s->conn);
			}
		}
	}
}
