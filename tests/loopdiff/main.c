// SPDX-License-Identifier: GPL-2.0
/*
 * Drives the C driver (loop) and rust_loop through the same steps and compares
 * all that can be seen of them from user space.
 *
 *	loopdiff systematic [STATE]	every ioctl in every state with every
 *					kind of argument; STATE is a glob,
 *					SAMPLE=N is one of N cases
 *	loopdiff random			SEED= STEPS= LENGTH= ONLY= WITHOUT=
 *	loopdiff replay FILE		what one of the others printed
 *
 * A step is plain data: an operation and numbers. It never depends on a result,
 * so any subset of a sequence is a sequence; that is what makes shrinking
 * possible. A step is done to one driver, then to the other. Each time, what
 * can be seen is written as lines "aspect=value" with everything replaced that
 * must differ (names, inode and device numbers, paths), and the two texts have
 * to be equal. loopdiff.table has the differences that are meant.
 *
 * Environment of all modes: TABLE= the table, STATES= the states, WORKDIR= where
 * the image files are made, SHRINK= seconds for one reproducer, VERBOSE=1 prints
 * every step.
 */
#include "loopdiff.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Says which step does not end; the kernel log says why. */
static void watch(void)
{
	unsigned long last = 0, same = 0;
	pid_t tester = getpid();
	pid_t watcher = fork();

	if (watcher)
		return;
	while (!kill(tester, 0) && getppid() == tester) {
		/* The debug kernel has no other call that sleeps for 32-bit programs. */
		poll(NULL, 0, 1000);
		same = progress->count == last ? same + 1 : 0;
		last = progress->count;
		if (same < 40)
			continue;
		printf("# does not end: %s on %s\n", progress->step, progress->side);
		fflush(stdout);
		kill(tester, SIGKILL);
		break;
	}
	_exit(0);
}

static void init(void)
{
	static const struct sched_param no_priority;
	struct rlimit files = { 4096, 4096 };
	const char *work = getenv("WORKDIR") ?: "/tmp/loopdiff";
	const char *table = getenv("TABLE") ?: "loopdiff.table";

	ops_init();
	setrlimit(RLIMIT_NOFILE, &files);
	/*
	 * A task that waits for write-back of a page may preempt the task that wrote
	 * it before that has released the page. LOOP_SET_STATUS64 of the C driver
	 * cannot drop such a page from the page cache, and the next read is stale.
	 * With this policy the program preempts no other task.
	 */
	if (sched_setscheduler(0, SCHED_IDLE, &no_priority))
		die("SCHED_IDLE: %m");
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
		die("memory: %m");
	memory_init();
	watch();
	table_read(table);
	if (mkdir(work, 0700) && errno != EEXIST)
		die("%s: %m", work);
	side_init(&sides[0], work);
	side_init(&sides[1], work);
	observe_init();
	uevents_open();
	touched_devices = (1u << MAX_DEVICES) - 1;
	reset();
}

static int replay(const char *path)
{
	struct sequence q = { NULL, 0, 0 };
	double begin = seconds();
	struct difference d;
	char line[1024];
	struct step s;
	unsigned int n;
	FILE *f = fopen(path, "re");

	if (!f)
		die("%s: %m", path);
	while (fgets(line, sizeof(line), f))
		if (step_parse(line, &s))
			*add(&q) = s;
	fclose(f);
	n = sequence_run(&q, &d);
	if (n) {
		char text[512];

		printf("# difference at step %u: %s\n", n,
		       step_text(&q.step[n - 1], text, sizeof(text)));
		difference_print(&d);
		is_new(&d);
		if (getenv("SHRINK") && shrink(&q, &d))
			reproducer_print(&q);
	}
	return summary(n ?: q.count, begin);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int ret;

	verbose = getenv("VERBOSE");
	if (!strcmp(mode, "systematic")) {
		init();
		ret = systematic(argc > 2 ? argv[2] : NULL);
	} else if (!strcmp(mode, "random")) {
		init();
		ret = random_mode();
	} else if (!strcmp(mode, "replay") && argc == 3) {
		init();
		ret = replay(argv[2]);
	} else {
		fprintf(stderr, "usage: loopdiff systematic [STATE] | random | replay FILE\n");
		return 2;
	}
	/* The devices are left as they were found. */
	touched_devices = (1u << MAX_DEVICES) - 1;
	reset();
	return ret;
}
