/*
 * Numbered records, each on the disk before its number is told: what is to be there after a crash.
 *
 *   records write FILE LABEL [COUNT]   writes records 1, 2, ... and prints "LABEL N" when fsync() of N has returned
 *   records check FILE LABEL COUNT     whether the first COUNT records are there, whole
 *   records count FILE LABEL           prints how many there are
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_SIZE 4096

/* Every line of a record tells which one it is, so that a torn one is seen. */
static void make_record(char *record, const char *label, long number)
{
	char line[65];
	int length = snprintf(line, sizeof(line), "%.30s %ld", label, number);

	memset(line + length, '.', 63 - (size_t)length);
	line[63] = '\n';
	for (int at = 0; at < RECORD_SIZE; at += 64)
		memcpy(record + at, line, 64);
}

static int write_records(int fd, const char *label, long count)
{
	char record[RECORD_SIZE];

	for (long n = 1; n <= count; n++) {
		char line[64];
		int length = snprintf(line, sizeof(line), "%.30s %ld\n", label, n);

		make_record(record, label, n);
		if (pwrite(fd, record, RECORD_SIZE, (n - 1) * RECORD_SIZE) != RECORD_SIZE) {
			perror("records: write");
			return 1;
		}
		if (fsync(fd) < 0) {
			perror("records: fsync");
			return 1;
		}
		if (write(STDOUT_FILENO, line, (size_t)length) != length)
			return 1;
	}
	return 0;
}

static long count_records(int fd, const char *label, long most)
{
	char record[RECORD_SIZE], wanted[RECORD_SIZE];
	long n;

	for (n = 0; n < most; n++) {
		make_record(wanted, label, n + 1);
		if (pread(fd, record, RECORD_SIZE, n * RECORD_SIZE) != RECORD_SIZE ||
		    memcmp(record, wanted, RECORD_SIZE) != 0)
			break;
	}
	return n;
}

int main(int argc, char **argv)
{
	bool writes = argc > 1 && strcmp(argv[1], "write") == 0;
	bool checks = argc == 5 && strcmp(argv[1], "check") == 0;
	long count = argc == 5 ? atol(argv[4]) : 1000000, found;
	int fd;

	if (argc < 4) {
		fputs("usage: records write|check|count FILE LABEL [COUNT]\n", stderr);
		return 2;
	}
	fd = open(argv[2], writes ? O_RDWR | O_CREAT : O_RDONLY, 0666);
	if (fd < 0) {
		fprintf(stderr, "records: cannot open %s: %s\n", argv[2], strerror(errno));
		return 2;
	}
	if (writes)
		return write_records(fd, argv[3], count);
	found = count_records(fd, argv[3], count);
	if (!checks)
		printf("%ld\n", found);
	return checks && found < count;
}
