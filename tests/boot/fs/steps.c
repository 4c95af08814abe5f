/* Steps: their words, the descriptors they know by letters, and the second process. */
#define _GNU_SOURCE
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

void run_steps(const char *steps);

#define TEXT_MAX 8192

static char said[TEXT_MAX];
static size_t n_said;
static int slots[SLOTS];
static int peer = -1; /* the socket to it */
static pid_t peer_pid;

void say(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(said + n_said, sizeof(said) - n_said, format, args);
	va_end(args);
	for (; n > 0 && n_said + 1 < sizeof(said); n--, n_said++) {
		if ((unsigned char)said[n_said] < ' ' || (unsigned char)said[n_said] > '~')
			said[n_said] = '?';
	}
}

int *slot(const char *word)
{
	if (word[0] < 'a' || word[0] > 'z')
		abort();
	return &slots[word[0] - 'a'];
}

static size_t add_repeated(char *to, size_t room, const char **word)
{
	const char *what = "n";
	size_t n, len = 0;
	char *end;

	(*word)++;
	if (**word == '.') {
		what = "./";
		(*word)++;
	}
	n = strtoul(*word, &end, 10);
	*word = end;
	for (; n > 0 && len + 2 < room; n--) {
		strcpy(to + len, what);
		len += strlen(what);
	}
	return len;
}

const char *path_of(const char *word, int *dir)
{
	size_t room = 70000, len = 0;
	char *path = malloc(room);

	*dir = AT_FDCWD;
	if (word[0] == '#') {
		sprintf(path, "/proc/self/fd/%d%s", *slot(word + 1), word + 2);
		return path;
	}
	if (word[0] && word[1] == ':') {
		*dir = *slot(word);
		word += 2;
	}
	if (strcmp(word, "''") == 0)
		word = "";
	while (*word && len + 2 < room) {
		if (*word == '%')
			len += add_repeated(path + len, room - len, &word);
		else
			path[len++] = *word++;
	}
	path[len] = '\0';
	return path;
}

long long number(const char *word)
{
	char *end;
	long long n = strtoll(word, &end, word[0] == '0' ? 8 : 10);

	switch (*end) {
	case 'G':
		n *= 1024;
		__attribute__((fallthrough));
	case 'M':
		n *= 1024;
		__attribute__((fallthrough));
	case 'K':
		n *= 1024;
	}
	return n;
}

const char *word_or(const struct step *step, unsigned int n, const char *otherwise)
{
	return n < step->n ? step->word[n] : otherwise;
}

bool has_word(const struct step *step, unsigned int n, const char *word)
{
	for (; n < step->n; n++) {
		if (strcmp(step->word[n], word) == 0)
			return true;
	}
	return false;
}

unsigned int named_sum(const struct named *table, const char *word)
{
	char *words = strdup(word), *rest = words, *name;
	const struct named *entry;
	unsigned int sum = 0;

	while ((name = strsep(&rest, "+"))) {
		for (entry = table; entry->name && strcmp(entry->name, name) != 0; entry++)
			;
		if (!entry->name)
			abort();
		sum |= entry->value;
	}
	return sum;
}

int result(long long returned)
{
	return returned < 0 ? -errno : 0;
}

uint32_t hash_of(const char *bytes, size_t n, uint32_t before)
{
	for (; n > 0; n--)
		before = (before ^ (unsigned char)*bytes++) * 16777619u;
	return before;
}

void say_bytes(const char *bytes, size_t n)
{
	bool plain = n <= 24;

	for (size_t i = 0; plain && i < n; i++)
		plain = bytes[i] > ' ' && bytes[i] < 127;
	if (plain)
		say("'%.*s'", (int)n, bytes);
	else
		say("%zu:%08x", n, hash_of(bytes, n, HASH_FIRST));
}

void pattern(char *bytes, size_t n, uint64_t offset)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)((offset + i) * 2654435761u >> 13);
}

static const struct operation *operation_find(const char *name)
{
	static const struct operation *const tables[] = {operations_files, operations_data,
							 operations_names, operations_attributes,
							 operations_locks};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct operation *o = tables[i]; o->name; o++) {
			if (strcmp(o->name, name) == 0)
				return o;
		}
	}
	return NULL;
}

/* Leaves the outcome in said. */
static void run_step(char *text)
{
	const struct operation *operation;
	struct step step = {0};
	char *word;
	int err;

	n_said = 0;
	said[0] = '\0';
	while (step.n < STEP_WORDS && (word = strsep(&text, " "))) {
		if (*word)
			step.word[step.n++] = word;
	}
	operation = step.n ? operation_find(step.word[0]) : NULL;
	if (!operation || step.n < operation->least) {
		say("there is no step '%s' with %u words", step.n ? step.word[0] : "", step.n);
		return;
	}
	err = operation->run(&step);
	if (err < 0)
		say("%s%s", n_said ? "," : "", strerrorname_np(-err));
	else if (n_said == 0)
		say("ok");
}

/* ---- the second process ---- */

static void peer_serve(int fd, int other_end)
{
	char text[TEXT_MAX];
	ssize_t n;

	close(other_end);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((n = recv(fd, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = '\0';
		run_step(text);
		send(fd, said, n_said + 1, 0);
	}
	_exit(0);
}

/* It has the descriptors that were open when it was first spoken to. */
static void peer_start(void)
{
	int ends[2];

	if (peer >= 0)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	fflush(stdout);
	peer_pid = fork();
	if (peer_pid == 0)
		peer_serve(ends[1], ends[0]);
	close(ends[1]);
	peer = ends[0];
}

static void peer_join(void)
{
	ssize_t n = recv(peer, said, sizeof(said), 0);

	n_said = n > 0 ? strlen(said) : 0;
	if (n <= 0)
		say("gone");
}

/* Its locks go with it, for which a host that has much to do may take a while. */
static void peer_leave(void)
{
	close(peer);
	peer = -1;
	for (int i = 0; i < 1000 && waitpid(peer_pid, NULL, WNOHANG) == 0; i++)
		usleep(10000);
}

static void run_any(char *text)
{
	size_t len;

	text += strspn(text, " ");
	len = strcspn(text, " ");
	if (len == 4 && strncmp(text, "peer", len) == 0) {
		peer_start();
		send(peer, text + 5, strlen(text + 5), 0);
		peer_join();
	} else if (len == 5 && strncmp(text, "later", len) == 0) { /* ended by "join" */
		peer_start();
		send(peer, text + 6, strlen(text + 6), 0);
		n_said = 0;
		say("later");
	} else if (strncmp(text, "join", 4) == 0) {
		peer_join();
	} else if (strncmp(text, "leave", 5) == 0) { /* the other process ends */
		peer_leave();
		n_said = 0;
		say("left");
	} else {
		run_step(text);
	}
}

void run_steps(const char *steps)
{
	char *text = strdup(steps), *one;

	memset(slots, -1, sizeof(slots));
	while ((one = strsep(&text, ";"))) {
		run_any(one);
		printf(" %s", said);
		fflush(stdout);
	}
}
