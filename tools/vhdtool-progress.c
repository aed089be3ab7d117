/* SPDX-License-Identifier: MIT */
/* How far a command has come: a bar for people, lines for programs. */
#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "vhdtool.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void progress_begin(struct progress *p, const char *what, uint64_t total,
		    const struct tool_options *o)
{
	if (o->progress_fd >= 0)
		signal(SIGPIPE, SIG_IGN);
	*p = (struct progress){
		.what = what,
		.total = total,
		.last = UINT64_MAX,
		.fd = o->progress_fd,
		.bar = !o->quiet && isatty(STDERR_FILENO),
		.started = now(),
	};
}

static const char *duration_text(double seconds, char *buf, size_t length)
{
	uint64_t s = seconds < 1e7 ? (uint64_t)(seconds + 0.5) : UINT64_C(10000000);

	if (s < 60)
		snprintf(buf, length, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(buf, length, "%" PRIu64 ":%02" PRIu64 " min", s / 60, s % 60);
	else
		snprintf(buf, length, "%" PRIu64 ":%02" PRIu64 " h", s / 3600, s / 60 % 60);
	return buf;
}

static void bar_draw(const struct progress *p, uint64_t done, double elapsed)
{
	static const char blocks[] = "##############################";
	double part = (double)done / (double)p->total;
	int filled = (int)(30 * part);
	char rate[32], left[32] = "?";

	tool_size_text((uint64_t)((double)done / elapsed), rate, sizeof(rate));
	if (done)
		duration_text(elapsed * (1 - part) / part, left, sizeof(left));
	fprintf(stderr, "\r%s [%.*s%*s] %3.0f %%  %s/s  %s left \033[K", p->what, filled, blocks,
		30 - filled, "", 100 * part, rate, left);
}

/* A reader that has gone is no reason to stop the job. */
static void line_write(struct progress *p, uint64_t done)
{
	char line[48];
	int length = snprintf(line, sizeof(line), "%" PRIu64 "/%" PRIu64 "\n", done, p->total);

	if (write(p->fd, line, (size_t)length) < 0)
		p->fd = -1;
}

void progress_show(struct progress *p, uint64_t done)
{
	double t = now(), elapsed = t - p->started;

	if (p->total == 0 || done == p->last || (t - p->shown < 0.1 && done < p->total))
		return;
	p->shown = t;
	p->last = done;
	if (p->fd >= 0)
		line_write(p, done);
	if (p->bar && elapsed > 0)
		bar_draw(p, done, elapsed);
}

void progress_end(struct progress *p)
{
	if (p->bar)
		fprintf(stderr, "\r\033[K");
}
